import CVLKernels
import VLFormats
import VLModels
import VLTensor

/// A tensor of the file to write: where its rows come from, and in which type they go.
struct OutgoingMatrix {
    /// How rows are taken from the stored tensors.
    enum Order {
        case asStored
        /// A head's rows (0, half, 1, half + 1, …), for rotation by pairs.
        case turned(heads: Int)
        /// A head's keys of `kv_b_proj`, transposed: a row for each column.
        case latentKeys(DeepSeekMoEConfig.Latent)
        /// A head's values of `kv_b_proj`.
        case latentValues(DeepSeekMoEConfig.Latent)
        /// The rows of one expert, of a tensor that stacks those of all.
        case slice(Int)
        /// The halves of a head that `turned` has mixed.
        case unturned(heads: Int)
    }

    let name: String
    /// One stored tensor, or those of all experts in turn.
    var parts: [StoredTensor]
    var storedType: DType
    var type: DType
    /// Sizes, outermost first.
    var shape: [Int]
    var order = Order.asStored
    /// What the parts hold if they are the codes of packed layers; else empty.
    var packed: [PackedMatrix] = []
    /// How much each column matters, for each of the stacked matrices; nil treats all alike.
    var importance: [Float]?

    /// Bytes of float32 that are in memory at once, about.
    private static let batchBytes = 1 << 22

    var columns: Int { isTurnedVector ? 1 : shape.last ?? 1 }
    var rows: Int { (isTurnedVector ? shape[...] : shape.dropLast()).reduce(1, *) }

    /// Whether it is a bias whose values go where the rows of its matrix go.
    private var isTurnedVector: Bool {
        switch order {
        case .turned, .unturned: shape.count == 1
        default: false
        }
    }

    /// Whether columns of a packed layer lie in an order of their own.
    var hasOrder: Bool { packed.contains { $0.order != nil } }

    /// Whether blocks are written that hold a packed layer's numbers as they are.
    var keepsCodes: Bool { !packed.isEmpty && type == storedType && type.isBlock && !hasOrder }

    /// The values of a row.
    private func read(_ row: Int, _ run: Run, into values: UnsafeMutablePointer<Float>) {
        let columns = columns
        func decode(_ part: Int, _ row: Int, _ columns: Int, from column: Int = 0, count: Int, to place: Int)
        {
            if !packed.isEmpty {
                let range = column..<column + count
                return packed[part].writeValues(row: row, columns: range, run, into: values + place)
            }
            guard let base = parts[part].bytes.baseAddress else { return }
            // Rows of codes are taken whole.
            if storedType.isBlock {
                let start = base + row * storedType.rowBytes(columns)
                return vl_decode(storedType.kernelType, start, values, Int64(count))
            }
            let start = base + row * storedType.rowBytes(columns) + column * storedType.rowBytes(1)
            run.decode(start, storedType, count: count, into: values + place)
        }
        switch order {
        case .asStored, .turned, .unturned, .slice:
            let (part, from) = source(row)
            decode(part, from, columns, count: columns, to: 0)
        case .latentKeys(let latent):
            let first = row / latent.rank * (latent.plainSize + latent.valueSize)
            for index in 0..<latent.plainSize {
                decode(0, first + index, latent.rank, from: row % latent.rank, count: 1, to: index)
            }
        case .latentValues(let latent):
            let head = row / latent.valueSize
            let from =
                head * (latent.plainSize + latent.valueSize) + latent.plainSize + row % latent.valueSize
            decode(0, from, latent.rank, count: latent.rank, to: 0)
        }
    }

    /// The part that holds a whole row, and the row's number there.
    private func source(_ row: Int) -> (part: Int, row: Int) {
        switch order {
        case .turned(let heads):
            let size = rows / heads
            let within = row % size
            return (0, row / size * size + within / 2 + within % 2 * (size / 2))
        case .unturned(let heads):
            let size = rows / heads
            let (within, half) = (row % size, size / 2)
            return (0, row / size * size + (within < half ? 2 * within : 2 * (within - half) + 1))
        case .slice(let index):
            return (0, index * rows + row)
        default:
            let each = rows / parts.count
            return (row / each, row % each)
        }
    }

    /// Whether float16 can hold all values that the tensor has.
    func fitsFloat16(_ run: Run) -> Bool {
        guard storedType != .float16 else { return true }
        let rows = rows
        return withUnsafeTemporaryAllocation(of: Bool.self, capacity: max(rows, 1)) { fits in
            run.pool.parallel(rows) { row in
                withUnsafeTemporaryAllocation(of: Float.self, capacity: max(columns, 1)) { buffer in
                    guard let values = buffer.baseAddress else { return }
                    read(row, run, into: values)
                    // 65520 is the first that rounds to infinity; what is no number stays none.
                    fits[row] = buffer.allSatisfy { !($0.magnitude >= 65520 && $0.isFinite) }
                }
            }
            return (0..<rows).allSatisfy { fits[$0] }
        }
    }

    /// The tensor for the writer, which makes a few rows at a time.
    func outgoing(_ run: Run, _ dtype: StoredDType) -> OutgoingTensor {
        OutgoingTensor(name: name, dtype: dtype, shape: shape) { (output) throws(FormatError) in
            try write(run, &output)
            for part in parts { part.advise(.notNeeded) }
        }
    }

    private func write(_ run: Run, _ output: inout TensorOutput) throws(FormatError) {
        let (rows, columns) = (rows, columns)
        guard rows > 0, columns > 0 else { return }
        let rowBytes = type.rowBytes(columns)
        let batch = max(1, min(rows, Self.batchBytes / (columns * 4)))
        let buffer = WeightBuffer(byteCount: batch * rowBytes)
        guard let start = buffer.bytes.baseAddress else { return }
        let keepsCodes = keepsCodes
        for first in stride(from: 0, to: rows, by: batch) {
            let count = min(batch, rows - first)
            run.pool.parallel(count) { index in
                if keepsCodes {
                    let (part, row) = source(first + index)
                    return packed[part].writeBlocks(
                        rows: row..<row + 1,
                        as: type,
                        into: start + index * rowBytes
                    )
                }
                withUnsafeTemporaryAllocation(of: Float.self, capacity: columns) { values in
                    guard let values = values.baseAddress else { return }
                    read(first + index, run, into: values)
                    encode(values, row: first + index, run, into: start + index * rowBytes)
                }
            }
            try output.write(UnsafeRawBufferPointer(start: start, count: count * rowBytes))
        }
    }

    private func encode(
        _ values: UnsafePointer<Float>,
        row: Int,
        _ run: Run,
        into target: UnsafeMutableRawPointer
    ) {
        guard let importance, type.isBlock else {
            return run.store(values, count: columns, as: type, into: target)
        }
        let part = row / (shape.count == 3 ? shape[1] : rows) * columns
        importance.withUnsafeBufferPointer { all in
            // An expert that no row reached says nothing of its columns.
            let isKnown = all[part..<part + columns].contains { $0 > 0 }
            let weights = isKnown ? all.baseAddress.map { $0 + part } : nil
            vl_encode(type.kernelType, values, weights, target, Int64(columns))
        }
    }
}
