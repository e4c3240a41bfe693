import CVLKernels
import Testing

/// Tables that have dense attention, the scalar one left out.
private let dense: [String] = tables.filter { (try? table($0))?.attend_dense != nil }

@Suite("Dense attention")
struct DenseAttentionTests {
    struct Case: CustomStringConvertible {
        var keys: Int
        var keySize: Int
        var valueSize: Int
        var grid: (height: Int, width: Int)?
        /// Makes scores of tens, so that the softmax is nearly a choice.
        var scale: Float = 0.3

        var description: String {
            "\(keys) keys of \(keySize), values of \(valueSize), \(grid.map { "\($0)" } ?? "no grid")"
        }
    }

    static let cases = [
        Case(keys: 1, keySize: 2, valueSize: 1),
        Case(keys: 63, keySize: 72, valueSize: 72),
        Case(keys: 64, keySize: 64, valueSize: 64),
        Case(keys: 65, keySize: 18, valueSize: 33),
        Case(keys: 200, keySize: 72, valueSize: 72, scale: 3),
        Case(keys: 196, keySize: 64, valueSize: 64, grid: (14, 14)),
        Case(keys: 96, keySize: 32, valueSize: 32, grid: (6, 16)),
        Case(keys: 128, keySize: 64, valueSize: 64, grid: (2, 64)),
        Case(keys: 15, keySize: 16, valueSize: 16, grid: (3, 5)),
        Case(keys: 6, keySize: 8, valueSize: 8, grid: (6, 1), scale: 3),
    ]

    /// Attention of all tokens, `tile` a call; as many tokens as keys.
    private func attend(_ c: Case, _ kernels: vl_kernels, tile: Int) throws -> [Float] {
        let run = try #require(kernels.attend_dense)
        var numbers = Numbers(UInt64(c.keys * 100 + c.keySize))
        let stride = 2 * c.keySize + c.valueSize + 3
        let fused = numbers.array(c.keys * stride, scale: 2)
        let byRow = numbers.array(max(1, (2 * (c.grid?.height ?? 0) - 1) * c.keySize))
        let byColumn = numbers.array(max(1, (2 * (c.grid?.width ?? 0) - 1) * c.keySize))
        var out = [Float](repeating: .nan, count: c.keys * c.valueSize)
        let height = Int64(c.grid?.height ?? 0)
        let width = Int64(c.grid?.width ?? 0)
        let (count, keySize, valueSize) = (Int64(c.keys), Int64(c.keySize), Int64(c.valueSize))
        var keys = [UInt16](repeating: 0, count: Int(vl_dense_keys_size(count, keySize)))
        var values = [UInt16](repeating: 0, count: Int(vl_dense_values_size(count, valueSize)))
        var rows = [UInt16](repeating: 0, count: Int(vl_dense_distances_size(height, keySize)))
        var columns = [UInt16](repeating: 0, count: Int(vl_dense_distances_size(width, keySize)))
        if c.grid != nil {
            vl_dense_pack_distances(&rows, byRow, height, keySize)
            vl_dense_pack_distances(&columns, byColumn, width, keySize)
        }
        fused.withUnsafeBufferPointer { fused in
            vl_dense_pack_keys(&keys, base(fused) + c.keySize, Int64(stride), count, keySize)
            vl_dense_pack_values(&values, base(fused) + 2 * c.keySize, Int64(stride), count, valueSize)
            keys.withUnsafeBufferPointer { keys in
                values.withUnsafeBufferPointer { values in
                    rows.withUnsafeBufferPointer { rows in
                        columns.withUnsafeBufferPointer { columns in
                            out.withUnsafeMutableBufferPointer { out in
                                var attention = vl_dense_attention(
                                    q: base(fused),
                                    q_stride: Int64(stride),
                                    out: base(out),
                                    out_stride: valueSize,
                                    keys: base(keys),
                                    values: base(values),
                                    distance_rows: c.grid == nil ? nil : base(rows),
                                    distance_columns: c.grid == nil ? nil : base(columns),
                                    grid_height: height,
                                    grid_width: width,
                                    key_count: count,
                                    qk_dim: keySize,
                                    v_dim: valueSize,
                                    scale: c.scale
                                )
                                var scratch = [UInt8](
                                    repeating: 0xff,
                                    count: Int(vl_dense_scratch(&attention))
                                )
                                for first in Swift.stride(from: 0, to: c.keys, by: tile) {
                                    run(&attention, Int64(first), Int64(min(first + tile, c.keys)), &scratch)
                                }
                            }
                        }
                    }
                }
            }
        }
        return out
    }

