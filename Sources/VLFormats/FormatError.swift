import VLJSON

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What is wrong with one tensor's entry in a checkpoint.
package enum TensorFault: Equatable, Sendable {
    /// A field that the entry must have is missing.
    case missingField(String)
    /// An element type that is not read.
    case unsupportedDType(String)
    /// More dimensions than any tensor has.
    case rank(limit: Int)
    /// The shape's elements, or their bytes, cannot be counted in 64 bits.
    case sizeOverflow(shape: [Int])
    /// Shape and element type need another number of bytes than there are.
    case byteCount(expected: Int, found: Int, shape: [Int], dtype: StoredDType)
    /// Another number of offsets than two.
    case offsetCount(Int)
    /// The offsets end before they begin.
    case reversed(begin: Int, end: Int)
    /// The offsets end behind the data.
    case pastEnd(end: Int, dataBytes: Int)
    /// Bytes between the tensor before and this one belong to nobody.
    case hole(expected: Int, found: Int)
    /// The tensor begins before the one before it ends.
    case overlap(expected: Int, found: Int, other: String)
    /// The name stands for something else in the format.
    case reservedName
    /// The name is taken.
    case duplicate
    /// A size that no tensor has.
    case dimension(UInt64)
    /// A number that is no element type of GGUF, or one that it has withdrawn.
    case unknownType(UInt32)
    /// A row that is no whole number of blocks.
    case wholeBlocks(dtype: StoredDType, row: Int)
    /// The bytes begin elsewhere than at a multiple of the file's alignment.
    case misaligned(offset: Int, alignment: Int)
    /// An element type that the kind of file cannot hold.
    case foreignDType(StoredDType, format: String)
    /// A name longer than the kind of file allows.
    case nameTooLong(limit: Int)
}

/// What a program did to a file when the system refused.
package enum FileOperation: String, Sendable {
    case open
    case status = "stat"
    case map
    case read
    case create
    case lock
    case write
    case synchronize = "sync"
    case close
    case rename
}

/// Why a file was refused, or could not be read or written.
package enum FormatError: Error, Equatable, Sendable {
    /// The system refused; `code` is its errno.
    case system(file: String, FileOperation, code: Int32)
    /// A folder, a pipe or a device where a file belongs.
    case notAFile(file: String, found: String)
    /// Something where a new folder is to be.
    case notEmpty(folder: String, found: String)
    /// Fewer bytes than the format begins with.
    case tooShort(file: String, expected: Int, found: Int)
    /// More bytes than are read into memory.
    case tooLarge(file: String, limit: Int, found: Int)
    /// A file that is no JSON, or holds other values than it must.
    case json(file: String, JSONError)
    /// A safetensors header that is no JSON, or holds other values than it must.
    case header(file: String, JSONError)
    /// A safetensors header longer than the format allows.
    case headerTooLong(file: String, limit: Int, found: UInt64)
    /// A safetensors header that ends behind the file.
    case headerPastEnd(file: String, headerBytes: Int, fileBytes: Int)
    /// A safetensors header that does not begin with a brace.
    case headerStart(file: String, found: UInt8?)
    /// A tensor's entry that cannot be.
    case tensor(String, file: String, TensorFault)
    /// Bytes behind the last tensor, or fewer bytes than the tensors take.
    case dataSize(file: String, expected: Int, found: Int)
    /// A GGUF file with something wrong outside of its tensors.
    case gguf(file: String, GGUFFault)
    /// A checkpoint index without its list of tensors.
    case noWeightMap(file: String)
    /// A shard's name that is no plain file name.
    case shardName(file: String, tensor: String, found: String)
    /// A shard that the index names and the folder does not hold.
    case shardMissing(file: String, shard: String)
    /// A tensor in another shard than the index says; nil where the index does not list it.
    case wrongShard(tensor: String, expected: String?, found: String)
    /// A tensor that the index lists and its shard does not hold.
    case tensorMissing(String, file: String)
    /// A folder without a checkpoint of a known kind.
    case noCheckpoint(folder: String, wanted: [String])
    /// A tensor that the model needs and the checkpoint does not hold.
    case noTensor(String, checkpoint: String)
    /// Tensors that the checkpoint holds and nobody read.
    case unreadTensors([String], checkpoint: String)
}

