/// Configurations of published checkpoints, so that speed can be measured at their shapes without their weights.
///
/// Values are those of the files on the Hugging Face hub; omitted keys are the classes' defaults, as in the files.
package enum KnownShape: String, Sendable, CaseIterable {
    case vl2Tiny = "vl2-tiny"
    case vl2Small = "vl2-small"
    case vl2Base = "vl2-base"
    case vl1B = "vl-1.3b"
    case vl7B = "vl-7b"
    case llm7B = "llm-7b"
    case llm67B = "llm-67b"

    /// `config.json` as far as it matters for shapes.
    package var json: String {
        switch self {
        case .vl2Tiny: vl2(hidden: 1280)
        case .vl2Small: vl2(hidden: 2048)
        case .vl2Base: vl2(hidden: 2560)
        case .vl1B: vl(hidden: 2048, aligner: "mlp_gelu")
        case .vl7B: vl(hidden: 4096, aligner: "low_high_hybrid_split_mlp_gelu")
        case .llm7B, .llm67B: "{\"model_type\": \"llama\", \(language)}"
        }
    }

    /// Members of the language model's configuration.
    private var language: String {
        switch self {
        case .vl2Tiny:
            """
            "hidden_size": 1280, "intermediate_size": 6848, "moe_intermediate_size": 896, "num_hidden_layers": 12,
            "num_attention_heads": 10, "num_key_value_heads": 10, "n_routed_experts": 64, "n_shared_experts": 2,
            "num_experts_per_tok": 6, "first_k_dense_replace": 1, "use_mla": false, "kv_lora_rank": null,
            "q_lora_rank": null, "topk_method": "greedy", "vocab_size": 129280, "max_position_embeddings": 4096
            """
        case .vl2Small:
            """
            "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408, "num_hidden_layers": 27,
            "num_attention_heads": 16, "num_key_value_heads": 16, "n_routed_experts": 64, "n_shared_experts": 2,
            "num_experts_per_tok": 6, "first_k_dense_replace": 1, "q_lora_rank": null, "topk_method": "greedy",
            "vocab_size": 102400, "max_position_embeddings": 4096
            """
        case .vl2Base:
            """
            "hidden_size": 2560, "intermediate_size": 12288, "moe_intermediate_size": 1536, "num_hidden_layers": 30,
            "num_attention_heads": 32, "num_key_value_heads": 32, "n_routed_experts": 72, "n_shared_experts": 2,
            "num_experts_per_tok": 6, "first_k_dense_replace": 1, "q_lora_rank": null, "topk_method": "noaux_tc",
            "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.0, "n_group": 1,
            "topk_group": 1, "vocab_size": 129280, "max_position_embeddings": 4096
            """
        case .vl1B:
            """
            "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 16,
            "num_key_value_heads": 16, "vocab_size": 102400, "max_position_embeddings": 16384
            """
        case .vl7B:
            """
            "num_hidden_layers": 30, "vocab_size": 102400, "max_position_embeddings": 16384
            """
        case .llm7B:
            """
            "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 30, "num_attention_heads": 32,
            "num_key_value_heads": 32, "vocab_size": 102400, "max_position_embeddings": 4096
            """
        case .llm67B:
            """
            "hidden_size": 8192, "intermediate_size": 22016, "num_hidden_layers": 95, "num_attention_heads": 64,
            "num_key_value_heads": 8, "vocab_size": 102400, "max_position_embeddings": 4096
            """
        }
    }

    private func vl2(hidden: Int) -> String {
        """
        {"model_type": "deepseek_vl_v2", "language_config": {\(language)},
         "vision_config": {"model_name": "siglip_so400m_patch14_384", "image_size": 384, "patch_size": 14,
          "width": 1152, "layers": 27, "heads": 16, "mlp_ratio": 3.7362},
         "projector_config": {"projector_type": "downsample_mlp_gelu", "input_dim": 1152, "n_embed": \(hidden)},
         "candidate_resolutions": [[384, 384]]}
        """
    }

    private func vl(hidden: Int, aligner: String) -> String {
        let low = "\"model_name\": \"siglip_large_patch16_384\", \"image_size\": 384, \"select_layer\": -1"
        let high = "\"model_name\": \"sam_b_downsample\", \"image_size\": 1024, \"select_layer\": -1"
        let mean = "\"pixel_mean\": [0.48145466, 0.4578275, 0.40821073]"
        let deviation = "\"pixel_std\": [0.26862954, 0.26130258, 0.27577711]"
        let halves = "\"pixel_mean\": [0.5, 0.5, 0.5], \"pixel_std\": [0.5, 0.5, 0.5]"
        let vision =
            self == .vl1B
            ? "\"cls\": \"CLIPVisionTower\", \"params\": {\(low)}"
            : "\"cls\": \"HybridVisionTower\", \"params\": {\"concat_type\": \"tuple\","
                + " \"high_res_cfg\": {\(high), \(mean), \(deviation)}, \"low_res_cfg\": {\(low), \(halves)}}"
        return """
            {"model_type": "multi_modality", "language_config": {"model_type": "llama", \(language)},
             "vision_config": {\(vision)},
             "aligner_config": {"cls": "MlpProjector", "params": {"projector_type": "\(aligner)",
              "input_dim": 1024, "n_embed": \(hidden), "depth": 2}}}
            """
    }

    /// The configuration of this shape.
    ///
    /// - Throws: `LoadError` if the table above is wrong; a test reads all of it.
    package func config() throws(LoadError) -> ConfigReader {
        try ConfigReader(bytes: Array(json.utf8), file: rawValue)
    }
}
