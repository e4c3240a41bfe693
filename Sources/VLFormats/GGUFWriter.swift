import VLJSON

/// Writes GGUF files of version 3, tensor by tensor, without holding them in memory.
///
/// The file appears under its name only when all of it is on the disk. The same pairs and tensors in the same
/// order give the same bytes on every machine.
package enum GGUFWriter {
    /// A value of the metadata.
    package enum Value: Sendable {
        case uint8(UInt8)
        case int8(Int8)
        case uint16(UInt16)
        case int16(Int16)
        case uint32(UInt32)
        case int32(Int32)
        case uint64(UInt64)
        case int64(Int64)
        case float32(Float)
        case float64(Double)
        case bool(Bool)
        case text(String)
        case uint32s([UInt32])
        case int32s([Int32])
        case float32s([Float])
        case bools([Bool])
        case texts([String])
        /// A pair of an open file, taken over byte for byte.
        case copy(GGUF, GGUF.Pair)
    }

    /// Writes a file.
    ///
    /// - Parameters:
    ///   - metadata: the pairs, in this order; `general.alignment` is added if `alignment` is another than
    ///     the usual one.
    ///   - tensors: in this order; the names must be shorter than 64 bytes, or ggml's own reader refuses them.
    ///   - job: what decides over the tensors' bytes besides their names, types and shapes; a process that is killed
    ///     then leaves what it has written for the next one with the same job. Nil: it leaves nothing.
    ///   - onTensor: called with the number of tensors that are written.
    /// - Throws: `FormatError.system` where the disk is full or refuses, `.gguf` and `.tensor` for keys, names,
    ///   types and shapes that the format does not allow; nothing then stands under `path` that did not before.
    package static func write(
        _ path: String,
        metadata: [(key: String, value: Value)],
        tensors: [OutgoingTensor],
        alignment: Int = GGUF.defaultAlignment,
        resuming job: String? = nil,
        onTensor: (Int) -> Void = { _ in }
    ) throws(FormatError) {
        guard alignment > 0, alignment & (alignment - 1) == 0, let stated = UInt32(exactly: alignment) else {
            throw .gguf(file: path, .alignment("\(alignment)"))
        }
        var metadata = metadata.filter { $0.key != GGUF.alignmentKey }
        if alignment != GGUF.defaultAlignment { metadata.append((GGUF.alignmentKey, .uint32(stated))) }
        var header = GGUF.magic
        append(UInt32(3), to: &header)
        append(UInt64(tensors.count), to: &header)
        append(UInt64(metadata.count), to: &header)
        try append(metadata, to: &header, path)
        let sizes = try append(tensors, alignment, to: &header, path)
        var output = try TensorOutput(file(path, job, header))
        if output.count == 0 { try output.writePlain(header) }
        var end = header.count
        for (index, (tensor, size)) in zip(tensors, sizes).enumerated() {
            end = (end + alignment - 1) / alignment * alignment + size
            // What a killed process has left reaches up to the end of some tensor.
            if output.count < end || size == 0 {
                try pad(&output, alignment)
                try output.write(tensor, byteCount: size)
                try output.record()
            }
            onTensor(index + 1)
        }
        try pad(&output, alignment)
        try output.commit()
    }

    private static func file(
        _ path: String,
        _ job: String?,
        _ header: [UInt8]
    ) throws(FormatError) -> AtomicFile {
        guard let job else { return try AtomicFile(path) }
        // The header is the part's beginning, so that its sum stands for it.
        let sum = String(Checksum.of(header), radix: 16)
        return try AtomicFile(path, resuming: Array("\(job)\nheader \(header.count) \(sum)".utf8))
    }

    private static func pad(_ output: inout TensorOutput, _ alignment: Int) throws(FormatError) {
        let missing = (alignment - output.count % alignment) % alignment
        if missing > 0 { try output.writePlain([UInt8](repeating: 0, count: missing)) }
    }

    // MARK: Metadata

    private static func append(
        _ metadata: [(key: String, value: Value)],
        to header: inout [UInt8],
        _ path: String
    ) throws(FormatError) {
        guard metadata.count <= GGUF.pairLimit else {
            throw .gguf(
                file: path,
                .count("pairs of metadata", limit: GGUF.pairLimit, found: UInt64(metadata.count))
            )
        }
        var keys: Set<ExactString> = []
        for (index, pair) in metadata.enumerated() {
            guard !pair.key.isEmpty else {
                throw .gguf(file: path, .metadata(key: "", .emptyKey(index)))
            }
            guard pair.key.utf8.count <= GGUF.keyLimit else {
                throw .gguf(
                    file: path,
                    .textTooLong(
                        "key \(index) of the metadata",
                        limit: GGUF.keyLimit,
                        found: UInt64(pair.key.utf8.count)
                    )
                )
            }
            guard keys.insert(ExactString(pair.key)).inserted else {
                throw .gguf(file: path, .metadata(key: pair.key, .duplicate))
            }
            append(pair.key, to: &header)
            append(pair.value, to: &header)
        }
    }

    private static func append(_ value: Value, to header: inout [UInt8]) {
        func scalar<Number: FixedWidthInteger>(_ type: GGUFType, _ number: Number) {
            append(type.rawValue, to: &header)
            append(number, to: &header)
        }
        func array<Element>(_ type: GGUFType, _ list: [Element], _ body: (Element) -> Void) {
            append(GGUFType.array.rawValue, to: &header)
            append(type.rawValue, to: &header)
            append(UInt64(list.count), to: &header)
            for element in list { body(element) }
        }
        switch value {
        case .uint8(let number): scalar(.uint8, number)
        case .int8(let number): scalar(.int8, number)
        case .uint16(let number): scalar(.uint16, number)
        case .int16(let number): scalar(.int16, number)
        case .uint32(let number): scalar(.uint32, number)
        case .int32(let number): scalar(.int32, number)
        case .uint64(let number): scalar(.uint64, number)
        case .int64(let number): scalar(.int64, number)
        case .float32(let number): scalar(.float32, number.bitPattern)
        case .float64(let number): scalar(.float64, number.bitPattern)
        case .bool(let flag): scalar(.bool, UInt8(flag ? 1 : 0))
        case .text(let text):
            append(GGUFType.string.rawValue, to: &header)
            append(text, to: &header)
        case .uint32s(let list): array(.uint32, list) { append($0, to: &header) }
        case .int32s(let list): array(.int32, list) { append($0, to: &header) }
        case .float32s(let list): array(.float32, list) { append($0.bitPattern, to: &header) }
        case .bools(let list): array(.bool, list) { append(UInt8($0 ? 1 : 0), to: &header) }
        case .texts(let list): array(.string, list) { append($0, to: &header) }
        case .copy(let source, let pair):
            append(pair.type.rawValue, to: &header)
            if pair.type == .array {
                append(pair.element.rawValue, to: &header)
                append(UInt64(pair.count), to: &header)
            } else if pair.type == .string {
                append(UInt64(pair.range.count), to: &header)
            }
            header.append(contentsOf: source.file.bytes[pair.range])
        }
    }

    private static func append<Number: FixedWidthInteger>(_ number: Number, to header: inout [UInt8]) {
        withUnsafeBytes(of: number.littleEndian) { header.append(contentsOf: $0) }
    }

    private static func append(_ text: String, to header: inout [UInt8]) {
        append(UInt64(text.utf8.count), to: &header)
        header.append(contentsOf: text.utf8)
    }

    // MARK: Tensors

    /// Appends the tensors' records and gives the tensors' sizes in bytes.
    private static func append(
        _ tensors: [OutgoingTensor],
        _ alignment: Int,
        to header: inout [UInt8],
        _ path: String
    ) throws(FormatError) -> [Int] {
        var names: Set<ExactString> = []
        var sizes: [Int] = []
        var offset = 0
        for tensor in tensors {
            func refuse(_ fault: TensorFault) -> FormatError { .tensor(tensor.name, file: path, fault) }
            guard names.insert(ExactString(tensor.name)).inserted else { throw refuse(.duplicate) }
            guard tensor.name.utf8.count < GGUF.nameLimit else {
                throw refuse(.nameTooLong(limit: GGUF.nameLimit - 1))
            }
            guard tensor.shape.count <= GGUF.rankLimit else { throw refuse(.rank(limit: GGUF.rankLimit)) }
            guard let number = tensor.dtype.ggufNumber else {
                throw refuse(.foreignDType(tensor.dtype, format: "GGUF"))
            }
            if tensor.dtype.isBlock, let row = tensor.shape.last, row % tensor.dtype.blockSize != 0 {
                throw refuse(.wholeBlocks(dtype: tensor.dtype, row: row))
            }
            guard let size = tensor.dtype.byteCount(shape: tensor.shape) else {
                throw refuse(.sizeOverflow(shape: tensor.shape))
            }
            append(tensor.name, to: &header)
            append(UInt32(tensor.shape.count), to: &header)
            for size in tensor.shape.reversed() { append(UInt64(size), to: &header) }
            append(number, to: &header)
            append(UInt64(offset), to: &header)
            sizes.append(size)
            let (end, overflows) = offset.addingReportingOverflow(size)
            guard !overflows, end <= Int.max - alignment else {
                throw refuse(.sizeOverflow(shape: tensor.shape))
            }
            offset = (end + alignment - 1) / alignment * alignment
        }
        return sizes
    }
}