    // A weight that lies between two bfloat16 numbers may be rounded the other way when the exponential differs in its
    // last bits: 2^-8 of that weight's part, and the parts of a row add up to one.
    @Test("every table's attention is the scalar one's to the rounding of the weights", arguments: dense)
    func reference(name: String) throws {
        for c in Self.cases {
            let found = try attend(c, try table(name), tile: Int(VL_DENSE_ROWS))
            let expected = try attend(c, try table("scalar"), tile: 1)
            #expect(error(found, expected) < 4e-3, "\(c)")
        }
    }

    @Test("a query's attention has the same bits in every tile", arguments: dense)
    func invariance(name: String) throws {
        for c in Self.cases {
            let whole = try attend(c, try table(name), tile: Int(VL_DENSE_ROWS))
            #expect(whole == (try attend(c, try table(name), tile: 1)), "\(c)")
            #expect(whole == (try attend(c, try table(name), tile: 7)), "\(c)")
        }
    }

    @Test("the scalar form is softmax attention with relative positions")
    func definition() throws {
        // Two places beside each other, one number each: scores are q k + q (distance of rows) + q (distance of columns).
        let kernels = try table("scalar")
        let run = try #require(kernels.attend_dense)
        let fused: [Float] = [1, 0, 2, 0, 3, 1, 0, 1, 0, 5]
        var keys = [UInt16](repeating: 0, count: 128)
        var values = [UInt16](repeating: 0, count: 64 * 16)
        var rows = [UInt16](repeating: 0, count: Int(vl_dense_distances_size(1, 2)))
        var columns = [UInt16](repeating: 0, count: Int(vl_dense_distances_size(2, 2)))
        vl_dense_pack_distances(&rows, [0.5, 0], 1, 2)
        vl_dense_pack_distances(&columns, [-1, 0, 0, 0, 1, 0], 2, 2)
        var out: [Float] = [0, 0]
        fused.withUnsafeBufferPointer { fused in
            vl_dense_pack_keys(&keys, base(fused) + 2, 5, 2, 2)
            vl_dense_pack_values(&values, base(fused) + 4, 5, 2, 1)
            keys.withUnsafeBufferPointer { keys in
                values.withUnsafeBufferPointer { values in
                    rows.withUnsafeBufferPointer { rows in
                        columns.withUnsafeBufferPointer { columns in
                            out.withUnsafeMutableBufferPointer { out in
                                var attention = vl_dense_attention(
                                    q: base(fused),
                                    q_stride: 5,
                                    out: base(out),
                                    out_stride: 1,
                                    keys: base(keys),
                                    values: base(values),
                                    distance_rows: base(rows),
                                    distance_columns: base(columns),
                                    grid_height: 1,
                                    grid_width: 2,
                                    key_count: 2,
                                    qk_dim: 2,
                                    v_dim: 1,
                                    scale: 1
                                )
                                var scratch = [UInt8](repeating: 0, count: Int(vl_dense_scratch(&attention)))
                                run(&attention, 0, 2, &scratch)
                            }
                        }
                    }
                }
            }
        }
        // Query 0 is (1, 0): scores 2 + 0.5 + 0 for itself and 1 + 0.5 - 1 for the place to its right, values 3 and 5.
        let weight = 1 / (1 + Float(-2).exponential)
        #expect(abs(out[0] - (3 * weight + 5 * (1 - weight))) < 5e-3)
        // Query 1 is (1, 0) as well: 2 + 0.5 + 1 for the place to its left and 1 + 0.5 for itself.
        #expect(abs(out[1] - (3 * weight + 5 * (1 - weight))) < 5e-3)
    }
}

extension Float {
    /// e to this power, by the scalar table.
    fileprivate var exponential: Float {
        var y: Float = self
        vl_kernels_best().pointee.exponential(&y, [self], 1)
        return y
    }
}
