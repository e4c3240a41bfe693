import VLJSON

/// Writes safetensors files, tensor by tensor, without holding them in memory.
///
/// The file appears under its name only when all of it is on the disk. The same tensors give the same bytes
/// on every machine: the metadata as given; then the tensors with the biggest elements first, else in the
/// order given, so that each begins at a multiple of its element's size; the header padded with spaces to a
/// multiple of 8.
package enum SafetensorsWriter {
    /// A tensor to write.
    package struct Tensor {
        package let name: String
        package let dtype: StoredDType
        /// Sizes, outermost first; empty for a scalar.
        package let shape: [Int]
        fileprivate let writeBytes: (inout Output) throws(FormatError) -> Void

        /// A tensor whose bytes are made when their turn comes.
        ///
        /// - Parameters:
        ///   - name: the name, which no other tensor of the file has.
        ///   - dtype: the element type.
        ///   - shape: sizes, outermost first.
        ///   - writeBytes: writes exactly the tensor's bytes (row-major, little-endian), in pieces of any
        ///     size.
        package init(
            name: String,
            dtype: StoredDType,
            shape: [Int],
            writeBytes: @escaping (inout Output) throws(FormatError) -> Void
        ) {
            self.name = name
            self.dtype = dtype
            self.shape = shape
            self.writeBytes = writeBytes
        }

        /// A tensor whose bytes lie in memory, which must stay as it is until the file is written.
        package init(name: String, dtype: StoredDType, shape: [Int], bytes: UnsafeRawBufferPointer) {
            self.init(name: name, dtype: dtype, shape: shape) { (output) throws(FormatError) in
                try output.write(bytes)
            }
        }

        /// A tensor of these bytes.
        package init(name: String, dtype: StoredDType, shape: [Int], bytes: [UInt8]) {
            self.init(name: name, dtype: dtype, shape: shape) { (output) throws(FormatError) in
                try output.write(bytes)
            }
        }
    }

    /// Where a tensor's bytes go; refuses more than the tensor has.
    package struct Output: ~Copyable {
        private var file: AtomicFile
        /// Bytes that the current tensor still lacks.
        private var missing = 0
        private var current: Item?

        fileprivate init(_ file: consuming AtomicFile) { self.file = file }

        /// Appends bytes to the tensor.
        package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
            guard bytes.count <= missing else { throw wrongSize(bytes.count - missing) }
            try file.write(bytes)
            missing -= bytes.count
        }

        /// Appends bytes to the tensor.
        package mutating func write(_ bytes: [UInt8]) throws(FormatError) {
            try bytes.span.withUnsafeBytes { (raw) throws(FormatError) in try write(raw) }
        }

        fileprivate mutating func write(_ item: Item) throws(FormatError) {
            current = item
            missing = item.byteCount
            try item.tensor.writeBytes(&self)
            guard missing == 0 else { throw wrongSize(-missing) }
        }

        fileprivate mutating func writeHeader(_ bytes: [UInt8]) throws(FormatError) { try file.write(bytes) }

        fileprivate consuming func commit() throws(FormatError) { try file.commit() }

        private func wrongSize(_ excess: Int) -> FormatError {
            guard let current else { return .dataSize(file: file.path, expected: 0, found: excess) }
            let tensor = current.tensor
            return .tensor(
                tensor.name,
                file: file.path,
                .byteCount(
                    expected: current.byteCount,
                    found: current.byteCount + excess,
                    shape: tensor.shape,
                    dtype: tensor.dtype
                )
            )
        }
    }

    /// A tensor and its size in bytes.
    fileprivate struct Item {
        let tensor: Tensor
        let byteCount: Int
    }

    /// Writes a file.
    ///
    /// - Throws: `FormatError.system` where the disk is full or refuses, `FormatError.tensor` for a name (or
    ///   a key of the metadata) that is there twice, a reserved name, a shape of more bytes than can be
    ///   counted, or a tensor that wrote another number of bytes than it has; nothing then stands under
    ///   `path` that did not before.
    package static func write(
        _ path: String,
        metadata: [(key: String, value: String)] = [],
        tensors: [Tensor]
    ) throws(FormatError) {
        let items = try plan(tensors, path)
        let header = try header(metadata, items, path)
        var output = try Output(AtomicFile(path))
        try output.writeHeader(header)
        for item in items { try output.write(item) }
        try output.commit()
    }

    /// The tensors in the file's order, checked.
    private static func plan(_ tensors: [Tensor], _ path: String) throws(FormatError) -> [Item] {
        var names: Set<ExactString> = []
        var items: [Item] = []
        for tensor in tensors {
            guard tensor.name != "__metadata__" else { throw .tensor(tensor.name, file: path, .reservedName) }
            guard names.insert(ExactString(tensor.name)).inserted else {
                throw .tensor(tensor.name, file: path, .duplicate)
            }
            guard tensor.shape.count <= Safetensors.rankLimit else {
                throw .tensor(tensor.name, file: path, .rank(limit: Safetensors.rankLimit))
            }
            guard let byteCount = tensor.dtype.byteCount(shape: tensor.shape) else {
                throw .tensor(tensor.name, file: path, .sizeOverflow(shape: tensor.shape))
            }
            items.append(Item(tensor: tensor, byteCount: byteCount))
        }
        return [8, 4, 2, 1].flatMap { size in items.filter { $0.tensor.dtype.byteCount == size } }
    }

    /// The header with its length before it.
    private static func header(
        _ metadata: [(key: String, value: String)],
        _ items: [Item],
        _ path: String
    ) throws(FormatError) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        if !metadata.isEmpty {
            guard Set(metadata.map { ExactString($0.key) }).count == metadata.count else {
                throw .tensor("__metadata__", file: path, .duplicate)
            }
            writer.key("__metadata__")
            writer.beginObject()
            for (key, value) in metadata {
                writer.key(key)
                writer.write(value)
            }
            writer.endObject()
        }
        var offset = 0
        for item in items {
            let (end, overflows) = offset.addingReportingOverflow(item.byteCount)
            guard !overflows else {
                throw .tensor(item.tensor.name, file: path, .sizeOverflow(shape: item.tensor.shape))
            }
            writer.key(item.tensor.name)
            writer.beginObject()
            writer.key("dtype")
            writer.write(item.tensor.dtype.rawValue)
            writer.key("shape")
            writer.beginArray()
            for size in item.tensor.shape { writer.write(size) }
            writer.endArray()
            writer.key("data_offsets")
            writer.beginArray()
            writer.write(offset)
            writer.write(end)
            writer.endArray()
            writer.endObject()
            offset = end
        }
        writer.endObject()
        let text = writer.bytes
        let length = (text.count + 7) / 8 * 8
        guard length <= Safetensors.headerLimit else {
            throw .headerTooLong(file: path, limit: Safetensors.headerLimit, found: UInt64(length))
        }
        let lengthBytes = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
        return lengthBytes + text + [UInt8](repeating: UInt8(ascii: " "), count: length - text.count)
    }
}
