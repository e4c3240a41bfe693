/// Activations: a float32 matrix, [rows, columns], that lives in a workspace or in a buffer of the caller.
///
/// A view: copying it copies no numbers. It is valid until the workspace that it came from is rewound.
package struct Matrix {
    /// First element of row 0.
    package let pointer: UnsafeMutablePointer<Float>
    package let rows: Int
    package let columns: Int
    /// Elements from one row to the next.
    package let stride: Int

    package init(_ pointer: UnsafeMutablePointer<Float>, rows: Int, columns: Int, stride: Int? = nil) {
        precondition(rows >= 0 && columns >= 0, "a matrix of \(rows) x \(columns)")
        self.pointer = pointer
        self.rows = rows
        self.columns = columns
        self.stride = stride ?? columns
    }

    /// A stored table, to be read only.
    package init(table: WeightVector, rows: Int, columns: Int) {
        precondition(table.count == rows * columns, "\(table.count) values as [\(rows), \(columns)]")
        self.init(UnsafeMutablePointer(mutating: table.pointer), rows: rows, columns: columns)
    }

    /// Row `index`, `columns` values.
    package subscript(row index: Int) -> UnsafeMutablePointer<Float> {
        pointer + index * stride
    }

    /// The rows of a range, as a view.
    package subscript(rows range: Range<Int>) -> Matrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        return Matrix(
            pointer + range.lowerBound * stride,
            rows: range.count,
            columns: columns,
            stride: stride
        )
    }

    /// The columns of a range, as a view.
    package subscript(columns range: Range<Int>) -> Matrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of \(columns)")
        return Matrix(pointer + range.lowerBound, rows: rows, columns: range.count, stride: stride)
    }

    /// All values, row by row, as an array: for tests, traces and results, not for the token loop.
    package var values: [Float] {
        var result: [Float] = []
        result.reserveCapacity(rows * columns)
        for row in 0..<rows {
            result.append(contentsOf: UnsafeBufferPointer(start: self[row: row], count: columns))
        }
        return result
    }
}
