import Testing
import VLModels
import VLTensor

@Suite struct LlamaConfigTests {
    @Test("omitted keys are the class's defaults")
    func defaults() throws {
        let config = try LlamaConfig(parsed("{}"))
        #expect((config.hiddenSize, config.innerSize, config.layers) == (4096, 11008, 32))
        #expect((config.heads, config.keyValueHeads, config.headSize) == (32, 32, 128))
        #expect((config.vocabularySize, config.maxPositions) == (32000, 2048))
        #expect(config.epsilon == 1e-6 && config.ropeTheta == 10000 && config.ropeScaling == .none)
        #expect(!config.tiedEmbeddings && !config.attentionBias && !config.mlpBias)
        #expect(try LlamaConfig(parsed(#"{"num_key_value_heads": null}"#)).keyValueHeads == 32)
        let wide = try LlamaConfig(parsed(#"{"head_dim": 64, "hidden_size": 100}"#))
        #expect((wide.headSize, wide.hiddenSize) == (64, 100))
    }

    @Test(
        "values that no decoder can have are refused by their names",
        arguments: [
            (#"{"hidden_size": "64"}"#, "'hidden_size': expected a whole number"),
            (#"{"hidden_size": 0}"#, "'hidden_size': expected a whole number from 1"),
            (#"{"num_key_value_heads": 5}"#, "'num_key_value_heads': expected a divisor"),
            (#"{"hidden_size": 100}"#, "'num_attention_heads': expected a divisor of hidden_size (100)"),
            (#"{"hidden_size": 32}"#, "'num_attention_heads': expected heads of an even width"),
            (#"{"head_dim": 7}"#, "'head_dim': expected heads of an even width"),
            (#"{"rms_norm_eps": 0}"#, "'rms_norm_eps': expected a number above 0"),
            (#"{"hidden_act": "gelu"}"#, "hidden_act \"gelu\" is not supported"),
            (#"{"tie_word_embeddings": 1}"#, "'tie_word_embeddings': expected true or false"),
            (
                #"{"rope_scaling": {"type": "dynamic", "factor": 2}}"#,
                "rope_scaling \"dynamic\" is not supported"
            ),
            (#"{"rope_scaling": {"type": "linear"}}"#, "'rope_scaling.factor': expected a number above 0"),
            (#"{"rope_scaling": {"type": "linear", "factor": -1}}"#, "'rope_scaling.factor'"),
            (#"{"rope_scaling": {"rope_type": "yarn", "factor": 2, "truncate": false}}"#, "truncate"),
            (#"{"eos_token_id": 32000}"#, "'eos_token_id': expected a token below vocab_size (32000)"),
            (#"{"rope_scaling": 4}"#, "'rope_scaling': expected an object"),
        ]
    )
    func refused(_ json: String, _ words: String) throws {
        let reader = try parsed(json)
        let error = #expect(throws: LoadError.self) { try LlamaConfig(reader) }
        #expect(error?.description.hasPrefix("config.json: ") == true)
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test("a decoder asks for the tensors of its options, and says which one it misses")
    func tensors() throws {
        let run = Run(pool: ThreadPool(threads: 1), compute: .float32)
        let members =
            #""hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 5"#
        func asked(_ more: String, missing: Set<String> = []) throws -> [String: [Int]] {
            let config = try LlamaConfig(
                parsed("{\(members), \"num_hidden_layers\": 1, \"intermediate_size\": 8\(more)}")
            )
            let source = MadeWeights(missing: missing, MadeWeights.noise)
            _ = try Decoder(config, Weights(WeightLoader(source, run)))
            return source.asked
        }
        let plain = try asked("")
        #expect(plain["model.layers.0.self_attn.k_proj.weight"] == [4, 16])
        #expect(plain["lm_head.weight"] == [5, 16])
        #expect(!plain.keys.contains { $0.hasSuffix("bias") })
        let biased = try asked(#", "attention_bias": true, "mlp_bias": true"#)
        #expect(biased["model.layers.0.self_attn.o_proj.bias"] == [16])
        #expect(biased["model.layers.0.mlp.down_proj.bias"] == [16])
        #expect(biased.count == plain.count + 7)
        let tied = try asked(#", "tie_word_embeddings": true"#, missing: ["lm_head.weight"])
        #expect(tied["lm_head.weight"] == nil)
        let error = #expect(throws: LoadError.self) { try asked("", missing: ["model.norm.weight"]) }
        #expect(
            error?.description
                == "made: tensor 'model.norm.weight': expected shape [16], found no such tensor"
        )
        #expect(throws: LoadError.self) { try asked("", missing: ["lm_head.weight"]) }
    }
}
