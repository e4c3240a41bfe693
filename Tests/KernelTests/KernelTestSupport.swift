import CVLKernels
import Testing

/// Numbers that look random and are the same everywhere.
struct Numbers {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1 }

    mutating func next() -> Float {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31
    }

    mutating func array(_ count: Int, scale: Float = 1) -> [Float] { (0..<count).map { _ in next() * scale } }
}

/// The tables of this machine, the scalar one left out.
let tables: [String] = (1..<VL_ISA_COUNT.rawValue).compactMap {
    vl_kernels_for(vl_isa($0)).map { String(cString: $0.pointee.name) }
}

func table(_ name: String) throws -> vl_kernels {
    try #require(
        (0..<VL_ISA_COUNT.rawValue).compactMap { vl_kernels_for(vl_isa($0)) }.first {
            String(cString: $0.pointee.name) == name
        }
    )
    .pointee
}

/// First element of a buffer that has some.
func base<Value>(_ buffer: UnsafeMutableBufferPointer<Value>) -> UnsafeMutablePointer<Value> {
    guard let base = buffer.baseAddress else { preconditionFailure("an empty buffer") }
    return base
}

func base<Value>(_ buffer: UnsafeBufferPointer<Value>) -> UnsafePointer<Value> {
    guard let base = buffer.baseAddress else { preconditionFailure("an empty buffer") }
    return base
}

func base(_ buffer: UnsafeRawBufferPointer) -> UnsafeRawPointer {
    guard let base = buffer.baseAddress else { preconditionFailure("an empty buffer") }
    return base
}

/// Largest difference in relation to the largest value.
func error(_ a: [Float], _ b: [Float]) -> Float {
    let size = b.reduce(1e-30) { max($0, abs($1)) }
    return zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) } / size
}

func bf16(_ x: [Float], _ kernels: vl_kernels) -> [UInt16] {
    var y = [UInt16](repeating: 0, count: x.count)
    kernels.bf16_from_f32(&y, x, Int64(x.count))
    return y
}

func f16(_ x: [Float], _ kernels: vl_kernels) -> [UInt16] {
    var y = [UInt16](repeating: 0, count: x.count)
    kernels.f16_from_f32(&y, x, Int64(x.count))
    return y
}

/// Runs a product over a range of columns.
func multiply(
    _ kernel: vl_product_fn,
    _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer,
    rows: Int,
    columns: Int,
    depth: Int,
    aStride: Int? = nil,
    bStride: Int,
    bias: [Float]? = nil,
    start: [Float]? = nil,
    ranges: [Range<Int>]
) -> [Float] {
    var c = start ?? [Float](repeating: .nan, count: rows * columns)
    c.withUnsafeMutableBufferPointer { c in
        (bias ?? []).withUnsafeBufferPointer { bias in
            var product = vl_product(
                a: a,
                a_stride: Int64(aStride ?? depth),
                b: b,
                b_stride: Int64(bStride),
                c: base(c),
                c_stride: Int64(columns),
                bias: bias.isEmpty ? nil : bias.baseAddress,
                rows: Int64(rows),
                columns: Int64(columns),
                depth: Int64(depth),
                accumulate: start == nil ? 0 : 1,
                ahead: 0
            )
            for range in ranges { kernel(&product, Int64(range.lowerBound), Int64(range.upperBound)) }
        }
    }
    return c
}
