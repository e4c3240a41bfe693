import VLJSON

/// Writes safetensors files, tensor by tensor, without holding them in memory.
///
/// The file appears under its name only when all of it is on the disk. The same tensors give the same bytes
/// on every machine: the metadata as given; then the tensors with the biggest elements first, else in the
/// order given, so that each begins at a multiple of its element's size; the header padded with spaces to a
/// multiple of 8.
package enum SafetensorsWriter {
    /// A tensor to write.
    package typealias Tensor = OutgoingTensor

    /// A tensor and its size in bytes.
    private struct Item {
        let tensor: Tensor
        let byteCount: Int
    }

    /// Writes a file.
    ///
    /// - Parameter onTensor: called with the number of tensors that are written.
    /// - Throws: `FormatError.system` where the disk is full or refuses, `FormatError.tensor` for a name (or
    ///   a key of the metadata) that is there twice, a reserved name, a shape of more bytes than can be
    ///   counted, or a tensor that wrote another number of bytes than it has; nothing then stands under
    ///   `path` that did not before.
    package static func write(
        _ path: String,
        metadata: [(key: String, value: String)] = [],
        tensors: [Tensor],
        onTensor: (Int) -> Void = { _ in }
    ) throws(FormatError) {
        let items = try plan(tensors, path)
        let header = try header(metadata, items, path)
        var output = try TensorOutput(AtomicFile(path))
        try output.writePlain(header)
        for (index, item) in items.enumerated() {
            try output.write(item.tensor, byteCount: item.byteCount)
            onTensor(index + 1)
        }
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
            guard tensor.dtype.isSafetensors else {
                throw .tensor(tensor.name, file: path, .foreignDType(tensor.dtype, format: "safetensors"))
            }
            guard let byteCount = tensor.dtype.byteCount(shape: tensor.shape) else {
                throw .tensor(tensor.name, file: path, .sizeOverflow(shape: tensor.shape))
            }
            items.append(Item(tensor: tensor, byteCount: byteCount))
        }
        return [8, 4, 2, 1].flatMap { size in items.filter { $0.tensor.dtype.blockBytes == size } }
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
