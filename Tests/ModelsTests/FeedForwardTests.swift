import Testing
import VLModels
import VLTensor
import VLTestSupport

@Suite("Feed-forward layers of vision towers") struct FeedForwardTests {
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    private func output(_ inner: Int, real: Int, _ type: DType?) throws -> [Float] {
        // The tensors of both widths agree where both have values; the wider one has zeros elsewhere.
        let source = MadeWeights { name, index in
            let isSecond = name.contains("fc2.weight")
            let (row, column) = isSecond ? (index / inner, index % inner) : (index / 64, index % 64)
            let place = name.hasSuffix("bias") ? index : isSecond ? column : row
            let isPadding = !name.contains("fc2.bias") && place >= real
            return isPadding
                ? 0 : MadeWeights.noise(name, name.hasSuffix("bias") ? index : row * 4096 + column)
        }
        let loader = WeightLoader(source, run, policy: WeightPolicy(vision: type))
        let layers = try FeedForward(64, inner, .geluTanh, Weights(loader)["vision.blocks.0.mlp"])
        let x = run.workspace.matrix(5, 64)
        for index in 0..<320 { x.pointer[index] = MadeWeights.noise("x", index) }
        return layers(x, run).values
    }

    @Test("of a width that is no whole blocks run in blocks, as if zeros had been stored behind it")
    func padded() throws {
        let exact = try output(80, real: 80, nil)
        let found = try output(80, real: 80, .q8_0)
        #expect(found == (try output(96, real: 80, .q8_0)))
        #expect(found != exact && relativeError(found, exact) < 0.02)
    }
}
