import CVLKernels
import VLTensor

/// X^T X of the rows that a matrix reads: half of the second derivative of its output's squared error.
///
/// Sums are float32: products of whole parts of 256 rows, added in the order of the rows. Only the lower triangle is kept
/// true. The bits do not depend on the number of threads, nor on how the rows come.
final class InputHessian {
    /// Input features.
    let size: Int
    /// Rows that were added.
    private(set) var rows = 0
    /// [size, size], row by row; the lower triangle counts, after `settle`.
    let sums: Matrix

    private let memory: WeightBuffer
    /// Rows that wait until there are enough of them.
    private var pending: [Float] = []
    private static let partRows = 256
    private static let panelRows = 512

    /// Bytes that one of a size takes.
    static func byteCount(_ size: Int) -> Int { (size * size + partRows * size) * 4 }

    init(size: Int) {
        self.size = size
        memory = WeightBuffer(byteCount: size * size * 4)
        guard let base = memory.bytes.baseAddress else { preconditionFailure("a buffer without memory") }
        let values = base.bindMemory(to: Float.self, capacity: max(1, size * size))
        values.initialize(repeating: 0, count: size * size)
        sums = Matrix(values, rows: size, columns: size)
    }

    /// Adds rows, [rows, size].
    func add(_ input: Matrix, _ run: Run) {
        precondition(input.columns == size, "\(input.columns) columns for \(size)")
        pending.reserveCapacity(Self.partRows * size)
        for row in 0..<input.rows {
            pending.append(contentsOf: UnsafeBufferPointer(start: input[row: row], count: size))
            if pending.count == Self.partRows * size { settle(run) }
        }
        rows += input.rows
    }

    /// Adds what waits.
    func settle(_ run: Run) {
        let (size, count) = (size, pending.count / max(1, size))
        guard count > 0 else { return }
        run.scoped {
            let turned = run.workspace.matrix(size, count)
            pending.withUnsafeBufferPointer { rows in
                run.pool.ranges(size, grain: max(1, 65536 / count)) { range in
                    for column in range {
                        let target = turned[row: column]
                        for row in 0..<count { target[row] = rows[row * size + column] }
                    }
                }
            }
            let activations = run.activations(turned, isExact: true)
            for first in stride(from: 0, to: size, by: Self.panelRows) {
                let panel = first..<min(size, first + Self.panelRows)
                run.scoped {
                    // Columns behind the panel's last row are above the diagonal.
                    let others = WeightMatrix(
                        turned.pointer,
                        type: .float32,
                        rows: panel.upperBound,
                        columns: count
                    )
                    let part = run.workspace.matrix(panel.count, panel.upperBound)
                    var list = run.products(1)
                    run.append(activations, rows: panel, others, to: part, &list)
                    run.perform(list)
                    run.pool.parallel(panel.count) { row in
                        run.kernels.pointee.add(
                            sums[row: first + row],
                            part[row: row],
                            Int64(first + row + 1)
                        )
                    }
                }
            }
        }
        pending.removeAll(keepingCapacity: true)
    }
}
