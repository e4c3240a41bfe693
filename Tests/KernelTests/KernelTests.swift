import CVLKernels
import Testing

@Suite("Products")
struct ProductTests {
    static let depths = [1, 2, 7, 15, 16, 17, 31, 32, 33, 64, 72, 100, 588]

    @Test("a table's products with stored weights equal the scalar ones", arguments: tables)
    func transposed(name: String) throws {
        let kernels = try table(name)
        let scalar = try table("scalar")
        for depth in Self.depths {
            for (rows, columns) in [(1, 1), (1, 9), (2, 5), (3, 8), (5, 13), (6, 4), (7, 17), (13, 21)] {
                var numbers = Numbers(UInt64(depth * 1000 + rows))
                let a = numbers.array(rows * depth)
                let b = numbers.array(columns * depth)
                let bias = numbers.array(columns)
                let narrow = bf16(b, scalar)
                let half = f16(b, scalar)
                func check(_ kernel: vl_product_fn, _ reference: vl_product_fn, _ b: UnsafeRawPointer) {
                    let all = [0..<columns]
                    let found = multiply(
                        kernel,
                        a,
                        b,
                        rows: rows,
                        columns: columns,
                        depth: depth,
                        bStride: depth,
                        bias: bias,
                        ranges: all
                    )
                    let expected = multiply(
                        reference,
                        a,
                        b,
                        rows: rows,
                        columns: columns,
                        depth: depth,
                        bStride: depth,
                        bias: bias,
                        ranges: all
                    )
                    #expect(error(found, expected) < 4e-6, "\(rows) x \(columns) x \(depth)")
                }
                check(kernels.nt_f32_f32, scalar.nt_f32_f32, b)
                check(kernels.nt_f32_bf16, scalar.nt_f32_bf16, narrow)
                check(kernels.nt_f32_f16, scalar.nt_f32_f16, half)
            }
        }
    }

    @Test("a table's products with matrices as they lie equal the scalar ones", arguments: tables)
    func plain(name: String) throws {
        let kernels = try table(name)
        let scalar = try table("scalar")
        for depth in [1, 3, 16, 64] {
            for (rows, columns) in [(1, 1), (1, 16), (2, 33), (4, 64), (5, 72), (9, 130)] {
                var numbers = Numbers(UInt64(depth * 777 + columns))
                let a = numbers.array(rows * depth)
                let b = numbers.array(depth * columns)
                let start = numbers.array(rows * columns)
                let narrow = bf16(b, scalar)
                let half = f16(b, scalar)
                func check(_ kernel: vl_product_fn, _ reference: vl_product_fn, _ b: UnsafeRawPointer) {
                    for start in [nil, start] {
                        let found = multiply(
                            kernel,
                            a,
                            b,
                            rows: rows,
                            columns: columns,
                            depth: depth,
                            bStride: columns,
                            start: start,
                            ranges: [0..<columns]
                        )
                        let expected = multiply(
                            reference,
                            a,
                            b,
                            rows: rows,
                            columns: columns,
                            depth: depth,
                            bStride: columns,
                            start: start,
                            ranges: [0..<columns]
                        )
                        #expect(error(found, expected) < 4e-6, "\(rows) x \(columns) x \(depth)")
                    }
                }
                check(kernels.nn_f32_f32, scalar.nn_f32_f32, b)
                check(kernels.nn_f32_bf16, scalar.nn_f32_bf16, narrow)
                check(kernels.nn_f32_f16, scalar.nn_f32_f16, half)
            }
        }
    }

    @Test("bfloat16 products equal float32 products of the rounded values", arguments: tables)
    func narrow(name: String) throws {
        let kernels = try table(name)
        let scalar = try table("scalar")
        guard let kernel = kernels.nt_bf16_bf16 else { return }
        for depth in Self.depths {
            let rows = 7
            let columns = 11
            var numbers = Numbers(UInt64(depth))
            let a = bf16(numbers.array(rows * depth), scalar)
            let b = bf16(numbers.array(columns * depth), scalar)
            var wide = [Float](repeating: 0, count: a.count)
            scalar.f32_from_bf16(&wide, a, Int64(a.count))
            let found = multiply(
                kernel,
                a,
                b,
                rows: rows,
                columns: columns,
                depth: depth,
                bStride: depth,
                ranges: [0..<columns]
            )
            let expected = multiply(
                scalar.nt_f32_bf16,
                wide,
                b,
                rows: rows,
                columns: columns,
                depth: depth,
                bStride: depth,
                ranges: [0..<columns]
            )
            #expect(error(found, expected) < 4e-6, "depth \(depth)")
        }
    }

