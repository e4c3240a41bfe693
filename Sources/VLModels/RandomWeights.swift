import VLTensor

/// Weights drawn at random in the shapes that a model asks for, so that speed can be measured without a checkpoint.
///
/// Values are small and without meaning; norms are near 1. The same name always gives the same numbers.
package final class RandomWeights: WeightSource {
    package let name: String
    private let type: DType
    private let policy: WeightPolicy
    private let pool: ThreadPool
    private let run: Run
    private var buffers: [String: WeightBuffer] = [:]

    /// - Parameters:
    ///   - type: of the matrices that `policy` leaves open; vectors are float32.
    ///   - policy: in which types the matrices will run; they are made in these, so that nothing is converted.
    package init(name: String, type: DType, policy: WeightPolicy = WeightPolicy(), pool: ThreadPool) {
        self.name = name
        self.type = type
        self.policy = policy
        self.pool = pool
        run = Run(pool: pool, compute: .float32)
    }

    package var owners: [any AnyObject & Sendable] { Array(buffers.values) }

    package func contains(_ name: String) -> Bool { true }

    package func release(_ name: String) { buffers[name] = nil }

    package func tensor(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor {
        let rows = shape.count == 1 ? 1 : shape[0]
        let columns = shape.reduce(1, *) / max(1, rows)
        let type: DType =
            shape.count == 1
            ? .float32 : policy.type(of: name, stored: self.type, columns: WeightPolicy.columns(shape))
        let buffer = WeightBuffer(byteCount: rows * type.rowBytes(columns))
        guard let base = buffer.bytes.baseAddress else { preconditionFailure("a buffer without memory") }
        var seed: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.utf8 { seed = (seed ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        let isNorm =
            name.hasSuffix("norm.weight") || name.contains("norm1.weight") || name.contains("norm2.weight")
        // Keeps activations of a size at which no kernel meets denormals or infinities.
        let scale = 1.7 / Float(max(1, columns)).squareRoot()
        let piece = 65536 / type.blockLength
        let blocks = rows * columns / type.blockLength
        pool.parallel((blocks + piece - 1) / piece) { index in
            let first = index * piece
            let count = min(piece, blocks - first)
            var random = SplitMix(seed &+ UInt64(index) &* 0x9e37_79b9_7f4a_7c15)
            if type.isBlock {
                let bytes = type.rowBytes(type.blockLength)
                fill(base + first * bytes, type, blocks: count, scale: scale, &random)
            } else {
                fill(
                    base + first * type.elementBytes,
                    type,
                    count: count,
                    isNorm ? 1 : 0,
                    isNorm ? 0.05 : scale,
                    &random
                )
            }
        }
        buffers[name] = buffer
        return SourceTensor(pointer: UnsafeRawPointer(base), type: type, shape: shape, file: self.name)
    }

    private func fill(
        _ target: UnsafeMutableRawPointer,
        _ type: DType,
        count: Int,
        _ center: Float,
        _ spread: Float,
        _ random: inout SplitMix
    ) {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { values in
            for place in 0..<count {
                let unit = Float(Int32(truncatingIfNeeded: random.next() >> 32)) * 0x1p-31
                values[place] = center + unit * spread
            }
            guard let source = values.baseAddress else { return }
            run.store(source, count: count, as: type, into: target)
        }
    }

    /// Random codes under scales that give values of the wanted size: what a block's bytes are is all that matters for
    /// speed, and drawing them takes a tenth of the time that rounding numbers takes.
    private func fill(
        _ target: UnsafeMutableRawPointer,
        _ type: DType,
        blocks: Int,
        scale: Float,
        _ random: inout SplitMix
    ) {
        let bytes = type.rowBytes(type.blockLength)
        let total = blocks * bytes
        for place in stride(from: 0, to: total, by: 8) {
            withUnsafeBytes(of: random.next().littleEndian) { word in
                (target + place).copyMemory(
                    from: word.baseAddress ?? UnsafeRawPointer(target),
                    byteCount: min(8, total - place)
                )
            }
        }
        // Size of a code, times that of a small scale where there is one; and where the block's scales lie.
        let (size, places): (Float, [(offset: Int, factor: Float)]) =
            switch type {
            case .q8_0: (74, [(0, 1)])
            case .q4_0: (4.6, [(0, 1)])
            case .q5_0: (9.2, [(0, 1)])
            case .q4_1: (4.6, [(0, 1), (2, -7.5)])
            case .q5_1: (9.2, [(0, 1), (2, -15.5)])
            case .q4_k: (36 * 5, [(0, 1), (2, 7.5)])
            case .q5_k: (36 * 10, [(0, 1), (2, 15.5)])
            case .q6_k: (74 * 18, [(208, 1)])
            case .float32, .bfloat16, .float16: preconditionFailure("blocks of \(type.rawValue)")
            }
        for place in places {
            var value = scale * 0.58 / size * place.factor
            for block in 0..<blocks {
                run.store(&value, count: 1, as: .float16, into: target + block * bytes + place.offset)
            }
        }
    }
}

/// A small generator for numbers without meaning (Steele et al., 2014).
private struct SplitMix {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state = state &+ 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }
}
