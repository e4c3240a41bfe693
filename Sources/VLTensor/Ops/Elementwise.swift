import CVLKernels

/// Functions between two linear layers.
package enum Activation: Sendable {
    /// GELU in its tanh form (`approximate="tanh"`).
    case geluTanh
    /// GELU with the error function.
    case geluErf
}

extension Run {
    /// y += x.
    package func add(_ x: Matrix, to y: Matrix) {
        precondition(
            x.rows == y.rows && x.columns == y.columns,
            "[\(x.rows), \(x.columns)] added to [\(y.rows), \(y.columns)]"
        )
        let kernel = kernels.pointee.add
        eachRow(x.rows, x.columns) { row in kernel(y[row: row], x[row: row], Int64(x.columns)) }
    }

    /// y += scale * x over `count` values, on this thread.
    package func add(
        _ x: UnsafePointer<Float>,
        times scale: Float,
        to y: UnsafeMutablePointer<Float>,
        count: Int
    ) {
        kernels.pointee.add_scaled(y, x, scale, Int64(count))
    }

    /// gate = silu(gate) * up.
    package func siluMultiply(_ gate: Matrix, _ up: Matrix) {
        precondition(gate.rows == up.rows && gate.columns == up.columns, "gate and up differ in shape")
        let kernel = kernels.pointee.silu_multiply
        eachRow(gate.rows, gate.columns) { row in
            kernel(gate[row: row], gate[row: row], up[row: row], Int64(gate.columns))
        }
    }

    /// x = f(x).
    package func apply(_ activation: Activation, to x: Matrix) {
        let kernel =
            switch activation {
            case .geluTanh: kernels.pointee.gelu_tanh
            case .geluErf: kernels.pointee.gelu_erf
            }
        eachRow(x.rows, x.columns) { row in kernel(x[row: row], x[row: row], Int64(x.columns)) }
    }

    /// Copies rows of an embedding table into `out`; the ids must be below the table's rows.
    package func gather(_ table: WeightMatrix, _ ids: UnsafeBufferPointer<Int32>, into out: Matrix) {
        precondition(
            out.rows == ids.count && out.columns == table.columns,
            "\(ids.count) rows into [\(out.rows), \(out.columns)]"
        )
        for (row, id) in ids.enumerated() {
            precondition(id >= 0 && Int(id) < table.rows, "token \(id) of \(table.rows)")
            widen(table, row: Int(id), into: out[row: row])
        }
    }

    /// Writes one row of a matrix as float32.
    package func widen(_ matrix: WeightMatrix, row: Int, into out: UnsafeMutablePointer<Float>) {
        if matrix.type.isBlock {
            vl_packed_row(matrix.type.kernelType, matrix.pointer, Int64(matrix.columns), Int64(row), out)
        } else {
            let start = matrix.pointer + row * matrix.type.rowBytes(matrix.columns)
            decode(start, matrix.type, count: matrix.columns, into: out)
        }
    }

    /// Writes float32 values in another type, rounded to the nearest (ties to even).
    package func store(
        _ values: UnsafePointer<Float>,
        count: Int,
        as type: DType,
        into target: UnsafeMutableRawPointer
    ) {
        switch type {
        case .float32: target.copyMemory(from: values, byteCount: count * 4)
        case .bfloat16:
            kernels.pointee.bf16_from_f32(target.assumingMemoryBound(to: UInt16.self), values, Int64(count))
        case .float16:
            kernels.pointee.f16_from_f32(target.assumingMemoryBound(to: UInt16.self), values, Int64(count))
        default: vl_encode(type.kernelType, values, nil, target, Int64(count))
        }
    }

    /// out[row] = the sum of `weights[slot]` * parts[places[slot]] over the `slots` slots of each row, in their order.
    package func weightedSum(
        _ parts: Matrix,
        places: UnsafePointer<Int32>,
        weights: UnsafePointer<Float>,
        slots: Int,
        into out: Matrix
    ) {
        let addScaled = kernels.pointee.add_scaled
        eachRow(out.rows, out.columns * (slots + 1)) { row in
            let target = out[row: row]
            target.update(repeating: 0, count: out.columns)
            for slot in row * slots..<(row + 1) * slots {
                addScaled(target, parts[row: Int(places[slot])], weights[slot], Int64(out.columns))
            }
        }
    }
}
