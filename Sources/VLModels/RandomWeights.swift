import VLTensor

/// Weights drawn at random in the shapes that a model asks for, so that speed can be measured without a checkpoint.
///
/// Values are small and without meaning; norms are near 1. The same name always gives the same numbers.
package final class RandomWeights: WeightSource {
    package let name: String
    private let type: DType
    private let pool: ThreadPool
    private let run: Run
    private var buffers: [WeightBuffer] = []

    /// - Parameter type: of the matrices; vectors are float32.
    package init(name: String, type: DType, pool: ThreadPool) {
        self.name = name
        self.type = type
        self.pool = pool
        run = Run(pool: pool, compute: .float32)
    }

    package var owners: [any AnyObject & Sendable] { buffers }

    package func contains(_ name: String) -> Bool { true }

    package func tensor(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor {
        let count = shape.reduce(1, *)
        let type: DType = shape.count == 1 ? .float32 : self.type
        let buffer = WeightBuffer(byteCount: count * type.byteCount)
        guard let base = buffer.bytes.baseAddress else { preconditionFailure("a buffer without memory") }
        var seed: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.utf8 { seed = (seed ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        // Keeps activations of a size at which no kernel meets denormals or infinities.
        let scale = 1.7 / Float(max(1, count / max(1, shape[0]))).squareRoot()
        let center: Float =
            name.hasSuffix("norm.weight") || name.contains("norm1.weight") || name.contains("norm2.weight")
            ? 1 : 0
        let isNorm = center == 1
        let piece = 65536
        pool.parallel((count + piece - 1) / piece) { index in
            let first = index * piece
            let length = min(piece, count - first)
            withUnsafeTemporaryAllocation(of: Float.self, capacity: length) { values in
                var state = seed &+ UInt64(index) &* 0x9e37_79b9_7f4a_7c15
                for place in 0..<length {
                    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    let unit = Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31
                    values[place] = isNorm ? center + 0.05 * unit : unit * scale
                }
                guard let source = values.baseAddress else { return }
                run.store(source, count: length, as: type, into: base + first * type.byteCount)
            }
        }
        buffers.append(buffer)
        return SourceTensor(pointer: UnsafeRawPointer(base), type: type, shape: shape, file: self.name)
    }
}
