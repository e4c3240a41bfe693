import CVLKernels

/// A weight matrix, [rows, columns], as the product kernels read it.
///
/// Float types lie row after row without gaps, as files hold them; block formats are packed in groups of 16 rows (see
/// `vl_blocks.h`). It does not own its bytes: a model keeps the mapping or the arena alive next to the matrices that point
/// into it.
package struct WeightMatrix: @unchecked Sendable {
    // @unchecked Sendable: the bytes are never written after the matrix was made.
    package let pointer: UnsafeRawPointer
    package let type: DType
    /// Output features.
    package let rows: Int
    /// Input features.
    package let columns: Int
    /// The tensor that it is or whose rows it shows; nil if nobody shall know.
    package let origin: Origin?

    /// A tensor of a model's weights.
    ///
    /// A number and no name, so that copies of a matrix count no references.
    package struct Origin: Sendable, Equatable {
        /// Place of its name in the list of the loader, and of the loaded model.
        package let index: Int32
        /// The tensor's row that is the matrix's first.
        package let firstRow: Int32

        package init(index: Int32, firstRow: Int32 = 0) {
            self.index = index
            self.firstRow = firstRow
        }
    }

    package init(
        _ pointer: UnsafeRawPointer,
        type: DType,
        rows: Int,
        columns: Int,
        origin: Origin? = nil
    ) {
        precondition(rows >= 0 && columns >= 0, "a weight of \(rows) x \(columns)")
        precondition(columns % type.blockLength == 0, "\(columns) columns in blocks of \(type.blockLength)")
        self.pointer = pointer
        self.type = type
        self.rows = rows
        self.columns = columns
        self.origin = origin
    }

    /// The same matrix, whose products no observer sees.
    package var unobserved: WeightMatrix { WeightMatrix(pointer, type: type, rows: rows, columns: columns) }

    /// Rows of a group of the packed form.
    package static var groupRows: Int { Int(VL_GROUP_ROWS) }

    /// Bytes of a matrix in the form that kernels read.
    package static func byteCount(_ type: DType, rows: Int, columns: Int) -> Int {
        guard type.isBlock else { return rows * type.rowBytes(columns) }
        return (rows + groupRows - 1) / groupRows
            * Int(vl_packed_group_bytes(type.kernelType, Int64(columns)))
    }

    /// Bytes of the whole matrix.
    package var byteCount: Int { Self.byteCount(type, rows: rows, columns: columns) }

    /// The rows of a range, as a view; of a packed matrix whole groups.
    package subscript(rows range: Range<Int>) -> WeightMatrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        precondition(
            !type.isBlock || range.lowerBound % Self.groupRows == 0,
            "rows from \(range.lowerBound) of a packed matrix"
        )
        let start = pointer + Self.byteCount(type, rows: range.lowerBound, columns: columns)
        let origin = origin.map {
            Origin(index: $0.index, firstRow: $0.firstRow + Int32(clamping: range.lowerBound))
        }
        return WeightMatrix(start, type: type, rows: range.count, columns: columns, origin: origin)
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
