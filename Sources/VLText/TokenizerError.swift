import VLJSON

/// Why a tokenizer could not be read, or a text not be encoded.
package enum TokenizerError: Error, CustomStringConvertible {
    /// The file is no strict JSON, or a value is of another kind than the format says.
    case json(file: String, JSONError)
    /// A part of the tokenizer that is not built, or that makes no sense.
    case unsupported(file: String, part: String, expected: String, found: String)
    /// A field that must be there is not.
    case missing(file: String, field: String)
    /// An id that is taken, negative or too large.
    case badID(file: String, token: String, found: String, expected: String)
    /// A merge that does not fit the vocabulary.
    case badMerge(file: String, index: Int, expected: String, found: String)
    /// A regular expression that does not compile.
    case badPattern(file: String, pattern: String, reason: String)
    /// A regular expression that ran into its limits on a text.
    case patternLimit(file: String, pattern: String, reason: String)

    package var description: String {
        switch self {
        case .json(let file, let error):
            "\(file): \(error.description)"
        case .unsupported(let file, let part, let expected, let found):
            "\(file): \(part): expected \(expected), found \(found)"
        case .missing(let file, let field):
            "\(file): '\(field)': expected it, found nothing"
        case .badID(let file, let token, let found, let expected):
            "\(file): token '\(token.excerpt(limit: 40))': expected \(expected), found \(found)"
        case .badMerge(let file, let index, let expected, let found):
            "\(file): model.merges[\(index)]: expected \(expected), found \(found.excerpt(limit: 60))"
        case .badPattern(let file, let pattern, let reason):
            "\(file): pattern '\(pattern.excerpt(limit: 60))': expected a regular expression, found: \(reason)"
        case .patternLimit(let file, let pattern, let reason):
            "\(file): pattern '\(pattern.excerpt(limit: 60))': stopped on this text: \(reason)"
        }
    }
}
