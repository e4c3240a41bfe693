/// Why there is no grammar.
package enum GrammarError: Error, Equatable, CustomStringConvertible {
    /// The tokenizer's vocabulary does not spell bytes.
    case tokenizer
    /// The schema's text is no JSON.
    case json(String)
    /// A keyword that is not supported, at all or beside others.
    case unsupported(keyword: String, pointer: String, reason: String)
    /// A keyword whose value is not what it should be.
    case invalid(keyword: String, pointer: String, expected: String, found: String)
    /// A part of the schema that no value fits.
    case impossible(pointer: String, reason: String)
    /// A limit that the schema exceeds.
    case limit(String, pointer: String, expected: Int)

    /// The keyword that is at fault, if it is one's.
    package var keyword: String? {
        switch self {
        case .unsupported(let keyword, _, _), .invalid(let keyword, _, _, _): keyword
        case .tokenizer, .json, .impossible, .limit: nil
        }
    }

    /// Where in the schema, as a JSON pointer in a URI fragment: `#/properties/name`.
    package var pointer: String? {
        switch self {
        case .unsupported(_, let pointer, _), .invalid(_, let pointer, _, _), .impossible(let pointer, _),
            .limit(_, let pointer, _):
            pointer
        case .tokenizer, .json: nil
        }
    }

    package var description: String {
        switch self {
        case .tokenizer: "tokenizer: expected one that spells bytes, found one that joins words by spaces"
        case .json(let text): "schema: \(text)"
        case .unsupported(let keyword, let pointer, let reason):
            "schema: \(pointer): '\(keyword)' is not supported: \(reason)"
        case .invalid(let keyword, let pointer, let expected, let found):
            "schema: \(pointer): '\(keyword)': expected \(expected), found \(found)"
        case .impossible(let pointer, let reason): "schema: \(pointer): no value fits: \(reason)"
        case .limit(let what, let pointer, let limit):
            "schema: \(pointer): expected at most \(limit) \(what), found more"
        }
    }
}
