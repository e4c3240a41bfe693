import CVLKernels
import VLFormats
import VLTensor

/// The bytes of a rounded matrix in the layouts that files have.
enum PackedTensors {
    /// `qweight`, `qzeros`, `scales` and `g_idx` of AutoGPTQ and GPTQModel.
    ///
    /// - Parameters:
    ///   - stem: the layer's name, without ".weight".
    ///   - zeroOffset: what is subtracted from a zero before it is stored: 1 in the format "gptq", 0 in "gptq_v2".
    static func gptq(_ stem: String, _ matrix: RoundedMatrix, zeroOffset: Int, _ run: Run) -> [OutgoingTensor]
    {
        let (rows, columns, groups) = (matrix.rows, matrix.columns, matrix.groups)
        var words = [UInt32](repeating: 0, count: columns / 8 * rows)
        words.withUnsafeMutableBufferPointer { buffer in
            matrix.codes.withUnsafeBufferPointer { codes in
                guard let base = buffer.baseAddress, let codeBase = codes.baseAddress else { return }
                nonisolated(unsafe) let (words, codes) = (base, codeBase)
                run.pool.parallel(columns / 8) { part in
                    vl_gptq_pack8(codes + part * 8, Int64(columns), Int64(rows), words + part * rows)
                }
            }
        }
        var zeros = [UInt32](repeating: 0, count: groups * rows / 8)
        var scales = [UInt16](repeating: 0, count: groups * rows)
        for group in 0..<groups {
            for row in 0..<rows {
                let grid = matrix.grids[row * groups + group]
                let zero = grid.scale == 0 ? 8 : Int((-grid.offset / grid.scale).rounded())
                let stored = UInt32(truncatingIfNeeded: zero - zeroOffset) & 15
                zeros[(group * rows + row) / 8] |= stored << UInt32(row % 8 * 4)
                scales[group * rows + row] = Float16Bits.of(grid.scale, run)
            }
        }
        return [
            tensor(stem + ".qweight", .int32, [columns / 8, rows], words),
            tensor(stem + ".qzeros", .int32, [groups, rows / 8], zeros),
            tensor(stem + ".scales", .float16, [groups, rows], scales),
            tensor(stem + ".g_idx", .int32, [columns], matrix.groupOf),
        ]
    }

    /// The type of a GGUF file's blocks that holds such values.
    static func blockType(isSymmetric: Bool) -> DType { isSymmetric ? .q4_0 : .q4_1 }

    /// The rows as blocks of a GGUF file, Q4_0 or Q4_1; groups are of neighbours and whole blocks.
    static func blocks(_ matrix: RoundedMatrix, isSymmetric: Bool, _ run: Run) -> [UInt8] {
        let rowBytes = blockType(isSymmetric: isSymmetric).rowBytes(matrix.columns)
        let head = isSymmetric ? 2 : 4
        let blocks = matrix.columns / 32
        var bytes = [UInt8](repeating: 0, count: matrix.rows * rowBytes)
        bytes.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            nonisolated(unsafe) let base = start
            run.pool.parallel(matrix.rows) { row in
                for block in 0..<blocks {
                    let target = base + row * rowBytes + block * (head + 16)
                    let grid = matrix.grids[row * matrix.groups + Int(matrix.groupOf[block * 32])]
                    let halves = isSymmetric ? [grid.scale] : [grid.scale, grid.offset]
                    for (index, half) in halves.enumerated() {
                        let bits = Float16Bits.of(half, run)
                        target[2 * index] = UInt8(truncatingIfNeeded: bits)
                        target[2 * index + 1] = UInt8(truncatingIfNeeded: bits >> 8)
                    }
                    let codes = row * matrix.columns + block * 32
                    for index in 0..<16 {
                        target[head + index] =
                            matrix.codes[codes + index] | matrix.codes[codes + 16 + index] << 4
                    }
                }
            }
        }
        return bytes
    }

    private static func tensor<Value: BitwiseCopyable>(
        _ name: String,
        _ dtype: StoredDType,
        _ shape: [Int],
        _ values: [Value]
    ) -> OutgoingTensor {
        OutgoingTensor(name: name, dtype: dtype, shape: shape, bytes: values.withUnsafeBytes { Array($0) })
    }
}

/// float32 to the bits of float16.
private enum Float16Bits {
    static func of(_ value: Float, _ run: Run) -> UInt16 {
        var bits: UInt16 = 0
        withUnsafePointer(to: value) { run.kernels.pointee.f16_from_f32(&bits, $0, 1) }
        return bits
    }
}