extension FormatError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .system(let file, let operation, let code):
            "\(file): \(operation.rawValue): \(Self.reason(code))"
        case .notAFile(let file, let found): "\(file): expected a file, found \(found)"
        case .notEmpty(let folder, let found):
            "\(folder): expected nothing, or an empty folder, found \(found)"
        case .tooShort(let file, let expected, let found):
            "\(file): expected at least \(expected) bytes, found \(found)"
        case .tooLarge(let file, let limit, let found):
            "\(file): expected at most \(limit) bytes, found \(found)"
        case .json(let file, let error): "\(file): \(error)"
        case .header(let file, let error): "\(file): header: \(error)"
        case .headerTooLong(let file, let limit, let found):
            "\(file): header: expected at most \(limit) bytes, found a length of \(found)"
        case .headerPastEnd(let file, let headerBytes, let fileBytes):
            "\(file): header: expected to end within the file of \(fileBytes) bytes, found a length of "
                + "\(headerBytes) behind byte 8"
        case .headerStart(let file, let found):
            "\(file): header: expected '{' first, found \(found.map { "the byte \($0)" } ?? "nothing")"
        case .tensor(let name, let file, let fault): "\(file): tensor \(quoted(name)): \(fault)"
        case .dataSize(let file, let expected, let found):
            "\(file): expected \(expected) bytes of tensors, found \(found)"
        case .gguf(let file, let fault): "\(file): \(fault)"
        case .noWeightMap(let file): "\(file): expected an object 'weight_map', found none"
        case .shardName(let file, let tensor, let found):
            "\(file): tensor \(quoted(tensor)): expected the plain name of a .safetensors file, "
                + "found \(quoted(found))"
        case .shardMissing(let file, let shard):
            "\(file): expected the file \(quoted(shard)) beside it, found none; "
                + "the download may be incomplete"
        case .wrongShard(let tensor, let expected?, let found):
            "\(found): tensor \(quoted(tensor)): expected in \(quoted(expected)), as the index "
                + "says, found here"
        case .wrongShard(let tensor, nil, let found):
            "\(found): tensor \(quoted(tensor)): expected to be listed in the index, found that it is not"
        case .tensorMissing(let name, let file):
            "\(file): expected the tensor \(quoted(name)), as the index says, found none"
        case .noCheckpoint(let folder, let wanted):
            "\(folder): expected \(wanted.map { "'\($0)'" }.joined(separator: " or ")), found none of them"
        case .noTensor(let name, let checkpoint):
            "\(checkpoint): expected the tensor \(quoted(name)), found none"
        case .unreadTensors(let names, let checkpoint):
            "\(checkpoint): expected every tensor to belong to the model, found \(names.count) that do not: "
                + names.prefix(5).map(quoted).joined(separator: ", ")
                + (names.count > 5 ? "…" : "")
        }
    }

    /// The system's words for an errno, in this package's voice.
    private static func reason(_ code: Int32) -> String {
        guard let words = strerror(code) else { return "error \(code)" }
        let text = String(cString: words)
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}

/// A name from a file, in quotes and in a form for messages.
func quoted(_ name: String) -> String { "'\(name.excerpt(limit: 200))'" }

extension TensorFault: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missingField(let field): "expected the field '\(field)', found none"
        case .unsupportedDType(let found):
            "expected a dtype of \(Self.safetensorsTypes), found "
                + "\(quoted(found))"
        case .rank(let limit): "expected at most \(limit) dimensions, found more"
        case .sizeOverflow(let shape):
            "expected a shape whose bytes can be counted, found \(Self.brief(shape))"
        case .byteCount(let expected, let found, let shape, let dtype):
            "expected \(expected) bytes for \(dtype.rawValue) \(Self.brief(shape)), found \(found)"
        case .offsetCount(let found): "expected 2 numbers in 'data_offsets', found \(found)"
        case .reversed(let begin, let end):
            "expected offsets that rise, found [\(begin), \(end)]"
        case .pastEnd(let end, let dataBytes):
            "expected an end within the \(dataBytes) bytes of data, found \(end)"
        case .hole(let expected, let found): "expected to begin at \(expected), found \(found): a hole"
        case .overlap(let expected, let found, let other):
            "expected to begin at \(expected), found \(found): an overlap with \(quoted(other))"
        case .reservedName: "expected a name that the format does not reserve, found one that it does"
        case .duplicate: "expected each name once, found it twice"
        case .dimension(let found): "expected sizes below 2^63, found \(found)"
        case .unknownType(let found): "expected an element type of GGUF, found the number \(found)"
        case .wholeBlocks(let dtype, let row):
            "expected rows of whole \(dtype.rawValue) blocks of \(dtype.blockSize) elements, found rows of \(row)"
        case .misaligned(let offset, let alignment):
            "expected to begin at a multiple of \(alignment), found \(offset)"
        case .foreignDType(let dtype, let format):
            "expected an element type of \(format), found \(dtype.rawValue)"
        case .nameTooLong(let limit): "expected a name of at most \(limit) bytes, found a longer one"
        }
    }

    private static var safetensorsTypes: String {
        StoredDType.allCases.filter(\.isSafetensors).map(\.rawValue).joined(separator: " ")
    }

    private static func brief(_ shape: [Int]) -> String {
        "[" + shape.prefix(8).map(String.init).joined(separator: ", ") + (shape.count > 8 ? ", …]" : "]")
    }
}

extension FormatError {
    /// The errno of a file that is not there.
    package static let noSuchFile: Int32 = ENOENT
}
