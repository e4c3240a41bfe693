import Testing
import VLModels
import VLTensor
import VLTestSupport

@Suite struct AlignerTests {
    @Test(
        "an aligner is the official one",
        arguments: ["hybrid_depth2", "hybrid_depth1", "mlp_gelu_depth2", "mlp_gelu_default_depth"]
    )
    func official(_ name: String) throws {
        let unit = try UnitGolden("aligner")
        let isHybrid = name.hasPrefix("hybrid")
        let kind = isHybrid ? "low_high_hybrid_split_mlp_gelu" : "mlp_gelu"
        let depth =
            name.hasSuffix("depth2") ? "\"depth\": 2, " : name == "hybrid_depth1" ? "\"depth\": 1, " : ""
        let reader = try parsed(
            "{\(depth)\"projector_type\": \"\(kind)\", \"input_dim\": 10, \"n_embed\": 16}"
        )
        let aligner = try Aligner(AlignerConfig(reader), unit.weights(name))
        let high = unit.matrix(try unit.floats("high"), columns: 10)
        let low = unit.matrix(try unit.floats("low"), columns: 10)
        let found = aligner(isHybrid ? .two(high: high, low: low) : .one(high), unit.run)
        #expect(relativeError(found.values, try unit.floats(name + ".output")) < 2e-6)
    }

    /// No published checkpoint has this one; it is held against its definition.
    @Test("the split aligner maps each half by layers of its own")
    func split() throws {
        let run = Run(pool: ThreadPool(threads: 1), compute: .float32)
        let reader = try parsed(
            #"{"projector_type": "low_high_split_mlp_gelu", "depth": 2, "input_dim": 3, "n_embed": 6}"#
        )
        for shared in [false, true] {
            // Files that keep shared tensors once may know the layers of the high half by their other name.
            let source = MadeWeights(missing: shared ? ["high_layers.1.weight"] : []) { name, index in
                name.hasSuffix("bias") ? 0.25 : name.hasPrefix("low") ? Float(index % 3) : Float(index % 2)
            }
            let loader = WeightLoader(source, run)
            let aligner = try Aligner(AlignerConfig(reader), Weights(loader))
            #expect(source.asked.keys.contains(shared ? "layers.1.weight" : "high_layers.1.weight"))
            let high = run.workspace.matrix(1, 3)
            let low = run.workspace.matrix(1, 3)
            for index in 0..<3 {
                high.pointer[index] = Float(index) - 1 // -1, 0, 1
                low.pointer[index] = 2
            }
            let found = aligner(.two(high: high, low: low), run).values
            // GELU of -1, 0, 1 and 2.
            let gelu: [Float] = [-0.158_655_25, 0, 0.841_344_75, 1.954_499_7]
            let expected: [Float] = [
                gelu[1] + 0.25, gelu[0] + gelu[2] + 0.25, gelu[1] + 0.25,
                3 * gelu[3] + 0.25, 3 * gelu[3] + 0.25, 3 * gelu[3] + 0.25,
            ]
            #expect(relativeError(found, expected) < 1e-6)
            // The inputs stay as they are: a tower's features may be read again.
            #expect(high.values == [-1, 0, 1])
            withExtendedLifetime(loader) {}
        }
    }
}
