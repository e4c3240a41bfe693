import VLEngine
import VLFormats

/// Why an importance matrix or a comparison of two models could not be made or read; `description` says where, what was
/// expected and what was found.
package enum MeasureError: Error, Sendable, CustomStringConvertible {
    /// A file cannot be read or written, or is damaged.
    case format(FormatError)
    /// A prompt does not fit the model.
    case engine(EngineError)
    /// An importance matrix is not what it should be.
    case matrix(file: String, place: String, expected: String, found: String)
    /// An importance matrix does not belong to the model.
    case otherModel(file: String, tensor: String, expected: String, found: String)
    /// Nothing, or not all, of a calibration file can be used.
    case calibration(file: String, place: String, expected: String, found: String)
    /// A weight met values that are no numbers.
    case notFinite(tensor: String)
    /// Two models cannot be compared.
    case models(what: String, expected: String, found: String)

    package var description: String {
        switch self {
        case .format(let error): error.description
        case .engine(let error): error.description
        case .matrix(let file, let place, let expected, let found),
            .calibration(let file, let place, let expected, let found):
            "\(file): " + (place.isEmpty ? "" : "\(place): ") + "expected \(expected), found \(found)"
        case .otherModel(let file, let tensor, let expected, let found):
            "\(file): tensor '\(tensor)': expected \(expected), found \(found): the matrix is of another model"
        case .notFinite(let tensor):
            "tensor '\(tensor)': expected activations that are finite numbers, found others"
        case .models(let what, let expected, let found):
            "\(what): expected \(expected), found \(found)"
        }
    }
}
