import CVLKernels
import Testing

/// The block formats.
let blockTypes: [vl_type] = [
    VL_TYPE_Q8_0, VL_TYPE_Q4_0, VL_TYPE_Q4_1, VL_TYPE_Q5_0, VL_TYPE_Q5_1, VL_TYPE_Q4_K, VL_TYPE_Q5_K,
    VL_TYPE_Q6_K,
]

/// sin(0.37 i) (1 + i % 5), rounded to four digits.
let referenceSines: [Double] = [
    0.0, 0.7232, 2.0229, 3.5828, 4.9794, 0.9613, 1.5931, 1.5721, 0.7224, -0.9365, -0.5298, -1.6013, -2.8894,
    -3.981, -4.4632, -0.6692, -0.7105, 0.0204, 1.4718, 3.3965, 0.8987, 1.993, 2.8781, 3.1697, 2.5911,
    0.1739, -0.388, -1.6068, -3.2189, -4.8247, -0.9946, -1.7791,
]

/// What gguf-py makes of these numbers.
let referenceBlocks: [(vl_type, [UInt8])] = [
    (
        VL_TYPE_Q8_0,
        [
            5, 41, 0, 18, 52, 91, 127, 25, 41, 40, 18, 232, 242, 215, 182, 154, 142, 239, 238, 1, 38, 87, 23,
            51, 73, 81, 66, 4, 246, 215, 174, 133, 231, 211,
        ]
    ),
    (
        VL_TYPE_Q4_0,
        [
            251, 184, 152, 135, 101, 50, 112, 86, 53, 53, 71, 138, 153, 187, 221, 254, 175, 185,
        ]
    ),
    (
        VL_TYPE_Q4_1,
        [
            59, 57, 211, 196, 103, 120, 170, 221, 159, 169, 202, 202, 184, 134, 119, 85, 35, 1, 97, 86,
        ]
    ),
    (
        VL_TYPE_Q5_0,
        [
            251, 180, 1, 254, 3, 252, 32, 14, 185, 84, 208, 173, 123, 107, 142, 243, 18, 85, 169, 253, 62, 98,
        ]
    ),
    (
        VL_TYPE_Q5_1,
        [
            15, 53, 211, 196, 254, 1, 252, 3, 223, 242, 70, 171, 47, 98, 132, 148, 114, 12, 238, 170, 86, 3,
            193, 173,
        ]
    ),
]

/// A matrix in a block format, stored and packed.
struct Quantized {
    let stored: [UInt8]
    let packed: [UInt8]
    let rowBytes: Int
    /// What the stored rows decode to.
    let values: [Float]

    init(_ type: vl_type, _ weights: [Float], rows: Int, depth: Int) {
        rowBytes = depth / Int(vl_block_length(type)) * Int(vl_block_bytes(type))
        var stored = [UInt8](repeating: 0, count: rows * rowBytes)
        vl_encode(type, weights, nil, &stored, Int64(rows * depth))
        var values = [Float](repeating: 0, count: rows * depth)
        vl_decode(type, stored, &values, Int64(rows * depth))
        let groupBytes = Int(vl_packed_group_bytes(type, Int64(depth)))
        let groups = (rows + 15) / 16
        var packed = [UInt8](repeating: 0xaa, count: groups * groupBytes)
        packed.withUnsafeMutableBytes { packed in
            for group in 0..<groups {
                guard let place = packed.baseAddress else { return }
                vl_pack_group(
                    type,
                    stored,
                    Int64(rows),
                    Int64(depth),
                    Int64(group),
                    place + group * groupBytes
                )
            }
        }
        (self.stored, self.packed, self.values) = (stored, packed, values)
    }
}

