import CVLKernels
import VLTensor

/// Rounds a matrix column by column, each column making good for the errors of those before it (GPTQ).
///
/// Rows are rounded alone and sums have one order, so the codes do not depend on the number of threads.
struct ErrorFeedback {
    private let factor: FeedbackFactor
    private let form: vl_gptq_form
    private let groupSize: Int
    private let order: GPTQOptions.Order
    private let run: Run
    /// Columns that are rounded together: whole groups where these are found on the way.
    private let blockSize: Int

    private static let leastBlock = 128

    init(_ factor: FeedbackFactor, _ form: vl_gptq_form, _ options: GPTQOptions, _ run: Run) {
        self.factor = factor
        self.form = form
        self.run = run
        (groupSize, order) = (options.groupSize, options.order)
        let whole = (Self.leastBlock + groupSize - 1) / groupSize * groupSize
        blockSize = options.order == .activation ? Self.leastBlock : whole
    }

    /// Rounds a matrix, [rows, columns].
    func round(_ values: Matrix) -> RoundedMatrix {
        let (rows, columns) = (values.rows, values.columns)
        var result = RoundedMatrix(rows: rows, columns: columns, groupSize: groupSize)
        if order == .activationGroups {
            for (place, column) in factor.order.enumerated() {
                result.groupOf[Int(column)] = Int32(place / groupSize)
            }
        }
        let weights = ordered(values)
        let errorMemory = WeightBuffer(byteCount: rows * columns * 4)
        let codeMemory = WeightBuffer(byteCount: rows * columns)
        guard let errorBase = errorMemory.bytes.baseAddress, let codeBase = codeMemory.bytes.baseAddress
        else {
            return result
        }
        let errors = Matrix(
            errorBase.bindMemory(to: Float.self, capacity: rows * columns),
            rows: rows,
            columns: columns
        )
        nonisolated(unsafe) let codes = codeBase.bindMemory(to: UInt8.self, capacity: rows * columns)
        var losses = [Double](repeating: 0, count: rows)
        let groups = result.groups
        result.grids.withUnsafeMutableBufferPointer { buffer in
            guard let gridBase = buffer.baseAddress else { return }
            nonisolated(unsafe) let grids = gridBase
            if order == .activation { findGrids(values, grids) }
            eachBlock(errors, &losses) { block, row, fed, scratch in
                let place = row * columns + Int(block.first)
                return withUnsafePointer(to: block) {
                    vl_gptq_round(
                        $0,
                        weights.matrix.pointer + place,
                        fed,
                        errors.pointer + place,
                        codes + place,
                        grids + row * groups,
                        scratch
                    )
                }
            }
        }
        result.codes.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            nonisolated(unsafe) let target = base
            run.pool.parallel(rows) { row in
                for (place, column) in factor.order.enumerated() {
                    target[row * columns + Int(column)] = codes[row * columns + place]
                }
            }
        }
        let rounded = losses.reduce(0, +)
        let plain = RoundedMatrix.nearest(values, form, groupSize: groupSize, run)
        result.errors = (rounded, loss(of: plain, values), loss(ofErrors: weights.matrix))
        withExtendedLifetime((errorMemory, codeMemory, weights.memory)) {}
        return result
    }

    /// The output's squared error with other codes.
    func loss(of rounded: RoundedMatrix, _ values: Matrix) -> Double {
        let memory = WeightBuffer(byteCount: values.rows * values.columns * 4)
        guard let base = memory.bytes.baseAddress else { return 0 }
        let errors = Matrix(
            base.bindMemory(to: Float.self, capacity: values.rows * values.columns),
            rows: values.rows,
            columns: values.columns
        )
        run.pool.parallel(values.rows) { row in
            let target = errors[row: row]
            rounded.decode(row: row, into: target)
            for column in 0..<values.columns { target[column] = values[row: row][column] - target[column] }
        }
        let inOrder = ordered(errors)
        defer { withExtendedLifetime((memory, inOrder.memory)) {} }
        return loss(ofErrors: inOrder.matrix)
    }

    /// The output's squared error that errors of the weights make; their columns are in the order of rounding.
    private func loss(ofErrors errors: Matrix) -> Double {
        var losses = [Double](repeating: 0, count: errors.rows)
        eachBlock(errors, &losses) { block, row, fed, scratch in
            withUnsafePointer(to: block) {
                vl_gptq_loss($0, errors[row: row] + Int(block.first), fed, scratch)
            }
        }
        return losses.reduce(0, +)
    }

    /// A matrix with its columns in the order of rounding.
    private func ordered(_ values: Matrix) -> (matrix: Matrix, memory: WeightBuffer) {
        let memory = WeightBuffer(byteCount: values.rows * values.columns * 4)
        guard let base = memory.bytes.baseAddress else { preconditionFailure("a buffer without memory") }
        let result = Matrix(
            base.bindMemory(to: Float.self, capacity: values.rows * values.columns),
            rows: values.rows,
            columns: values.columns
        )
        run.pool.parallel(values.rows) { row in
            let (from, target) = (values[row: row], result[row: row])
            for (place, column) in factor.order.enumerated() { target[place] = from[Int(column)] }
        }
        return (result, memory)
    }

    /// Finds the grids of groups of neighbours from the weights as they are.
    private func findGrids(_ values: Matrix, _ grids: UnsafeMutablePointer<vl_gptq_grid>) {
        let columns = values.columns
        let groups = (columns + groupSize - 1) / groupSize
        var importance = [Float](repeating: 0, count: columns)
        for (place, column) in factor.order.enumerated() {
            importance[Int(column)] = factor.curvature[place]
        }
        importance.withUnsafeBufferPointer { importance in
            guard let importanceBase = importance.baseAddress else { return }
            nonisolated(unsafe) let (importance, grids) = (importanceBase, grids)
            run.pool.parallel(values.rows) { row in
                for group in 0..<groups {
                    let first = group * groupSize
                    grids[row * groups + group] = vl_gptq_search(
                        form,
                        values[row: row] + first,
                        importance + first,
                        Int64(min(groupSize, columns - first)),
                        nil
                    )
                }
            }
        }
    }

    /// Goes over the columns block by block and, within a block, over the rows, on all threads.
    ///
    /// - Parameters:
    ///   - errors: of the weights, in the order of rounding; `body` may fill in those of its block and row.
    ///   - losses: gets what `body` returns added, by rows.
    ///   - body: block, row, what the errors of earlier blocks add to the row's values, and scratch memory.
    private func eachBlock(
        _ errors: Matrix,
        _ losses: inout [Double],
        _ body: (vl_gptq_block, Int, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Double
    ) {
        let (rows, columns) = (errors.rows, errors.columns)
        for first in stride(from: 0, to: columns, by: blockSize) {
            let count = min(blockSize, columns - first)
            run.scoped {
                let fed: Matrix
                if first > 0 {
                    let factors = run.workspace.matrix(count, first)
                    for row in 0..<count {
                        factors[row: row].update(from: factor.feedback[row: first + row], count: first)
                    }
                    let weight = WeightMatrix(
                        factors.pointer,
                        type: .float32,
                        rows: count,
                        columns: first
                    )
                    let known = run.activations(errors[columns: 0..<first], isExact: true)
                    fed = run.linear(known, Linear(weight: weight))
                } else {
                    fed = run.workspace.matrix(rows, count)
                    fed.pointer.update(repeating: 0, count: rows * count)
                }
                let turned = run.workspace.matrix(count, count)
                let curvature = run.workspace.allocate(Float.self, count)
                let groups = run.workspace.allocate(Int32.self, count)
                for column in 0..<count {
                    for row in 0..<count {
                        turned[row: row][column] =
                            row < column ? factor.feedback[row: first + column][first + row] : 0
                    }
                    curvature[column] = factor.curvature[first + column]
                    groups[column] = factor.order[first + column] / Int32(groupSize)
                }
                let block = vl_gptq_block(
                    first: Int64(first),
                    count: Int64(count),
                    group: order == .activation ? 0 : Int64(groupSize),
                    form: form,
                    feedback: UnsafePointer(turned.pointer),
                    curvature: UnsafePointer(curvature),
                    groups: UnsafePointer(groups)
                )
                let scratch = run.workspace.matrix(run.pool.threads, 2 * count)
                losses.withUnsafeMutableBufferPointer { buffer in
                    guard let base = buffer.baseAddress else { return }
                    nonisolated(unsafe) let losses = base
                    run.pool.parallelByWorker(rows) { row, worker in
                        losses[row] += body(block, row, fed[row: row], scratch[row: worker])
                    }
                }
            }
        }
    }
}
