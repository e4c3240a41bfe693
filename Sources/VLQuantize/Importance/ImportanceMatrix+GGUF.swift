import VLFormats

/// The present format of llama.cpp: a GGUF file with two tensors for each of the model's, as `save_imatrix` of its
/// `tools/imatrix/imatrix.cpp` writes it and `common_imatrix_load` reads it.
extension ImportanceMatrix {
    private static let sums = ".in_sum2"
    private static let counts = ".counts"

    /// Reads a file of either format, which its first bytes tell.
    ///
    /// - Throws: `MeasureError.format` for a damaged file, `.matrix` for one of another kind.
    package static func read(_ path: String) throws(MeasureError) -> ImportanceMatrix {
        var gguf: GGUF?
        var bytes: [UInt8] = []
        do throws(FormatError) {
            if try FileContents.first(GGUF.magic.count, of: path) == GGUF.magic {
                gguf = try GGUF.open(path)
            } else {
                bytes = try FileContents.read(path, limit: 1 << 32)
            }
        } catch {
            throw .format(error)
        }
        if let gguf { return try ImportanceMatrix(gguf, file: path) }
        return try parse(legacy: bytes, file: path)
    }

    /// Writes the file.
    ///
    /// The bytes are those that llama.cpp would write of the same sums.
    ///
    /// - Throws: `MeasureError.format`.
    package func writeGGUF(_ path: String) throws(MeasureError) {
        var tensors: [OutgoingTensor] = []
        for name in names {
            guard let entry = entries[name] else { continue }
            // ggml states no outer axes of one.
            let isOne = entry.counts.count == 1
            tensors.append(
                OutgoingTensor(
                    name: name + Self.sums,
                    dtype: .float32,
                    shape: isOne ? [entry.sums.count] : [entry.counts.count, entry.sumsPerCount],
                    bytes: Self.bytes(entry.sums)
                )
            )
            tensors.append(
                OutgoingTensor(
                    name: name + Self.counts,
                    dtype: .float32,
                    shape: isOne ? [1] : [entry.counts.count, 1],
                    bytes: Self.bytes(entry.counts.map { Float($0) })
                )
            )
        }
        do throws(FormatError) {
            try GGUFWriter.write(
                path,
                metadata: [
                    ("general.type", .text("imatrix")), ("imatrix.datasets", .texts(datasets)),
                    ("imatrix.chunk_count", .uint32(UInt32(clamping: chunkCount))),
                    ("imatrix.chunk_size", .uint32(UInt32(clamping: chunkSize))),
                ],
                tensors: tensors
            )
        } catch {
            throw .format(error)
        }
    }

    private static func bytes(_ values: [Float]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(4 * values.count)
        for value in values {
            withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    /// The matrix of an open file.
    ///
    /// - Throws: `MeasureError.matrix`.
    init(_ gguf: GGUF, file: String) throws(MeasureError) {
        func wrong(_ place: String, _ expected: String, _ found: String) -> MeasureError {
            .matrix(file: file, place: place, expected: expected, found: found)
        }
        guard let type = gguf["general.type"]?.asText, type == "imatrix" else {
            throw wrong(
                "general.type",
                "'imatrix'",
                gguf["general.type"].map { $0.asText.map { "'\($0.prefix(40))'" } ?? $0.kind }
                    ?? "nothing: no importance matrix"
            )
        }
        func number(_ key: String) throws(MeasureError) -> Int {
            guard let value = gguf[key]?.asInt, value >= 0 else {
                throw wrong(key, "a whole number", gguf[key]?.kind ?? "nothing")
            }
            return value
        }
        let datasets = gguf["imatrix.datasets"]
        guard let list = datasets?.asArray, list.element == .string else {
            throw wrong("imatrix.datasets", "an array of texts", datasets?.kind ?? "nothing")
        }
        self.init(
            chunkCount: try number("imatrix.chunk_count"),
            chunkSize: try number("imatrix.chunk_size"),
            datasets: list.prefix(list.count).compactMap(\.asText)
        )
        let store = WeightStore(gguf)
        for tensor in store.all {
            guard tensor.name.hasSuffix(Self.sums) || tensor.name.hasSuffix(Self.counts) else {
                throw wrong(
                    "tensor '\(tensor.name)'",
                    "a name that ends in '\(Self.sums)' or '\(Self.counts)'",
                    "another"
                )
            }
            guard tensor.dtype == .float32 else {
                throw wrong("tensor '\(tensor.name)'", "F32", tensor.dtype.rawValue)
            }
            guard tensor.name.hasSuffix(Self.sums) else {
                let name = String(tensor.name.dropLast(Self.counts.count))
                guard store.peek(name + Self.sums) != nil else {
                    throw wrong("tensor '\(tensor.name)'", "'\(name)\(Self.sums)' beside it", "none")
                }
                continue
            }
            let name = String(tensor.name.dropLast(Self.sums.count))
            guard let counted = store.peek(name + Self.counts) else {
                throw wrong("tensor '\(tensor.name)'", "'\(name)\(Self.counts)' beside it", "none")
            }
            let sums = Self.values(tensor)
            let counts = Self.values(counted)
            guard !counts.isEmpty, !sums.isEmpty, sums.count % counts.count == 0 else {
                throw wrong(
                    "tensor '\(tensor.name)'",
                    "values for each of \(counts.count) counts",
                    "\(sums.count)"
                )
            }
            try Self.check(sums, "tensor '\(tensor.name)'", file)
            if let bad = counts.first(where: { !($0 >= 0 && $0 < 0x1p53 && $0 == $0.rounded()) }) {
                throw wrong("tensor '\(counted.name)'", "whole numbers from 0", "\(bad)")
            }
            entries[name] = Entry(sums: sums, counts: counts.map { Int($0) })
        }
        guard !entries.isEmpty else { throw wrong("", "tensors", "none") }
    }

    private static func values(_ tensor: StoredTensor) -> [Float] {
        let bytes = tensor.bytes
        return (0..<bytes.count / 4).map { index in
            Float(
                bitPattern: UInt32(
                    littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
                )
            )
        }
    }

    /// Checks that sums of squares are such.
    ///
    /// - Throws: `MeasureError.matrix` with the first that is none.
    static func check(_ sums: [Float], _ place: String, _ file: String) throws(MeasureError) {
        guard let bad = sums.first(where: { !($0.isFinite && $0 >= 0) }) else { return }
        throw .matrix(file: file, place: place, expected: "finite numbers from 0", found: "\(bad)")
    }
}
