import VLJSON
import VLModels

/// The `config.json` of a text model whose GGUF file carries none.
enum RestoredConfig {
    /// What all of a configuration's members say.
    ///
    /// - Parameters:
    ///   - config: what the file's keys say.
    ///   - type: the matrices' type as PyTorch calls it.
    static func json(_ config: GGUFConfig, begin: Int?, ends: [Int], type: String) -> JSONValue {
        var object: JSONObject
        switch config {
        case .llama(let llama): object = Self.object(llama)
        case .deepSeek(let deepSeek): object = Self.object(deepSeek)
        }
        object["hidden_act"] = "silu"
        object["torch_dtype"] = .string(type)
        object["use_cache"] = true
        if let begin { object["bos_token_id"] = .integer(Int64(begin)) }
        if let end = ends.first { object["eos_token_id"] = .integer(Int64(end)) }
        return .object(object)
    }

    private static func whole(_ value: Int) -> JSONValue { .integer(Int64(value)) }

    /// The shortest decimal number of a float32.
    private static func short(_ value: Float) -> JSONValue { .number(Double("\(value)") ?? Double(value)) }

    private static func object(_ config: LlamaConfig) -> JSONObject {
        var object: JSONObject = [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "vocab_size": whole(config.vocabularySize), "hidden_size": whole(config.hiddenSize),
            "intermediate_size": whole(config.innerSize), "num_hidden_layers": whole(config.layers),
            "num_attention_heads": whole(config.heads), "num_key_value_heads": whole(config.keyValueHeads),
            "max_position_embeddings": whole(config.maxPositions), "rms_norm_eps": short(config.epsilon),
            "rope_theta": .number(config.ropeTheta), "tie_word_embeddings": .bool(config.tiedEmbeddings),
            "attention_bias": .bool(config.attentionBias), "mlp_bias": .bool(config.mlpBias),
        ]
        if config.headSize * config.heads != config.hiddenSize { object["head_dim"] = whole(config.headSize) }
        object["rope_scaling"] = scaling(config.ropeScaling, isLlama: true)
        return object
    }

    private static func object(_ config: DeepSeekMoEConfig) -> JSONObject {
        var object: JSONObject = [
            "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
            "vocab_size": whole(config.vocabularySize), "hidden_size": whole(config.hiddenSize),
            "num_hidden_layers": whole(config.layers.count),
            "max_position_embeddings": whole(config.maxPositions), "rms_norm_eps": short(config.epsilon),
            "rope_theta": .number(config.ropeTheta), "tie_word_embeddings": .bool(config.tiedEmbeddings),
            "attention_bias": .bool(config.attentionBias),
        ]
        switch config.attention {
        case .latent(let sizes):
            object["use_mla"] = true
            object["num_attention_heads"] = whole(sizes.heads)
            object["num_key_value_heads"] = whole(sizes.heads)
            object["q_lora_rank"] = sizes.queryRank.map(whole) ?? .null
            object["kv_lora_rank"] = whole(sizes.rank)
            object["qk_nope_head_dim"] = whole(sizes.plainSize)
            object["qk_rope_head_dim"] = whole(sizes.ropeSize)
            object["v_head_dim"] = whole(sizes.valueSize)
        case .grouped(let heads, let keyValueHeads, _):
            object["use_mla"] = false
            object["num_attention_heads"] = whole(heads)
            object["num_key_value_heads"] = whole(keyValueHeads)
            object["q_lora_rank"] = .null
            object["kv_lora_rank"] = .null
            object["qk_nope_head_dim"] = 0
            object["qk_rope_head_dim"] = 0
            object["v_head_dim"] = 0
        }
        var dense = 0
        for kind in config.layers {
            switch kind {
            case .dense(let size):
                object["intermediate_size"] = whole(size)
                dense += 1
            case .experts(let experts):
                object["moe_intermediate_size"] = whole(experts.innerSize)
                object["n_routed_experts"] = whole(experts.count)
                object["n_shared_experts"] =
                    experts.sharedInnerSize == 0 ? .null : whole(experts.sharedInnerSize / experts.innerSize)
                object["num_experts_per_tok"] = whole(experts.chosen)
                object["norm_topk_prob"] = .bool(experts.normalizeWeights)
                object["routed_scaling_factor"] = short(experts.scalingFactor)
                object["scoring_func"] = experts.scoring == .softmax ? "softmax" : "sigmoid"
                object["n_group"] = whole(experts.groups)
                object["topk_group"] = whole(experts.chosenGroups)
                object["topk_method"] =
                    switch experts.choice {
                    case .greedy: "greedy"
                    case .groupLimitedGreedy: "group_limited_greedy"
                    case .noAuxiliaryLoss: "noaux_tc"
                    }
            }
        }
        object["first_k_dense_replace"] = whole(dense)
        object["moe_layer_freq"] = 1
        object["rope_scaling"] = scaling(config.ropeScaling, isLlama: false)
        return object
    }

    private static func scaling(_ scaling: RopeScaling, isLlama: Bool) -> JSONValue {
        switch scaling {
        case .none: return .null
        case .linear(let factor):
            return ["type": "linear", "factor": .number(factor)]
        case .yarn(let yarn):
            var object: JSONObject = [
                "type": "yarn", "factor": .number(yarn.factor),
                "original_max_position_embeddings": whole(yarn.originalMaxPositions),
                "beta_fast": .number(yarn.betaFast), "beta_slow": .number(yarn.betaSlow),
            ]
            if !isLlama {
                object["mscale"] = .number(yarn.mScale)
                object["mscale_all_dim"] = .number(yarn.mScaleAllDimensions)
            }
            return .object(object)
        }
    }
}
