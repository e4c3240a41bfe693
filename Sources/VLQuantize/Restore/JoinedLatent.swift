import CVLKernels
import VLFormats
import VLModels
import VLTensor

/// `kv_b_proj` of latent attention, made of its keys (transposed, a head after the other) and its values.
struct JoinedLatent {
    let keys: StoredTensor
    let keyType: DType
    let values: StoredTensor
    let valueType: DType
    let sizes: DeepSeekMoEConfig.Latent

    var shape: [Int] { [sizes.heads * (sizes.plainSize + sizes.valueSize), sizes.rank] }

    /// Whether both tensors have the shapes that the model states.
    var hasItsShapes: Bool {
        keys.shape == [sizes.heads, sizes.rank, sizes.plainSize]
            && values.shape == [sizes.heads, sizes.valueSize, sizes.rank]
            && sizes.plainSize % keyType.blockLength == 0 && sizes.rank % valueType.blockLength == 0
    }

    /// Hands the rows of each head to `body`, [plainSize + valueSize, rank].
    private func forEachHead<Failure: Error>(
        _ run: Run,
        _ body: (UnsafeMutablePointer<Float>) throws(Failure) -> Void
    ) throws(Failure) {
        let keyCount = sizes.rank * sizes.plainSize
        let valueCount = sizes.valueSize * sizes.rank
        let buffer = WeightBuffer(byteCount: max(2 * keyCount + valueCount, 1) * 4)
        guard let start = buffer.bytes.baseAddress, let keyStart = keys.bytes.baseAddress,
            let valueStart = values.bytes.baseAddress
        else { return }
        let rows = start.bindMemory(to: Float.self, capacity: 2 * keyCount + valueCount)
        let transposed = rows + keyCount + valueCount
        for head in 0..<sizes.heads {
            run.decode(
                keyStart + head * sizes.rank * keyType.rowBytes(sizes.plainSize),
                keyType,
                count: keyCount,
                into: transposed
            )
            for row in 0..<sizes.plainSize {
                for column in 0..<sizes.rank {
                    rows[row * sizes.rank + column] = transposed[column * sizes.plainSize + row]
                }
            }
            run.decode(
                valueStart + head * sizes.valueSize * valueType.rowBytes(sizes.rank),
                valueType,
                count: valueCount,
                into: rows + keyCount
            )
            try body(rows)
        }
    }

    func fitsFloat16(_ run: Run) -> Bool {
        let count = sizes.rank * (sizes.plainSize + sizes.valueSize)
        var fits = true
        forEachHead(run) { rows in
            fits = fits && (0..<count).allSatisfy { !(rows[$0].magnitude >= 65520 && rows[$0].isFinite) }
        }
        return fits
    }

    func write(_ type: DType, _ run: Run, _ output: inout TensorOutput) throws(FormatError) {
        let count = sizes.rank * (sizes.plainSize + sizes.valueSize)
        let bytes = count * type.rowBytes(1)
        let buffer = WeightBuffer(byteCount: max(bytes, 1))
        guard let start = buffer.bytes.baseAddress else { return }
        try forEachHead(run) { (rows) throws(FormatError) in
            run.store(rows, count: count, as: type, into: start)
            try output.write(UnsafeRawBufferPointer(start: start, count: bytes))
        }
    }
}
