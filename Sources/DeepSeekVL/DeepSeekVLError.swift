import VLEngine
import VLFormats
import VLGrammar
import VLImage
import VLModels
import VLText

/// Why a model could not be loaded or a question could not be answered; `description` says where, what was expected and
/// what was found.
public enum DeepSeekVLError: Error, CustomStringConvertible {
    /// No model was named and the bundled one is not where it should be.
    case noDefaultModel(lookedFor: String, variable: String)
    /// The model's folder is damaged or holds another kind of model.
    case model(description: String)
    /// A file cannot be read or written.
    case file(description: String)
    /// A picture is damaged, too large, or of an unknown kind.
    case image(name: String, description: String)
    /// The conversation does not have the form that the model takes.
    case conversation(description: String)
    /// The conversation file is not what it should be.
    case conversationFile(file: String, place: String, expected: String, found: String)
    /// The request does not fit the model: too long, for instance.
    case request(description: String)
    /// A parameter is out of its range.
    case parameter(name: String, expected: String, found: String)
    /// A JSON Schema is not supported, or no value fits it; the keyword and the place that are at fault, if one is.
    case schema(keyword: String?, pointer: String?, description: String)

    /// Where, what was expected, and what was found.
    public var description: String {
        switch self {
        case .noDefaultModel(let wanted, let variable):
            "no model: expected '\(wanted)' above the program or the working folder, found none; name one with --model or \(variable)"
        case .model(let text), .file(let text), .conversation(let text), .request(let text),
            .schema(_, _, let text):
            text
        case .image(_, let text):
            text
        case .conversationFile(let file, let place, let expected, let found):
            "\(file): \(place): expected \(expected), found \(found)"
        case .parameter(let name, let expected, let found):
            "\(name): expected \(expected), found \(found)"
        }
    }

    /// Whether the request itself was wrong usage of the program, not a failure.
    package var isUsage: Bool {
        if case .parameter = self { return true }
        return false
    }

    init(_ error: LoadError) { self = .model(description: error.description) }
    init(_ error: FormatError) { self = .file(description: error.description) }
    init(_ error: GrammarError) {
        self = .schema(keyword: error.keyword, pointer: error.pointer, description: error.description)
    }
    init(_ error: EngineError) { self = .request(description: error.description) }
}