    @Test("an output has the same bits whatever rows and columns are computed with it", arguments: tables)
    func invariance(name: String) throws {
        let kernels = try table(name)
        let rows = 26
        let columns = 37
        let depth = 83
        var numbers = Numbers(5)
        let a = numbers.array(rows * depth)
        let b = numbers.array(columns * depth)
        let flat = numbers.array(depth * columns)
        let narrowA = bf16(a, kernels)
        let narrowB = bf16(b, kernels)
        func check(
            _ kernel: vl_product_fn,
            _ a: UnsafeRawPointer,
            size: Int,
            _ b: UnsafeRawPointer,
            bStride: Int
        ) {
            let whole = multiply(
                kernel,
                a,
                b,
                rows: rows,
                columns: columns,
                depth: depth,
                bStride: bStride,
                ranges: [0..<columns]
            )
            let pieces = multiply(
                kernel,
                a,
                b,
                rows: rows,
                columns: columns,
                depth: depth,
                bStride: bStride,
                ranges: [0..<3, 3..<20, 20..<21, 21..<37]
            )
            #expect(whole == pieces)
            for first in 0..<rows {
                for count in 1...min(7, rows - first) {
                    let part = multiply(
                        kernel,
                        a + first * depth * size,
                        b,
                        rows: count,
                        columns: columns,
                        depth: depth,
                        bStride: bStride,
                        ranges: [0..<columns]
                    )
                    #expect(
                        part == Array(whole[first * columns..<(first + count) * columns]),
                        "\(count) rows from \(first)"
                    )
                }
            }
        }
        check(kernels.nt_f32_f32, a, size: 4, b, bStride: depth)
        check(kernels.nt_f32_bf16, a, size: 4, narrowB, bStride: depth)
        check(kernels.nn_f32_f32, a, size: 4, flat, bStride: columns)
        if let kernel = kernels.nt_bf16_bf16 { check(kernel, narrowA, size: 2, narrowB, bStride: depth) }
    }

    @Test("a plan covers every column of every job once", arguments: [1, 2, 3, 8])
    func plan(threads: Int32) {
        let kernel: vl_product_fn = { product, first, last in
            for column in first..<last { product.pointee.c[Int(column)] += 1 }
        }
        for shapes in [
            [(1, 5)], [(0, 7), (3, 1000), (0, 3), (700, 64), (1, 1)], [(512, 6848), (512, 6848)],
            [(13, 1), (48, 896), (729, 4304)],
            [(2, 0), (4, 9)],
        ] {
            var outputs = shapes.map { [Float](repeating: 0, count: max(1, $0.1)) }
            var dummy: [Float] = [0]
            var jobs: [vl_product_job] = []
            for (index, shape) in shapes.enumerated() {
                let c = outputs[index].withUnsafeMutableBufferPointer { base($0) }
                let product = dummy.withUnsafeMutableBufferPointer {
                    vl_product(
                        a: base($0),
                        a_stride: 1,
                        b: base($0),
                        b_stride: 1,
                        c: c,
                        c_stride: 1,
                        bias: nil,
                        rows: Int64(shape.0),
                        columns: Int64(shape.1),
                        depth: 1280,
                        accumulate: 0,
                        ahead: 0
                    )
                }
                jobs.append(vl_product_job(product: product, kernel: kernel, unit_columns: 0, first_unit: 0))
            }
            jobs.withUnsafeMutableBufferPointer { buffer in
                var list = vl_product_jobs(jobs: base(buffer), count: Int64(buffer.count))
                let units = vl_product_plan(&list, threads)
                for unit in 0..<units { vl_product_unit(&list, unit, 0) }
            }
            for (index, shape) in shapes.enumerated() where shape.1 > 0 {
                #expect(outputs[index].allSatisfy { $0 == (shape.0 == 0 ? 0 : 1) }, "\(shape)")
            }
        }
    }
}

@Suite("Functions")
struct FunctionTests {
    static let lengths = Array(0...40) + [64, 127, 1152]