@Suite("Block formats")
struct BlockFormatTests {
    @Test(
        "packing loses nothing: a packed row decodes as the stored one",
        arguments: blockTypes.map(\.rawValue)
    )
    func packs(raw: UInt32) {
        let type = vl_type(raw)
        var numbers = Numbers(7)
        let (rows, depth) = (37, 512)
        let matrix = Quantized(type, numbers.array(rows * depth), rows: rows, depth: depth)
        for row in 0..<rows {
            var found = [Float](repeating: 0, count: depth)
            vl_packed_row(type, matrix.packed, Int64(depth), Int64(row), &found)
            #expect(found == Array(matrix.values[row * depth..<(row + 1) * depth]))
        }
    }

    /// The bound is the format's own: half a step of the largest value of a block, or a whole one where that value is
    /// the lowest code and its opposite is none (Q4_0, Q5_0), and more where 8-bit scales of a
    /// larger block are rounded, too), in relation to the values' size.
    @Test(
        "a value moves by no more than its format's step",
        arguments: [
            (VL_TYPE_Q8_0, 0.005), (VL_TYPE_Q4_0, 0.126), (VL_TYPE_Q4_1, 0.07), (VL_TYPE_Q5_0, 0.063),
            (VL_TYPE_Q5_1, 0.035), (VL_TYPE_Q4_K, 0.1), (VL_TYPE_Q5_K, 0.05), (VL_TYPE_Q6_K, 0.035),
        ].map { ($0.0.rawValue, Float($0.1)) }
    )
    func rounds(raw: UInt32, bound: Float) {
        let type = vl_type(raw)
        var numbers = Numbers(11)
        let weights = numbers.array(16 * 256)
        let matrix = Quantized(type, weights, rows: 16, depth: 256)
        #expect(error(matrix.values, weights) < bound)
    }

    @Test("zeros stay zeros, and no number traps", arguments: blockTypes.map(\.rawValue))
    func extremes(raw: UInt32) {
        let type = vl_type(raw)
        let zeros = Quantized(type, [Float](repeating: 0, count: 256), rows: 1, depth: 256)
        #expect(zeros.values.allSatisfy { $0 == 0 })
        for odd in [
            Float.nan, .infinity, -.infinity, .greatestFiniteMagnitude, .leastNonzeroMagnitude, -1e-30,
        ] {
            var weights = [Float](repeating: 0.25, count: 256)
            weights[17] = odd
            _ = Quantized(type, weights, rows: 1, depth: 256)
            _ = Quantized(type, [Float](repeating: odd, count: 256), rows: 1, depth: 256)
        }
    }

    @Test("blocks of 32 have the bytes that ggml's reference gives")
    func reference() throws {
        let x = (0..<32).map { Float(referenceSines[$0]) }
        for (type, expected) in referenceBlocks {
            var found = [UInt8](repeating: 0, count: Int(vl_block_bytes(type)))
            vl_encode(type, x, nil, &found, 32)
            #expect(found == expected, "\(type)")
        }
    }
}

@Suite("Products with block formats")
struct QuantizedProductTests {
    /// Numbers of which some are far greater than the rest, at the ends of a row among others.
    func outstanding(_ numbers: inout Numbers, rows: Int, depth: Int) -> [Float] {
        var x = numbers.array(rows * depth)
        for row in 0..<rows where row % 3 != 1 {
            for place in Swift.stride(from: row, to: depth, by: 29) where row % 2 == 0 || place % 3 == 0 {
                x[row * depth + place] *= 40
            }
            x[row * depth + depth - 1] = 25
        }
        return x
    }

    /// Activations as the int8 kernels take them.
    func quantize(_ kernels: vl_kernels, _ x: [Float], rows: Int, depth: Int) -> [UInt8] {
        let rowBytes = Int(vl_q8_row_bytes(Int64(depth)))
        var out = [UInt8](repeating: 0, count: rows * rowBytes)
        out.withUnsafeMutableBytes { out in
            x.withUnsafeBufferPointer { x in
                for row in 0..<rows {
                    guard let start = out.baseAddress else { return }
                    let place = start + row * rowBytes
                    kernels.q8_from_f32(place, base(x) + row * depth, Int64(depth))
                    #expect(vl_q8_used_bytes(place, Int64(depth)) <= rowBytes)
                }
            }
        }
        return out
    }

