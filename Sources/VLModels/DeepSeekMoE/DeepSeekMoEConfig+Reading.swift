import VLJSON

extension DeepSeekMoEConfig {
    /// Reads a `language_config` (or a text model's `config.json`); the defaults for omitted keys are those
    /// of `DeepseekV2Config` in the official `configuration_deepseek.py`.
    ///
    /// A `null` and an absent key differ.
    ///
    /// - Throws: `LoadError.field` for a value of another kind or out of range, `.unsupported` for a known part that
    ///   is not built.
    package init(_ reader: ConfigReader) throws(LoadError) {
        hiddenSize = try reader.int("hidden_size", 1...1_048_576, default: 4096)
        vocabularySize = try reader.int("vocab_size", 1...16_777_216, default: 102400)
        let heads = try reader.int("num_attention_heads", 1...4096, default: 32)
        // The official class does not fall back to the number of heads for an absent key, only for a null.
        let keyValueHeads = try reader.intOrNull("num_key_value_heads", 1...4096, default: 32) ?? heads
        let usesLatent = try reader.bool("use_mla", default: true)
        if heads % keyValueHeads != 0 && (!usesLatent || reader.contains("num_key_value_heads")) {
            throw reader.error(
                "num_key_value_heads",
                expected: "a divisor of num_attention_heads (\(heads))",
                found: "\(keyValueHeads)"
            )
        }
        attentionBias = try reader.bool("attention_bias", default: false)
        maxPositions = try reader.int("max_position_embeddings", 1...16_777_216, default: 2048)
        epsilon = Float(
            try reader.double("rms_norm_eps", default: 1e-6, "a number above 0") { $0 > 0 && $0 < 1 }
        )
        ropeTheta = try reader.double("rope_theta", default: 10000, "a number above 1") { $0 > 1 }
        ropeScaling = try RopeScaling(reader, maxPositions: maxPositions)
        tiedEmbeddings = try reader.bool("tie_word_embeddings", default: false)
        if let activation = try reader.string("hidden_act"), activation != "silu" {
            throw .unsupported(file: reader.file, what: "hidden_act \"\(activation)\"", known: "\"silu\"")
        }

        if usesLatent {
            let latent = Latent(
                heads: heads,
                queryRank: try reader.intOrNull("q_lora_rank", 1...1_048_576, default: 1536),
                rank: try reader.int("kv_lora_rank", 1...1_048_576, default: 512),
                plainSize: try reader.int("qk_nope_head_dim", 1...65536, default: 128),
                ropeSize: try reader.int("qk_rope_head_dim", 2...65536, default: 64),
                valueSize: try reader.int("v_head_dim", 1...65536, default: 128)
            )
            if latent.ropeSize % 2 != 0 {
                throw reader.error(
                    "qk_rope_head_dim",
                    expected: "an even number",
                    found: "\(latent.ropeSize)"
                )
            }
            attention = .latent(latent)
        } else {
            guard hiddenSize % heads == 0, hiddenSize / heads % 2 == 0 else {
                throw reader.error(
                    "num_attention_heads",
                    expected: "heads of equal, even width for hidden_size \(hiddenSize)",
                    found: "\(heads)"
                )
            }
            if case .yarn = ropeScaling {
                throw .unsupported(
                    file: reader.file,
                    what: "rope_scaling \"yarn\" without latent attention",
                    known: "\"linear\""
                )
            }
            attention = .grouped(heads: heads, keyValueHeads: keyValueHeads, headSize: hiddenSize / heads)
        }
        layers = try Self.layers(reader)
        try reader.checkBoundaryTokens(below: vocabularySize)
    }

