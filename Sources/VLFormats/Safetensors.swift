import VLJSON

/// A tensor's entry in a file: what it is and where its bytes lie.
package struct TensorEntry: Equatable, Sendable {
    package let name: String
    package let dtype: StoredDType
    /// Sizes, outermost first; empty for a scalar.
    package let shape: [Int]
    /// The tensor's bytes, counted from the file's first byte: row-major, little-endian, perhaps not aligned.
    package let range: Range<Int>

    package init(name: String, dtype: StoredDType, shape: [Int], range: Range<Int>) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.range = range
    }
}

/// A safetensors file: 8 bytes of header length, a JSON header, and the tensors' bytes without holes.
///
/// The whole header is checked before anything is believed: its length, its JSON, every entry's dtype, shape
/// and offsets, and that the tensors cover the data to the file's end.
package struct Safetensors: Sendable {
    /// The longest header that the format allows, in bytes.
    package static let headerLimit = 100_000_000
    /// The most dimensions that are read.
    package static let rankLimit = 64

    /// A checked header.
    package struct Header: Sendable {
        /// All tensors, in the order of their bytes.
        package var entries: [TensorEntry]
        /// The texts of `__metadata__`, in their order.
        package var metadata: [(key: String, value: String)]
    }

    /// The file.
    package let file: MappedFile
    /// All tensors, in the order of their bytes.
    package var entries: [TensorEntry] { header.entries }
    /// The tensors with their bytes, in the same order.
    package var tensors: [StoredTensor] { entries.map { StoredTensor($0, in: file) } }
    /// The texts of `__metadata__`, in their order.
    package var metadata: [(key: String, value: String)] { header.metadata }

    private let header: Header
    private let places: [ExactString: Int]

    /// Maps a file and checks its header.
    package static func open(_ path: String) throws(FormatError) -> Safetensors {
        try Safetensors(MappedFile(path, allowsEmpty: true))
    }

    init(_ file: MappedFile) throws(FormatError) {
        self.file = file
        header = try Safetensors.parse(file.span, file: file.path)
        var places: [ExactString: Int] = [:]
        places.reserveCapacity(header.entries.count)
        for (index, entry) in header.entries.enumerated() { places[ExactString(entry.name)] = index }
        self.places = places
    }

    /// The entry of the tensor `name`, or nil.
    package subscript(name: String) -> TensorEntry? { places[ExactString(name)].map { entries[$0] } }

    /// Reads and checks the header of a whole file's bytes.
    ///
    /// - Parameters:
    ///   - bytes: all bytes of the file.
    ///   - file: the file's name, for errors.
    /// - Returns: the header, all of whose entries lie within `bytes`.
    /// - Throws: `FormatError` with what was expected and found.
    package static func parse(_ bytes: Span<UInt8>, file: String) throws(FormatError) -> Header {
        guard bytes.count >= 8 else { throw .tooShort(file: file, expected: 8, found: bytes.count) }
        var length: UInt64 = 0
        for index in 0..<8 { length |= UInt64(bytes[index]) << UInt64(8 * index) }
        guard length <= UInt64(headerLimit) else {
            throw .headerTooLong(file: file, limit: headerLimit, found: length)
        }
        let headerBytes = Int(length)
        guard headerBytes <= bytes.count - 8 else {
            throw .headerPastEnd(file: file, headerBytes: headerBytes, fileBytes: bytes.count)
        }
        guard headerBytes > 0 else { throw .headerStart(file: file, found: nil) }
        guard bytes[8] == UInt8(ascii: "{") else { throw .headerStart(file: file, found: bytes[8]) }
        let text = bytes.extracting(8..<8 + headerBytes)
        let start = 8 + headerBytes
        return try SafetensorsHeaderReader(file: file, dataStart: start, dataBytes: bytes.count - start)
            .read(text)
    }
}