    @Test("quantized activations are equal on all instruction sets", arguments: tables)
    func activations(name: String) throws {
        let kernels = try table(name)
        let scalar = try table("scalar")
        var numbers = Numbers(3)
        var x = numbers.array(3 * 96, scale: 5)
        for (place, odd) in [
            (0, Float.nan), (33, .infinity), (64, -.infinity), (96, Float.leastNonzeroMagnitude), (130, 3e38),
        ] {
            x[place] = odd
        }
        for index in 160..<192 { x[index] = 0 }
        // Ties: the codes are whole numbers and a half.
        for index in 192..<224 { x[index] = index == 192 ? 127 : Float(index - 208) + 0.5 }
        #expect(
            quantize(kernels, x, rows: 3, depth: 96) == quantize(scalar, x, rows: 3, depth: 96)
        )
        for depth in [32, 64, 512] {
            let great = outstanding(&numbers, rows: 9, depth: depth)
            #expect(
                quantize(kernels, great, rows: 9, depth: depth)
                    == quantize(scalar, great, rows: 9, depth: depth)
            )
        }
        // More of them than there is room for.
        let many = (0..<512).map { Float($0 % 8 == 0 ? 100 : 1) * Float($0 < 256 ? 1 : 0.001) }
        #expect(quantize(kernels, many, rows: 1, depth: 512) == quantize(scalar, many, rows: 1, depth: 512))
    }

    @Test(
        "products have the scalar one's bits, for few rows and for many",
        arguments: tables,
        blockTypes.map(\.rawValue)
    )
    func exact(name: String, raw: UInt32) throws {
        let type = vl_type(raw)
        let kernels = try table(name)
        let scalar = try table("scalar")
        let kernel = try #require(withUnsafePointer(to: kernels) { vl_product_q8($0, type) })
        let reference = try #require(withUnsafePointer(to: scalar) { vl_product_q8($0, type) })
        // Depths of one piece of scales, of an odd number, and of more than a panel's chunk.
        for depth in type.rawValue >= VL_TYPE_Q4_K.rawValue ? [256, 2304] : [32, 96, 2144] {
            // Rows of the direct form, of both its rounds, and of panels with each number of rows left over.
            for (rows, columns) in [
                (1, 16), (2, 37), (3, 48), (4, 15), (5, 100), (7, 33), (8, 16), (9, 53), (12, 20), (13, 100),
                (14, 80), (15, 48), (32, 85),
            ] {
                var numbers = Numbers(UInt64(depth * 100 + rows))
                let matrix = Quantized(type, numbers.array(columns * depth), rows: columns, depth: depth)
                let x = outstanding(&numbers, rows: rows, depth: depth)
                let a = quantize(kernels, x, rows: rows, depth: depth)
                let bias = numbers.array(columns)
                func run(_ kernel: vl_product_fn, _ ranges: [Range<Int>]) -> [Float] {
                    multiply(
                        kernel,
                        a,
                        matrix.packed,
                        rows: rows,
                        columns: columns,
                        depth: depth,
                        aStride: Int(vl_q8_row_bytes(Int64(depth))),
                        bStride: 0,
                        bias: bias,
                        ranges: ranges
                    )
                }
                let expected = run(reference, [0..<columns])
                #expect(run(kernel, [0..<columns]) == expected, "\(rows) x \(columns) x \(depth)")
                if columns > 16 { #expect(run(kernel, [0..<16, 16..<columns]) == expected) }
            }
        }
    }

    @Test(
        "float32 products equal those with the decoded weights",
        arguments: tables + ["scalar"],
        blockTypes.map(\.rawValue)
    )
    func float(name: String, raw: UInt32) throws {
        let type = vl_type(raw)
        let kernels = try table(name)
        let scalar = try table("scalar")
        let kernel = try #require(withUnsafePointer(to: kernels) { vl_product_f32($0, type) })
        for (rows, columns) in [(1, 16), (3, 37)] {
            let depth = 512
            var numbers = Numbers(UInt64(rows))
            let matrix = Quantized(type, numbers.array(columns * depth), rows: columns, depth: depth)
            let a = numbers.array(rows * depth)
            let found = multiply(
                kernel,
                a,
                matrix.packed,
                rows: rows,
                columns: columns,
                depth: depth,
                bStride: 0,
                ranges: [0..<columns]
            )
            let expected = multiply(
                scalar.nt_f32_f32,
                a,
                matrix.values,
                rows: rows,
                columns: columns,
                depth: depth,
                bStride: depth,
                ranges: [0..<columns]
            )
            #expect(error(found, expected) < 4e-6)
        }
    }

    /// Rounding activations to 8 bits moves a sum by well below one percent of the sums' size.
    @Test("8-bit activations stay near float32", arguments: blockTypes.map(\.rawValue))
    func near(raw: UInt32) throws {
        let type = vl_type(raw)
        let kernels = try table("scalar")
        let (rows, columns, depth) = (2, 64, 512)
        var numbers = Numbers(5)
        let matrix = Quantized(type, numbers.array(columns * depth), rows: columns, depth: depth)
        let x = numbers.array(rows * depth)
        let a = quantize(kernels, x, rows: rows, depth: depth)
        let found = multiply(
            try #require(withUnsafePointer(to: kernels) { vl_product_q8($0, type) }),
            a,
            matrix.packed,
            rows: rows,
            columns: columns,
            depth: depth,
            aStride: Int(vl_q8_row_bytes(Int64(depth))),
            bStride: 0,
            ranges: [0..<columns]
        )
        let expected = multiply(
            kernels.nt_f32_f32,
            x,
            matrix.values,
            rows: rows,
            columns: columns,
            depth: depth,
            bStride: depth,
            ranges: [0..<columns]
        )
        #expect(error(found, expected) < 0.02)
    }

    /// Each block's largest value is the measure of its codes: one of 100 among numbers below 1 would leave the others
    /// with two bits.
    @Test("a few great values cost the others nothing", arguments: blockTypes.map(\.rawValue))
    func outliers(raw: UInt32) throws {
        let type = vl_type(raw)
        let kernels = try table("scalar")
        let (columns, depth) = (64, 1024)
        var numbers = Numbers(8)
        let matrix = Quantized(type, numbers.array(columns * depth), rows: columns, depth: depth)
        var x = numbers.array(depth)
        for place in [3, 4, 301, 1023] { x[place] = place % 2 == 0 ? 100 : -100 }
        // What is left when the great values' own products are taken away.
        var rest = x
        for place in [3, 4, 301, 1023] { rest[place] = 0 }
        let product = try #require(withUnsafePointer(to: kernels) { vl_product_q8($0, type) })
        func outputs(_ x: [Float]) -> [Float] {
            multiply(
                product,
                quantize(kernels, x, rows: 1, depth: depth),
                matrix.packed,
                rows: 1,
                columns: columns,
                depth: depth,
                aStride: Int(vl_q8_row_bytes(Int64(depth))),
                bStride: 0,
                ranges: [0..<columns]
            )
        }
        func exact(_ x: [Float]) -> [Float] {
            (0..<columns).map { row in
                Float(
                    (0..<depth).reduce(0.0) { $0 + Double(x[$1]) * Double(matrix.values[row * depth + $1]) }
                )
            }
        }
        let (all, alone) = (zip(outputs(x), exact(x)).map(-), zip(outputs(rest), exact(rest)).map(-))
        func size(_ errors: [Float]) -> Float { errors.reduce(0) { $0 + $1 * $1 }.squareRoot() }
        #expect(size(all) < 1.2 * size(alone), "\(size(all)), \(size(alone))")
    }
}