    /// Which layers are dense and which are mixtures: `first_k_dense_replace`, `moe_layer_freq`.
    private static func layers(_ reader: ConfigReader) throws(LoadError) -> [FeedForwardKind] {
        let count = try reader.int("num_hidden_layers", 1...1024, default: 30)
        let dense = FeedForwardKind.dense(
            innerSize: try reader.int("intermediate_size", 1...4_194_304, default: 11008)
        )
        guard let experts = try reader.intOrNull("n_routed_experts", 1...4096, default: nil) else {
            return Array(repeating: dense, count: count)
        }
        let innerSize = try reader.int("moe_intermediate_size", 1...4_194_304, default: 1407)
        let shared = try reader.intOrNull("n_shared_experts", 0...256, default: nil) ?? 0
        let chosen = try reader.int("num_experts_per_tok", 1...experts)
        let method = try reader.string("topk_method")
        let choice: ExpertChoice
        if method == nil || method == "gready" {
            // The class's own default is this misspelling, which its gate does not know.
            choice = .greedy
        } else {
            choice = try reader.choice("topk_method")
        }
        let groups = try reader.intOrNull("n_group", 1...experts, default: nil) ?? 1
        let chosenGroups = try reader.intOrNull("topk_group", 1...groups, default: nil) ?? 1
        if experts % groups != 0 {
            throw reader.error(
                "n_group",
                expected: "a divisor of n_routed_experts (\(experts))",
                found: "\(groups)"
            )
        }
        let mixture = FeedForwardKind.experts(
            Experts(
                count: experts,
                chosen: chosen,
                innerSize: innerSize,
                sharedInnerSize: shared * innerSize,
                choice: choice,
                scoring: try reader.choice("scoring_func", default: .softmax),
                groups: groups,
                chosenGroups: chosenGroups,
                normalizeWeights: try reader.bool("norm_topk_prob", default: false),
                scalingFactor: Float(
                    try reader.double("routed_scaling_factor", default: 1, "a number of at most 1e6 in size")
                    { abs($0) <= 1e6 }
                )
            )
        )
        let firstMixture = try reader.int("first_k_dense_replace", 0...1_048_576, default: 0)
        let frequency = try reader.int("moe_layer_freq", 1...1024, default: 1)
        return (0..<count).map { $0 >= firstMixture && $0 % frequency == 0 ? mixture : dense }
    }
}

extension RopeScaling {
    /// Reads `rope_scaling`: null, "linear" or "yarn".
    ///
    /// - Throws: `LoadError.field`, `.unsupported`.
    package init(_ reader: ConfigReader, maxPositions: Int) throws(LoadError) {
        guard let scaling = try reader.object("rope_scaling") else {
            self = .none
            return
        }
        // Newer files call the key `rope_type`.
        let type = try scaling.string(scaling.contains("type") ? "type" : "rope_type")
        let factor = try scaling.double("factor", "a number above 0") { $0 > 0 && $0 <= 1e6 }
        let positive = "a number above 0"
        switch type {
        case "linear":
            self = .linear(factor: factor)
        case "yarn":
            let betaFast = try scaling.double("beta_fast", default: 32, positive) { $0 > 0 && $0 <= 1e6 }
            let betaSlow = try scaling.double("beta_slow", default: 1, positive) { $0 > 0 && $0 <= 1e6 }
            self = .yarn(
                YaRN(
                    factor: factor,
                    originalMaxPositions: try scaling.int(
                        "original_max_position_embeddings",
                        1...16_777_216,
                        default: 4096
                    ),
                    betaFast: betaFast,
                    betaSlow: betaSlow,
                    mScale: try scaling.double("mscale", default: 1, "a number from 0 to 100") {
                        $0 >= 0 && $0 <= 100
                    },
                    mScaleAllDimensions: try scaling.double(
                        "mscale_all_dim",
                        default: 0,
                        "a number from 0 to 100"
                    ) {
                        $0 >= 0 && $0 <= 100
                    }
                )
            )
        default:
            throw .unsupported(
                file: reader.file,
                what: "rope_scaling \(type.map { "\"\($0)\"" } ?? "without a type")",
                known: "\"linear\", \"yarn\""
            )
        }
    }
}
