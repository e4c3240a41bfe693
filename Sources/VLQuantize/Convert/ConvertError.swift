import VLFormats
import VLModels

/// Why a checkpoint could not be converted; `description` says where, what was expected and what was found.
package enum ConvertError: Error, CustomStringConvertible {
    /// The checkpoint cannot be read.
    case load(LoadError)
    /// A file cannot be read or written.
    case format(FormatError)
    /// The source is no checkpoint of floating-point numbers.
    case source(file: String, expected: String, found: String)
    /// The format has no way to say what the model is.
    case inexpressible(file: String, what: String, expected: String, found: String)
    /// The importance matrix is not of this model.
    case importance(MeasureError)
    /// The file to write exists.
    case exists(file: String)

    package var description: String {
        switch self {
        case .load(let error): error.description
        case .format(let error): error.description
        case .importance(let error): error.description
        case .source(let file, let expected, let found): "\(file): expected \(expected), found \(found)"
        case .inexpressible(let file, let what, let expected, let found):
            "\(file): '\(what)': expected \(expected), which a GGUF file can say, found \(found)"
        case .exists(let file): "\(file): expected no such file, found one; --force replaces it"
        }
    }
}
