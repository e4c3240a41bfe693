import CVLKernels
import VLTensor

/// The factor R of a damped Hessian, H = R R^T with R upper triangular, as the rounding loop needs it: how much of one
/// column's error the others get.
///
/// R is Cholesky's factor of H with rows and columns in reverse. No inverse of H is ever made.
struct FeedbackFactor {
    /// Columns of the matrix in the order in which they are rounded.
    let order: [Int32]
    /// R_kk^2, in that order.
    let curvature: [Float]
    /// What was added to the diagonal, as a share of its mean.
    let damping: Double
    /// Row k holds R_jk / R_kk for j < k.
    let feedback: Matrix

    private let memory: WeightBuffer
    private static let blockSize = 64

    /// Bytes that one of a size takes while it is made.
    static func byteCount(_ size: Int) -> Int { 2 * size * size * 4 }

    /// Factors a Hessian.
    ///
    /// - Parameters:
    ///   - damping: share of the diagonal's mean that is added to it; ten times as much, up to three times, where
    ///     that does not make the Hessian positive definite.
    ///   - order: the order of the columns; nil rounds those with the largest activations first.
    /// - Returns: nil for a Hessian of zeros, or of numbers that are none.
    init?(_ hessian: InputHessian, damping: Double, order: [Int32]?, _ run: Run) {
        let size = hessian.size
        let diagonal = (0..<size).map { hessian.sums[row: $0][$0] }
        let mean = diagonal.reduce(0.0) { $0 + Double($1) } / Double(max(1, size))
        guard mean > 0, mean.isFinite else { return nil }
        let order =
            order
            ?? (0..<Int32(size)).sorted {
                (diagonal[Int($0)], $1) > (diagonal[Int($1)], $0)
            }
        memory = WeightBuffer(byteCount: size * size * 4)
        let work = WeightBuffer(byteCount: size * size * 4)
        guard let base = memory.bytes.baseAddress, let workBase = work.bytes.baseAddress else { return nil }
        let factor = Matrix(
            workBase.bindMemory(to: Float.self, capacity: size * size),
            rows: size,
            columns: size
        )
        var used = damping
        for attempt in 0...3 {
            if attempt > 0 { used = max(used, 1e-4) * 10 }
            let added = Float(used * mean)
            run.pool.parallel(size) { row in
                let from = Int(order[size - 1 - row])
                let target = factor[row: row]
                for column in 0...row {
                    let other = Int(order[size - 1 - column])
                    target[column] = hessian.sums[row: max(from, other)][min(from, other)]
                }
                target[row] += added
            }
            if Self.factor(factor, run) { break }
            if attempt == 3 { return nil }
        }
        let feedback = Matrix(
            base.bindMemory(to: Float.self, capacity: size * size),
            rows: size,
            columns: size
        )
        run.pool.parallel(size) { row in
            let column = size - 1 - row
            let scale = 1 / factor[row: column][column]
            let target = feedback[row: row]
            for index in 0..<row { target[index] = factor[row: size - 1 - index][column] * scale }
        }
        self.order = order
        self.damping = used
        self.feedback = feedback
        curvature = (0..<size).map {
            let root = factor[row: size - 1 - $0][size - 1 - $0]
            return root * root
        }
        withExtendedLifetime(work) {}
    }

    /// Cholesky's factor in place of the lower triangle; false if the matrix is not positive definite.
    private static func factor(_ a: Matrix, _ run: Run) -> Bool {
        let size = a.rows
        for first in stride(from: 0, to: size, by: blockSize) {
            let block = first..<min(size, first + blockSize)
            let isDefinite = run.scoped {
                if first > 0 {
                    let known = run.workspace.matrix(block.count, first)
                    for row in 0..<block.count {
                        known[row: row].update(from: a[row: first + row], count: first)
                    }
                    let below = a[rows: first..<size][columns: 0..<first]
                    let weight = WeightMatrix(
                        known.pointer,
                        type: .float32,
                        rows: block.count,
                        columns: first
                    )
                    let product = run.linear(run.activations(below, isExact: true), Linear(weight: weight))
                    run.pool.parallel(size - first) { row in
                        let target = a[row: first + row] + first
                        // Of the block's own rows, what is above the diagonal is nobody's.
                        for column in 0..<min(block.count, row + 1) {
                            target[column] -= product[row: row][column]
                        }
                    }
                }
                let corner = a[row: first] + first
                guard vl_cholesky_block(corner, Int64(size), Int64(block.count)) == 0 else { return false }
                run.pool.parallel(size - block.upperBound) { row in
                    vl_cholesky_row(
                        corner,
                        Int64(size),
                        Int64(block.count),
                        a[row: block.upperBound + row] + first
                    )
                }
                return true
            }
            guard isDefinite else { return false }
        }
        return true
    }
}
