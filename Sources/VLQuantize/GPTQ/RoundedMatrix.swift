import CVLKernels
import VLTensor

/// A matrix whose values are codes of 4 bits, with a scale and an offset for each group of columns of each row.
package struct RoundedMatrix {
    package let rows: Int
    package let columns: Int
    /// [rows, columns], 0...15.
    package internal(set) var codes: [UInt8]
    /// [rows, groups].
    package internal(set) var grids: [vl_gptq_grid]
    /// The group of each column (`g_idx`).
    package internal(set) var groupOf: [Int32]
    package let groups: Int
    /// The output's squared error over the calibration, damped, by what rounding makes of it, by what the weights
    /// themselves are, and by rounding them to the nearest; nil where no calibration told.
    package internal(set) var errors: (rounded: Double, nearest: Double, whole: Double)?

    init(rows: Int, columns: Int, groupSize: Int) {
        (self.rows, self.columns) = (rows, columns)
        groups = (columns + groupSize - 1) / groupSize
        codes = [UInt8](repeating: 0, count: rows * columns)
        grids = [vl_gptq_grid](repeating: vl_gptq_grid(), count: rows * groups)
        groupOf = (0..<columns).map { Int32($0 / groupSize) }
    }

    /// Whether all scales and offsets are numbers that float16 holds.
    var isFinite: Bool { grids.allSatisfy { $0.scale.isFinite && $0.offset.isFinite } }

    /// The values of a row, which the codes stand for.
    func decode(row: Int, into values: UnsafeMutablePointer<Float>) {
        for column in 0..<columns {
            let grid = grids[row * groups + Int(groupOf[column])]
            values[column] = grid.scale * Float(codes[row * columns + column]) + grid.offset
        }
    }

    /// Rounds each value to the nearest of its group's grid, the grid with the least squared error.
    ///
    /// - Parameter values: [rows, columns].
    static func nearest(_ values: Matrix, _ form: vl_gptq_form, groupSize: Int, _ run: Run) -> RoundedMatrix {
        var result = RoundedMatrix(rows: values.rows, columns: values.columns, groupSize: groupSize)
        let (columns, groups) = (result.columns, result.groups)
        result.codes.withUnsafeMutableBufferPointer { codes in
            result.grids.withUnsafeMutableBufferPointer { grids in
                guard let codeBase = codes.baseAddress, let gridBase = grids.baseAddress else { return }
                nonisolated(unsafe) let (codes, grids) = (codeBase, gridBase)
                run.pool.parallel(values.rows) { row in
                    for group in 0..<groups {
                        let first = group * groupSize
                        let count = min(groupSize, columns - first)
                        let part = values[row: row] + first
                        let grid = vl_gptq_search(form, part, nil, Int64(count), nil)
                        grids[row * groups + group] = grid
                        for index in 0..<count {
                            codes[row * columns + first + index] = vl_gptq_code(grid, part[index])
                        }
                    }
                }
            }
        }
        return result
    }
}
