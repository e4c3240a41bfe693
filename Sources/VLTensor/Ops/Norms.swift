import CVLKernels

extension Run {
    /// Rows below which a row-wise operation is not worth a parallel region.
    private func grain(_ columns: Int) -> Int { max(1, 16384 / max(1, columns)) }

    /// Runs `body(row)` for each row, on several threads when there is enough to do.
    package func eachRow(_ rows: Int, _ columns: Int, _ body: (Int) -> Void) {
        pool.ranges(rows, grain: grain(columns)) { range in
            for row in range { body(row) }
        }
    }

    /// x / sqrt(mean(x^2) + eps) * weight for each row; the result is new, [rows, columns].
    package func rmsNorm(_ x: Matrix, _ weight: WeightVector, epsilon: Float) -> Matrix {
        precondition(weight.count == x.columns, "a norm of \(weight.count) for rows of \(x.columns)")
        let out = workspace.matrix(x.rows, x.columns)
        let kernel = kernels.pointee.rms_norm
        eachRow(x.rows, x.columns) { row in
            kernel(out[row: row], x[row: row], weight.pointer, epsilon, Int64(x.columns))
        }
        return out
    }

    /// The same in place.
    package func rmsNormInPlace(_ x: Matrix, _ weight: WeightVector, epsilon: Float) {
        precondition(weight.count == x.columns, "a norm of \(weight.count) for rows of \(x.columns)")
        let kernel = kernels.pointee.rms_norm
        eachRow(x.rows, x.columns) { row in
            kernel(x[row: row], x[row: row], weight.pointer, epsilon, Int64(x.columns))
        }
    }

    /// (x - mean) / sqrt(variance + eps) * weight + bias for each row; the result is new.
    package func layerNorm(
        _ x: Matrix,
        _ weight: WeightVector,
        _ bias: WeightVector,
        epsilon: Float
    ) -> Matrix {
        precondition(
            weight.count == x.columns && bias.count == x.columns,
            "a norm of \(weight.count) for rows of \(x.columns)"
        )
        let out = workspace.matrix(x.rows, x.columns)
        let kernel = kernels.pointee.layer_norm
        eachRow(x.rows, x.columns) { row in
            kernel(out[row: row], x[row: row], weight.pointer, bias.pointer, epsilon, Int64(x.columns))
        }
        return out
    }
}
