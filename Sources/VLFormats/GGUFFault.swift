import VLJSON

/// What is wrong with a GGUF file outside of its tensors.
package enum GGUFFault: Equatable, Sendable {
    /// Other bytes at the beginning than "GGUF".
    case magic([UInt8])
    /// A version that is not read.
    case version(UInt32)
    /// Numbers with the highest byte first.
    case bigEndian
    /// The file ends inside of something.
    case truncated(String, at: Int, needed: Int, found: Int)
    /// More of something than the file has room for, or than is read.
    case count(String, limit: Int, found: UInt64)
    /// A text longer than any that is read.
    case textTooLong(String, limit: Int, found: UInt64)
    /// A name that is no UTF-8.
    case notUTF8(String)
    /// `general.alignment` is no power of two of the type that it must have.
    case alignment(String)
    /// A pair of the metadata that cannot be.
    case metadata(key: String, MetadataFault)
}

/// What is wrong with one pair of a GGUF file's metadata.
package enum MetadataFault: Equatable, Sendable {
    /// A key without a character; its place in the file.
    case emptyKey(Int)
    /// The key is taken.
    case duplicate
    /// A number that is no type.
    case unknownType(UInt32)
    /// An array within an array.
    case nested
    /// An array longer than the rest of the file.
    case arrayLength(limit: Int, found: UInt64)
    /// A truth value that is neither 0 nor 1.
    case bool(UInt8)
    /// A text that is no UTF-8.
    case notUTF8
}

extension GGUFFault: CustomStringConvertible {
    package var description: String {
        switch self {
        case .magic(let found): "expected the four bytes 'GGUF' first, found \(found)"
        case .version(let found): "expected GGUF of version 2 or 3, found version \(found)"
        case .bigEndian: "expected numbers with the lowest byte first, found a big-endian file"
        case .truncated(let what, let offset, let needed, let found):
            needed == 0
                ? "expected \(what) at byte \(offset), found the end of the file"
                : "\(what): expected \(needed) bytes at byte \(offset), found \(found)"
        case .count(let what, let limit, let found):
            "expected at most \(limit) \(what) in a file of this size, found \(found)"
        case .textTooLong(let what, let limit, let found):
            "\(what): expected at most \(limit) bytes, found \(found)"
        case .notUTF8(let what): "\(what): expected UTF-8, found other bytes"
        case .alignment(let found):
            "'\(GGUF.alignmentKey)': expected a power of two of type u32, found \(found)"
        case .metadata(_, .emptyKey(let index)):
            "key \(index) of the metadata: expected a text, found an empty one"
        case .metadata(let key, let fault): "\(quoted(key)): \(fault)"
        }
    }
}

extension MetadataFault: CustomStringConvertible {
    package var description: String {
        switch self {
        case .emptyKey(let index): "expected a key, found an empty one at place \(index)"
        case .duplicate: "expected each key once, found it twice"
        case .unknownType(let found):
            "expected a type from 0 to \(GGUFType.allCases.count - 1), found \(found)"
        case .nested: "expected no array within an array, found one"
        case .arrayLength(let limit, let found):
            "expected at most \(limit) elements in the rest of the file, found \(found)"
        case .bool(let found): "expected 0 or 1 for a truth value, found \(found)"
        case .notUTF8: "expected UTF-8, found other bytes"
        }
    }
}
