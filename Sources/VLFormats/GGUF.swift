import VLJSON

/// A GGUF file of version 2 or 3: typed metadata and tensors, whose bytes stay in the file.
///
/// Everything is checked before it is believed: counts and lengths against the bytes that are left, types,
/// names and their uniqueness, and that each tensor lies within the file, aligned, and apart from the others.
/// The specification's arrays within arrays are refused, as ggml's own reader does.
package struct GGUF: Sendable {
    /// The first four bytes of each file.
    package static let magic = Array("GGUF".utf8)
    /// The most pairs of metadata that are read.
    package static let pairLimit = 65536
    /// The most tensors that are read.
    package static let tensorLimit = 1_048_576
    /// The longest text that is read, in bytes.
    package static let textLimit = 1 << 30
    /// The longest key of the metadata, in bytes.
    package static let keyLimit = 65535
    /// The longest name of a tensor, in bytes.
    package static let nameLimit = 64
    /// The most dimensions of a tensor.
    package static let rankLimit = 4
    /// The alignment of tensors in files that state none.
    package static let defaultAlignment = 32
    /// The key that states another alignment.
    package static let alignmentKey = "general.alignment"

    /// A pair of the metadata.
    package struct Pair: Sendable {
        package let key: String
        package let type: GGUFType
        /// The type of an array's elements; the value's own type for others.
        package let element: GGUFType
        /// The number of elements; 1 for a value that is no array.
        package let count: Int
        /// The bytes of the value, or of an array's elements, in the file; a text's without its length.
        let range: Range<Int>
    }

    /// A checked header.
    struct Header: Sendable {
        var version = 3
        var pairs: [Pair] = []
        /// All tensors, in the order of their records.
        var entries: [TensorEntry] = []
        var alignment = GGUF.defaultAlignment
        /// Where the tensors' bytes begin in the file.
        var dataStart = 0
    }

    /// The file.
    package let file: MappedFile
    private let header: Header
    private let places: [ExactString: Int]

    /// Maps a file and checks its header.
    package static func open(_ path: String) throws(FormatError) -> GGUF {
        try GGUF(MappedFile(path, allowsEmpty: true))
    }

    init(_ file: MappedFile) throws(FormatError) {
        self.file = file
        var reader = GGUFHeaderReader(file.span, file: file.path)
        header = try reader.read()
        var places: [ExactString: Int] = [:]
        places.reserveCapacity(header.pairs.count)
        for (index, pair) in header.pairs.enumerated() { places[ExactString(pair.key)] = index }
        self.places = places
    }

    /// Whether a file's bytes begin as those of a GGUF file do.
    package static func begins(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.starts(with: magic) }

    package var version: Int { header.version }
    package var alignment: Int { header.alignment }
    /// All pairs of the metadata, in the file's order.
    package var pairs: [Pair] { header.pairs }
    /// All tensors, in the order of their records; shapes outermost first, as everywhere here.
    package var entries: [TensorEntry] { header.entries }
    /// The tensors with their bytes, in the same order.
    package var tensors: [StoredTensor] { entries.map { StoredTensor($0, in: file) } }

    /// The value of a key, or nil.
    package subscript(key: String) -> GGUFValue? { places[ExactString(key)].map { value(of: pairs[$0]) } }

    /// The value of a pair.
    package func value(of pair: Pair) -> GGUFValue {
        switch pair.type {
        case .array:
            return .array(
                GGUFArray(element: pair.element, count: pair.count, mapping: file, range: pair.range)
            )
        case .string: return .text(String(decoding: file.bytes[pair.range], as: UTF8.self))
        default: return GGUFValue(pair.type, file.bytes, at: pair.range.lowerBound) ?? .integer(0)
        }
    }
}
