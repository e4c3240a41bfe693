/// Configurations of published checkpoints, so that speed can be measured at their shapes without their weights.
///
/// Values are those of the files on the Hugging Face hub; omitted keys are the classes' defaults, as in the files.
package enum KnownShape: String, Sendable, CaseIterable {
    case vl2Tiny = "vl2-tiny"
    case vl2Small = "vl2-small"
    case vl2Base = "vl2-base"

    /// `config.json` as far as it matters for shapes.
    package var json: String {
        let language =
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
            }
        let hidden =
            switch self {
            case .vl2Tiny: 1280
            case .vl2Small: 2048
            case .vl2Base: 2560
            }
        return """
            {"model_type": "deepseek_vl_v2", "language_config": {\(language)},
             "vision_config": {"model_name": "siglip_so400m_patch14_384", "image_size": 384, "patch_size": 14,
              "width": 1152, "layers": 27, "heads": 16, "mlp_ratio": 3.7362},
             "projector_config": {"projector_type": "downsample_mlp_gelu", "input_dim": 1152, "n_embed": \(hidden)},
             "candidate_resolutions": [[384, 384]]}
            """
    }

    /// The configuration of this shape.
    ///
    /// - Throws: `LoadError` if the table above is wrong; a test reads all of it.
    package func config() throws(LoadError) -> ConfigReader {
        try ConfigReader(bytes: Array(json.utf8), file: rawValue)
    }
}
