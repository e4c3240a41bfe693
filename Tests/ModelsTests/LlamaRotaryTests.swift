import Testing
import VLModels
import VLTensor
import VLTestSupport

@Suite struct LlamaRotaryTests {
    static let positions: [Int32] = [0, 1, 3, 9, 31, 40, 63]

    @Test(
        "angles and rotated heads of Llama are the official ones",
        arguments: [("plain", 10000.0, RopeScaling.none), ("linear", 100000.0, .linear(factor: 4))]
    )
    func llama(_ name: String, _ theta: Double, _ scaling: RopeScaling) throws {
        let unit = try UnitGolden("llama_rope")
        let rotary = Rotary(size: 8, theta: theta, scaling: scaling)
        let angles = Self.positions.withUnsafeBufferPointer { rotary.angles($0, unit.run) }
        // The official tables hold each half twice.
        for (part, found) in [("cos", angles.cosine), ("sin", angles.sine)] {
            let expected = try unit.floats("\(name).\(part)")
            let halves = (0..<7).flatMap { expected[$0 * 8..<$0 * 8 + 4] }
            #expect(relativeError(found.values, Array(halves)) < 1e-6)
        }
        for (part, heads) in [("q", 2), ("k", 1)] {
            // [heads, positions, size] there, [positions, heads * size] here.
            func arranged(_ values: [Float]) -> [Float] {
                var rows: [Float] = []
                for row in 0..<7 {
                    for head in 0..<heads {
                        let first = (head * 7 + row) * 8
                        rows += values[first..<first + 8]
                    }
                }
                return rows
            }
            let x = unit.matrix(arranged(try unit.floats("\(name).\(part)")), columns: 8 * heads)
            unit.run.rotate(x, heads: heads, stride: 8, offset: 0, size: 8, angles)
            let expected = arranged(try unit.floats("\(name).\(part)_rotated"))
            #expect(relativeError(x.values, expected) < 1e-6)
        }
    }

    /// The expected frequencies are those of `_compute_yarn_parameters` of transformers, evaluated by hand with NumPy.
    @Test("YaRN of Llama has transformers' frequencies and attention factors")
    func yarn() throws {
        let frequencies: [Float] = [
            1.0, 0.316_227_76, 0.081_250_004, 0.019_764_237, 0.004_375, 0.000_790_569_47, 0.000_25,
            0.000_079_056_945,
        ]
        func magnitude(_ members: String) throws -> Float {
            let config = try LlamaConfig(
                parsed(
                    """
                    {"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 1024,
                     "rope_scaling": {"rope_type": "yarn", "factor": 4.0\(members)}}
                    """
                )
            )
            let run = Run(pool: ThreadPool(threads: 1), compute: .float32)
            let rotary = Rotary(size: 16, theta: 10000, scaling: config.ropeScaling)
            let angles = [Int32(0), 1].withUnsafeBufferPointer { rotary.angles($0, run) }
            // At position 0 all cosines are 1 before they are scaled.
            let factor = angles.cosine[row: 0][0]
            for index in 0..<8 {
                let (cosine, sine) = (
                    angles.cosine[row: 1][index] / factor, angles.sine[row: 1][index] / factor
                )
                #expect(abs(cosine * cosine + sine * sine - 1) < 1e-5)
                let expected = index == 0 ? Float(0.841_470_98) : frequencies[index]
                #expect(abs(sine - expected) < max(1e-6, expected * (index < 3 ? 0.02 : 1e-4)), "\(index)")
            }
            return factor
        }
        #expect(abs(try magnitude("") - 1.138_629_4) < 1e-6)
        #expect(abs(try magnitude(#", "mscale": 0.7"#) - 1.138_629_4) < 1e-6)
        #expect(abs(try magnitude(#", "mscale": 0.7, "mscale_all_dim": 0.5"#) - 1.025_928_7) < 1e-6)
        #expect(try magnitude(#", "attention_factor": 1.5"#) == 1.5)
        #expect(abs(try magnitude(#", "original_max_position_embeddings": 1024"#) - 1.138_629_4) < 1e-6)
    }

    /// llama.cpp's converter permutes the rows of the query and key projections so; see `RotaryLayout.pairs`.
    @Test("projections whose rows lie in pairs give the same hidden states as those in halves")
    func pairs() throws {
        let members =
            #""hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 11"#
        var config = try LlamaConfig(
            parsed(#"{\#(members), "num_hidden_layers": 2, "intermediate_size": 24}"#)
        )
        func states(_ layout: RotaryLayout, _ value: @escaping (String, Int) -> Float) throws -> [Float] {
            config.rotaryLayout = layout
            let run = Run(pool: ThreadPool(threads: 1), compute: .float32)
            let decoder = try Decoder(config, Weights(WeightLoader(MadeWeights(value), run)))
            let cache = KVCache(decoder.cacheLayout(.float32), maximum: 8)
            let x = run.workspace.matrix(5, 32)
            [Int32(1), 4, 9, 0, 7].withUnsafeBufferPointer { decoder.embed($0, into: x, run) }
            decoder.forward(x, Batch([Segment(rows: 0..<5, cache: cache, firstPosition: 0)]), run)
            return x.values
        }
        let halves = try states(.halves, MadeWeights.noise)
        let pairs = try states(.pairs) { name, index in
            guard name.hasSuffix("q_proj.weight") || name.hasSuffix("k_proj.weight") else {
                return MadeWeights.noise(name, index)
            }
            // Row 2 i of a head is row i of the first half, row 2 i + 1 that of the second.
            let (row, column) = index.quotientAndRemainder(dividingBy: 32)
            let source = row / 8 * 8 + (row % 2) * 4 + row % 8 / 2
            return MadeWeights.noise(name, source * 32 + column)
        }
        #expect(relativeError(pairs, halves) < 1e-5)
        #expect(relativeError(try states(.pairs, MadeWeights.noise), halves) > 1e-3)
    }
}
