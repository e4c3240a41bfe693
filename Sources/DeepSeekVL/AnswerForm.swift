import Synchronization
import VLGrammar
import VLModels

/// What an answer has to be: tokens that do not fit are left out of the choice.
public enum AnswerForm: Sendable, Equatable {
    /// Anything.
    case free
    /// Free text in which every box is legal: four whole numbers from 0 to 999, left to right and top to bottom, all tags
    /// closed.
    case legalBoxes
}

/// The constraints of a loaded model; its vocabulary is prepared when the first one is asked for.
///
/// One value serves any number of threads.
package final class ModelConstraints: Sendable {
    private let loaded: LoadedModel
    private let lexicon = Mutex<Lexicon?>(nil)

    package init(_ loaded: LoadedModel) { self.loaded = loaded }

    /// The constraint of a form; nil for one that has none.
    ///
    /// - Throws: `GrammarError` for a schema that is not supported.
    package func constraint(_ form: AnswerForm) throws(GrammarError) -> TokenConstraint? {
        switch form {
        case .free: nil
        case .legalBoxes: .boxes(try vocabulary())
        }
    }

    /// The model's vocabulary as constraints need it.
    ///
    /// - Throws: `GrammarError.tokenizer`.
    package func vocabulary() throws(GrammarError) -> Lexicon {
        try lexicon.withLock { (lexicon) throws(GrammarError) in
            if let lexicon { return lexicon }
            let new = try Lexicon(
                loaded.tokenizer,
                vocabularySize: loaded.language.vocabularySize,
                endTokens: loaded.endTokens
            )
            lexicon = new
            return new
        }
    }
}
