import Synchronization
import VLGrammar
import VLJSON
import VLModels

/// What an answer has to be: tokens that do not fit are left out of the choice.
public enum AnswerForm: Sendable, Equatable {
    /// Anything.
    case free
    /// Free text in which every box is legal: four whole numbers from 0 to 999, left to right and top to bottom, all tags
    /// closed.
    case legalBoxes
    /// A JSON object.
    case json
    /// JSON that a schema describes.
    case jsonSchema(JSONSchema)
}

/// The constraints of a loaded model; its vocabulary is prepared when the first one is asked for.
///
/// One value serves any number of threads.
package final class ModelConstraints: Sendable {
    /// Grammars that are kept for the next request with the same schema.
    private static let keptGrammars = 32

    private let loaded: LoadedModel
    private let lexicon = Mutex<Lexicon?>(nil)
    /// Grammars by the texts of their schemas, the last one used at the end.
    private let grammars = Mutex<[(schema: [UInt8], grammar: BoundGrammar)]>([])

    package init(_ loaded: LoadedModel) { self.loaded = loaded }

    /// The constraint of a form; nil for one that has none.
    ///
    /// - Throws: `GrammarError` for a schema that is not supported.
    package func constraint(_ form: AnswerForm) throws(GrammarError) -> TokenConstraint? {
        switch form {
        case .free: nil
        case .legalBoxes: .boxes(try vocabulary())
        case .json: try constraint([]) { () throws(GrammarError) in try SchemaCompiler.anyObject() }
        case .jsonSchema(let schema):
            try constraint(JSONWriter.encode(schema.value)) { () throws(GrammarError) in
                try SchemaCompiler.compile(schema.value)
            }
        }
    }

    private func constraint(
        _ schema: [UInt8],
        _ compile: () throws(GrammarError) -> ConstraintGrammar
    ) throws(GrammarError) -> TokenConstraint {
        let known = grammars.withLock { grammars -> BoundGrammar? in
            guard let place = grammars.firstIndex(where: { $0.schema == schema }) else { return nil }
            let entry = grammars.remove(at: place)
            grammars.append(entry)
            return entry.grammar
        }
        if let known { return .grammar(known) }
        let new = try BoundGrammar(try compile(), try vocabulary())
        grammars.withLock { grammars in
            if grammars.count >= Self.keptGrammars { grammars.removeFirst() }
            grammars.append((schema, new))
        }
        return .grammar(new)
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