    @Test("norms equal the scalar ones at every length", arguments: tables)
    func norms(name: String) throws {
        let kernels = try table(name)
        let scalar = try table("scalar")
        for length in Self.lengths where length > 0 {
            var numbers = Numbers(UInt64(length))
            let x = numbers.array(length, scale: 3)
            let weight = numbers.array(length)
            let bias = numbers.array(length)
            var found = x
            var expected = x
            kernels.rms_norm(&found, x, weight, 1e-6, Int64(length))
            scalar.rms_norm(&expected, x, weight, 1e-6, Int64(length))
            #expect(error(found, expected) < 2e-6, "rms \(length)")
            kernels.layer_norm(&found, x, weight, bias, 1e-6, Int64(length))
            scalar.layer_norm(&expected, x, weight, bias, 1e-6, Int64(length))
            #expect(error(found, expected) < (length < 4 ? 1e-3 : 4e-6), "layer \(length)")
        }
    }

    @Test("elementwise functions equal the scalar ones at every length", arguments: tables)
    func elementwise(name: String) throws {
        let kernels = try table(name)
        let scalar = try table("scalar")
        for length in Self.lengths {
            var numbers = Numbers(UInt64(length + 99))
            let x = numbers.array(length, scale: 12)
            let y = numbers.array(length, scale: 2)
            func check(_ what: String, _ tolerance: Float, _ body: (vl_kernels) -> [Float]) {
                #expect(error(body(kernels), body(scalar)) < tolerance, "\(what) \(length)")
            }
            check("silu", 1e-6) {
                var out = x
                $0.silu_multiply(&out, x, y, Int64(length))
                return out
            }
            check("gelu tanh", 1e-6) {
                var out = x
                $0.gelu_tanh(&out, x, Int64(length))
                return out
            }
            check("gelu erf", 1e-6) {
                var out = x
                $0.gelu_erf(&out, x, Int64(length))
                return out
            }
            check("add", 1e-7) {
                var out = x
                $0.add(&out, y, Int64(length))
                return out
            }
            check("add scaled", 2e-7) {
                var out = x
                $0.add_scaled(&out, y, 0.37, Int64(length))
                return out
            }
            let half = length / 2
            check("rotate", 2e-7) {
                var out = x
                $0.rotate_halves(&out, y, Array(y.reversed()), Int64(half * 2))
                return out
            }
        }
    }

