import CVLKernels
import VLTensor

/// Rounds a matrix column by column, each column making good for the errors of those before it (GPTQ).
///
/// Rows are rounded alone and sums have one order, so the codes do not depend on the number of threads.
struct ErrorFeedback {
    private let values: Matrix
    private let factor: FeedbackFactor
    private let form: vl_gptq_form
    private let groupSize: Int
    private let order: GPTQOptions.Order
    private let run: Run
    /// Grids of groups of neighbours that were found before; nil where they are found on the way.
    private let grids: [vl_gptq_grid]?
    /// Columns that are rounded together: whole groups where these are found on the way.
    private let blockSize: Int

    private static let leastBlock = 128

    /// - Parameters:
    ///   - values: the matrix that is to be rounded, [rows, columns].
    ///   - grids: [rows, groups], each group's, of neighbouring columns; nil finds them as the options say.
    init(
        _ values: Matrix,
        _ factor: FeedbackFactor,
        _ form: vl_gptq_form,
        _ options: GPTQOptions,
        grids: [vl_gptq_grid]? = nil,
        _ run: Run
    ) {
        self.values = values
        self.factor = factor
        self.form = form
        self.run = run
        (groupSize, order) = (options.groupSize, options.order)
        let isFound = grids == nil && options.order == .activation
        self.grids = isFound ? Self.findGrids(values, factor, form, options, run) : grids
        let whole = (Self.leastBlock + groupSize - 1) / groupSize * groupSize
        blockSize = self.grids == nil ? whole : Self.leastBlock
    }

    /// The rounded matrix.
    func round() -> RoundedMatrix {
        let (rows, columns) = (values.rows, values.columns)
        var result = RoundedMatrix(rows: rows, columns: columns, groupSize: groupSize)
        if grids == nil, order == .activationGroups {
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
        if let grids { result.grids = grids }
        result.grids.withUnsafeMutableBufferPointer { buffer in
            guard let gridBase = buffer.baseAddress else { return }
            nonisolated(unsafe) let grids = gridBase
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
        result.errors = (rounded, loss(of: plain), loss(ofErrors: weights.matrix))
        withExtendedLifetime((errorMemory, codeMemory, weights.memory)) {}
        return result
    }

    /// The output's squared error with other codes.
    func loss(of rounded: RoundedMatrix) -> Double {
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

    /// The grids of groups of neighbours, found from the weights as they are.
    private static func findGrids(
        _ values: Matrix,
        _ factor: FeedbackFactor,
        _ form: vl_gptq_form,
        _ options: GPTQOptions,
        _ run: Run
    ) -> [vl_gptq_grid] {
        let (columns, size) = (values.columns, options.groupSize)
        let groups = (columns + size - 1) / size
        var importance = [Float](repeating: 0, count: columns)
        for (place, column) in factor.order.enumerated() {
            importance[Int(column)] = factor.curvature[place]
        }
        var result = [vl_gptq_grid](repeating: vl_gptq_grid(), count: values.rows * groups)
        result.withUnsafeMutableBufferPointer { buffer in
            importance.withUnsafeBufferPointer { importance in
                guard let base = buffer.baseAddress, let importanceBase = importance.baseAddress else {
                    return
                }
                nonisolated(unsafe) let (grids, importance) = (base, importanceBase)
                run.pool.parallel(values.rows) { row in
                    for group in 0..<groups {
                        let first = group * size
                        let count = Int64(min(size, columns - first))
                        grids[row * groups + group] =
                            vl_gptq_search(form, values[row: row] + first, importance + first, count, nil)
                    }
                }
            }
        }
        return result
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
                    group: grids == nil ? Int64(groupSize) : 0,
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
