/// A stored matrix, [rows, columns] row-major without gaps, in the type that its file holds.
///
/// It does not own its bytes: a model keeps the mapping or the buffer alive next to the matrices that point into it.
package struct WeightMatrix: @unchecked Sendable {
    // @unchecked Sendable: the bytes are never written after the matrix was made.
    package let pointer: UnsafeRawPointer
    package let type: DType
    /// Output features.
    package let rows: Int
    /// Input features.
    package let columns: Int

    package init(_ pointer: UnsafeRawPointer, type: DType, rows: Int, columns: Int) {
        precondition(rows >= 0 && columns >= 0, "a weight of \(rows) x \(columns)")
        self.pointer = pointer
        self.type = type
        self.rows = rows
        self.columns = columns
    }

    /// Bytes of the whole matrix.
    package var byteCount: Int { rows * columns * type.byteCount }

    /// The rows of a range, as a view.
    package subscript(rows range: Range<Int>) -> WeightMatrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        let start = pointer + range.lowerBound * columns * type.byteCount
        return WeightMatrix(start, type: type, rows: range.count, columns: columns)
    }
}

/// A stored vector of float32 values: a norm's weight, a bias.
///
/// Ownership as for `WeightMatrix`.
package struct WeightVector: @unchecked Sendable {
    // @unchecked Sendable: the values are never written after the vector was made.
    package let pointer: UnsafePointer<Float>
    package let count: Int

    package init(_ pointer: UnsafePointer<Float>, count: Int) {
        self.pointer = pointer
        self.count = count
    }
}

/// A matrix and, perhaps, a bias: y = x W^T + b.
package struct Linear: Sendable {
    package let weight: WeightMatrix
    package let bias: WeightVector?

    package init(weight: WeightMatrix, bias: WeightVector? = nil) {
        precondition(
            bias == nil || bias?.count == weight.rows,
            "a bias of \(bias?.count ?? 0) for \(weight.rows) rows"
        )
        self.weight = weight
        self.bias = bias
    }

    /// Input features.
    package var inputSize: Int { weight.columns }
    /// Output features.
    package var outputSize: Int { weight.rows }
}