    @Test("the exponential is right to two units in the last place, and at its ends", arguments: tables)
    func exponential(name: String) throws {
        let kernels = try table(name)
        let x = (0...40000).map { -105 + Float($0) * 0.005 }
        var y = x
        kernels.exponential(&y, x, Int64(x.count))
        for (x, y) in zip(x, y) {
            let expected = Float(exact(x))
            if expected.isFinite && expected > 1e-37 {
                #expect(abs(y - expected) <= 2 * expected.ulp, "exp(\(x))")
            } else {
                #expect(
                    abs(y - expected) <= 1e-38 || (y.isInfinite && expected.isInfinite),
                    "exp(\(x)) = \(y)"
                )
            }
        }
        var ends: [Float] = [-.infinity, .infinity, .nan, 0]
        kernels.exponential(&ends, ends, 4)
        #expect(ends[0] == 0 && ends[1] == .infinity && ends[2].isNaN && ends[3] == 1)
    }

    /// exp by its series in double precision, so that the test needs no C library.
    private func exact(_ x: Float) -> Double {
        var term = 1.0
        var sum = 1.0
        let part = Double(x) / 1024
        for n in 1..<20 {
            term *= part / Double(n)
            sum += term
        }
        for _ in 0..<10 { sum *= sum }
        return sum
    }

    @Test(
        "every bfloat16 and half is widened exactly, and rounding is to the nearest even",
        arguments: tables + ["scalar"]
    )
    func conversions(name: String) throws {
        let kernels = try table(name)
        let all = (0...UInt16.max).map { $0 }
        var wide = [Float](repeating: 0, count: all.count)
        kernels.f32_from_f16(&wide, all, Int64(all.count))
        for (bits, value) in zip(all, wide) {
            let expected = Float(Float16(bitPattern: bits))
            #expect(value == expected || (value.isNaN && expected.isNaN))
        }
        var narrow = all
        kernels.f16_from_f32(&narrow, wide, Int64(all.count))
        for (bits, back) in zip(all, narrow) where !Float16(bitPattern: bits).isNaN { #expect(bits == back) }
        kernels.f32_from_bf16(&wide, all, Int64(all.count))
        kernels.bf16_from_f32(&narrow, wide, Int64(all.count))
        for (bits, value) in zip(all, wide) { #expect(value.bitPattern == UInt32(bits) << 16 || value.isNaN) }
        for (index, value) in wide.enumerated() where !value.isNaN { #expect(narrow[index] == all[index]) }
        var numbers = Numbers(1)
        let x = numbers.array(4001, scale: 70000)
        var halves = [UInt16](repeating: 0, count: x.count)
        var shorts = halves
        kernels.f16_from_f32(&halves, x, Int64(x.count))
        kernels.bf16_from_f32(&shorts, x, Int64(x.count))
        for index in x.indices {
            #expect(Float16(bitPattern: halves[index]) == Float16(x[index]))
            let low = Float(bitPattern: x[index].bitPattern & 0xffff_0000)
            let up = Float(bitPattern: low.bitPattern &+ 0x10000)
            let nearest = abs(x[index] - low) < abs(up - x[index]) ? low : up
            #expect(abs(Float(bitPattern: UInt32(shorts[index]) << 16) - x[index]) <= abs(nearest - x[index]))
        }
    }
}

@Suite("Attention")
struct AttentionTests {
    struct Case {
        var heads, keySize, valueSize, keys, tokens: Int
        var causal: Bool
        /// Multiplies scores; small where long keys would make them so large that the softmax amplifies every rounding.
        var scale: Float = 0.3
        /// Key-value heads, each with `heads` query heads.
        var groups = 1
    }

    static let cases = [
        Case(heads: 1, keySize: 16, valueSize: 16, keys: 5, tokens: 5, causal: false),
        Case(heads: 1, keySize: 72, valueSize: 72, keys: 200, tokens: 31, causal: false),
        Case(heads: 1, keySize: 128, valueSize: 128, keys: 130, tokens: 30, causal: true),
        Case(heads: 4, keySize: 48, valueSize: 32, keys: 70, tokens: 6, causal: true),
        Case(heads: 2, keySize: 96, valueSize: 64, keys: 66, tokens: 3, causal: true),
        Case(heads: 16, keySize: 80, valueSize: 64, keys: 65, tokens: 1, causal: true),
        Case(heads: 3, keySize: 9, valueSize: 7, keys: 129, tokens: 9, causal: true),
        Case(heads: 16, keySize: 576, valueSize: 512, keys: 131, tokens: 4, causal: true, scale: 0.07),
        Case(heads: 1, keySize: 64, valueSize: 64, keys: 150, tokens: 1, causal: true, groups: 10),
        Case(heads: 3, keySize: 64, valueSize: 32, keys: 67, tokens: 2, causal: true, groups: 5),
        Case(heads: 2, keySize: 18, valueSize: 9, keys: 64, tokens: 1, causal: false, groups: 3),
    ]

    /// Output of the tokens of a range, computed tile by tile as `tiles` says.
    func attend(
        _ c: Case,
        _ kernels: vl_kernels,
        type: vl_type,
        tokens: Range<Int>,
        tile: Int,
        headTile: Int,
        groupTile: Int = 1,
        rounds: Bool = false
    ) -> [Float] {
        var numbers = Numbers(UInt64(c.keys))
        let heads = c.groups * c.heads
        let q = numbers.array(c.tokens * heads * c.keySize, scale: 2)
        let stride = c.groups * (c.keySize + c.valueSize)
        let cache = numbers.array((c.keys + 63) / 64 * 64 * stride, scale: 1.5)
        var narrow = [UInt8](repeating: 0, count: cache.count * 4)
        narrow.withUnsafeMutableBytes { narrow in
            switch type {
            case VL_TYPE_BF16: narrow.copyBytes(from: bf16(cache, kernels).withUnsafeBytes { Array($0) })
            case VL_TYPE_F16: narrow.copyBytes(from: f16(cache, kernels).withUnsafeBytes { Array($0) })
            case VL_TYPE_Q8_0:
                if let place = narrow.baseAddress { vl_encode(type, cache, nil, place, Int64(cache.count)) }
            default: narrow.copyBytes(from: cache.withUnsafeBytes { Array($0) })
            }
        }
        var out = [Float](repeating: 7, count: c.tokens * heads * c.valueSize)
        var scratch = [Float](repeating: 0, count: Int(VL_ATTENTION_SCRATCH))
        narrow.withUnsafeBytes { narrow in
            let cached = base(narrow)
            let unit = Int(vl_block_length(type))
            let blocks = (0..<(c.keys + 63) / 64).map {
                cached + $0 * 64 * stride / unit * Int(vl_block_bytes(type))
            }
            blocks.withUnsafeBufferPointer { blocks in
                q.withUnsafeBufferPointer { q in
                    out.withUnsafeMutableBufferPointer { out in
                        for g in Swift.stride(from: 0, to: c.groups, by: groupTile) {
                            var attention = vl_attention(
                                q: base(q) + g * c.heads * c.keySize,
                                q_token_stride: Int64(heads * c.keySize),
                                q_head_stride: Int64(c.keySize),
                                out: base(out) + g * c.heads * c.valueSize,
                                out_token_stride: Int64(heads * c.valueSize),
                                out_head_stride: Int64(c.valueSize),
                                blocks: base(blocks),
                                k_offset: Int64(g * c.keySize),
                                v_offset: Int64(c.groups * c.keySize + g * c.valueSize),
                                position_stride: Int64(stride),
                                groups: Int64(min(groupTile, c.groups - g)),
                                group_q_stride: Int64(c.heads * c.keySize),
                                group_out_stride: Int64(c.heads * c.valueSize),
                                group_k_stride: Int64(c.keySize),
                                group_v_stride: Int64(c.valueSize),
                                qk_dim: Int64(c.keySize),
                                v_dim: Int64(c.valueSize),
                                key_count: Int64(c.keys),
                                first_position: Int64(c.keys - c.tokens),
                                causal: c.causal ? 1 : 0,
                                type: Int32(type.rawValue),
                                rounds: rounds ? 1 : 0,
                                scale: c.scale
                            )
                            for t in Swift.stride(from: tokens.lowerBound, to: tokens.upperBound, by: tile) {
                                for h in Swift.stride(from: 0, to: c.heads, by: headTile) {
                                    kernels.attend(
                                        &attention,
                                        Int64(t),
                                        Int64(min(tokens.upperBound, t + tile)),
                                        Int64(h),
                                        Int64(min(c.heads, h + headTile)),
                                        &scratch
                                    )
                                }
                            }
                        }
                    }
                }
            }
        }
        return Array(
            out[tokens.lowerBound * heads * c.valueSize..<tokens.upperBound * heads * c.valueSize]
        )
    }

    @Test("attention equals the scalar one in float32, bfloat16, float16 and 8 bits", arguments: tables)
    func reference(name: String) throws {
        let kernels = try table(name)
        let scalar = try table("scalar")
        for c in Self.cases {
            for type in [VL_TYPE_F32, VL_TYPE_BF16, VL_TYPE_F16, VL_TYPE_Q8_0] {
                guard type != VL_TYPE_Q8_0 || c.keySize % 32 == 0 && c.valueSize % 32 == 0 else { continue }
                let found = attend(
                    c,
                    kernels,
                    type: type,
                    tokens: 0..<c.tokens,
                    tile: max(1, 32 / c.heads),
                    headTile: c.heads
                )
                let expected = attend(c, scalar, type: type, tokens: 0..<c.tokens, tile: 1, headTile: 1)
                #expect(error(found, expected) < 4e-6, "\(c)")
            }
        }
    }

    /// Rounding the queries moves a score by 2^-9 of its terms at most, and rounding the weights an output by as much.
    @Test("attention that may round equals the scalar one to the rounding", arguments: tables)
    func rounding(name: String) throws {
        let kernels = try table(name)
        let scalar = try table("scalar")
        for c in Self.cases {
            let found = attend(
                c,
                kernels,
                type: VL_TYPE_BF16,
                tokens: 0..<c.tokens,
                tile: max(1, 32 / c.heads),
                headTile: c.heads,
                rounds: true
            )
            let expected = attend(c, scalar, type: VL_TYPE_BF16, tokens: 0..<c.tokens, tile: 1, headTile: 1)
            #expect(error(found, expected) < 2e-2, "\(c)")
            // It is not the exact form by another name.
            if kernels.attend_rounds != 0 { #expect(error(found, expected) > 4e-6, "\(c)") }
        }
    }

    @Test("a token's attention has the same bits in every tile", arguments: tables)
    func invariance(name: String) throws {
        let kernels = try table(name)
        for c in Self.cases {
            for (type, rounds) in [(VL_TYPE_F32, false), (VL_TYPE_F16, false), (VL_TYPE_BF16, true)] {
                func tiled(_ tile: Int, _ headTile: Int, _ groupTile: Int = 1) -> [Float] {
                    attend(
                        c,
                        kernels,
                        type: type,
                        tokens: 0..<c.tokens,
                        tile: tile,
                        headTile: headTile,
                        groupTile: groupTile,
                        rounds: rounds
                    )
                }
                let whole = tiled(max(1, 32 / c.heads), c.heads)
                #expect(whole == tiled(1, 1), "\(c)")
                #expect(whole == tiled(3, 2), "\(c)")
                guard c.groups > 1 else { continue }
                for groups in [2, c.groups] { #expect(whole == tiled(1, c.heads, groups), "\(c)") }
            }
        }
    }
}
