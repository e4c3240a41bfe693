import VLFormats
import VLJSON
import VLTensor

/// Why a model folder does not give a model.
package enum LoadError: Error, CustomStringConvertible {
    /// A field of a configuration is missing, of another kind, or out of range.
    case field(file: String, field: String, expected: String, found: String)
    /// The configuration is no JSON object that the strict reader takes.
    case json(file: String, reason: String)
    /// A tensor that the model needs is not in the checkpoint.
    case missingTensor(name: String, shape: [Int], file: String)
    /// A tensor has another shape than the configuration says.
    case shape(name: String, expected: [Int], found: [Int], file: String)
    /// A tensor has a type that this model cannot use.
    case type(name: String, found: String, file: String)
    /// A tensor of a packed layer holds something else than its place asks for.
    case content(name: String, expected: String, found: String, file: String)
    /// A tensor's rows are no whole blocks of its type.
    case blocks(name: String, type: String, columns: Int, file: String)
    /// Tensors that nothing in the model reads.
    case unknownTensors(names: [String], count: Int, file: String)
    /// A file of the folder cannot be read or is damaged.
    case format(FormatError)
    /// The architecture, or a part of it, is not supported.
    case unsupported(file: String, what: String, known: String)
    /// The tokenizer lacks a token that the model family needs.
    case missingToken(file: String, token: String)
    /// The tokenizer's file is damaged or of another kind.
    case tokenizer(description: String)
    /// Something that the model needs does not fit into memory.
    case memory(what: String, needed: Int, available: Int)

    package var description: String {
        switch self {
        case .field(let file, let field, let expected, let found):
            "\(file): '\(field)': expected \(expected), found \(found)"
        case .json(let file, let reason):
            "\(file): \(reason)"
        case .missingTensor(let name, let shape, let file):
            "\(file): tensor '\(name)': expected shape \(shape), found no such tensor"
        case .shape(let name, let expected, let found, let file):
            "\(file): tensor '\(name)': expected shape \(expected), found \(found)"
        case .type(let name, let found, let file):
            "\(file): tensor '\(name)': expected a type of "
                + DType.allCases.map { $0.rawValue.uppercased() }.joined(separator: " ") + ", found \(found)"
        case .content(let name, let expected, let found, let file):
            "\(file): tensor '\(name)': expected \(expected), found \(found)"
        case .blocks(let name, let type, let columns, let file):
            "\(file): tensor '\(name)': expected rows of whole \(type) blocks, found rows of \(columns)"
        case .unknownTensors(let names, let count, let file):
            "\(file): \(count) tensors that this model does not have: "
                + names.map { "'\($0)'" }.joined(separator: ", ") + (count > names.count ? ", …" : "")
        case .format(let error):
            error.description
        case .unsupported(let file, let what, let known):
            "\(file): \(what) is not supported; known: \(known)"
        case .missingToken(let file, let token):
            "\(file): expected a token '\(token)', found none"
        case .tokenizer(let text):
            text
        case .memory(let what, let needed, let available):
            "\(what): needs \(needed / 1_048_576) MiB of memory, and \(available / 1_048_576) MiB are available"
        }
    }
}
