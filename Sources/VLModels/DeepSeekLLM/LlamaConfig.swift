import VLTensor

/// Settings of a Llama decoder (`config.json` of DeepSeek-LLM, `language_config` of DeepSeek-VL).
package struct LlamaConfig: Sendable, Equatable {
    package var hiddenSize: Int
    package var vocabularySize: Int
    package var layers: Int
    package var heads: Int
    package var keyValueHeads: Int
    package var headSize: Int
    /// Width of the feed-forward.
    package var innerSize: Int
    package var maxPositions: Int
    package var epsilon: Float
    package var ropeTheta: Double
    package var ropeScaling: RopeScaling
    /// How rotated pairs lie in the rows of the query and key projections.
    package var rotaryLayout = RotaryLayout.halves
    package var tiedEmbeddings: Bool
    package var attentionBias: Bool
    package var mlpBias: Bool

    /// Weights of a layer's matrices.
    private var layerParameters: Int {
        hiddenSize * headSize * 2 * (heads + keyValueHeads) + 3 * hiddenSize * innerSize
    }

    /// Weights that a token's forward pass reads, the embedding's row left out.
    package var activeParameters: Int { layers * layerParameters + hiddenSize * vocabularySize }

    /// Numbers in all matrices.
    package var parameterCount: Int {
        activeParameters + (tiedEmbeddings ? 0 : hiddenSize * vocabularySize)
    }
}

extension LlamaConfig {
    /// Reads a configuration; the defaults for omitted keys are those of transformers' `LlamaConfig`.
    ///
    /// - Throws: `LoadError.field` for a value of another kind or out of range, `.unsupported` for a known part that
    ///   is not built.
    package init(_ reader: ConfigReader) throws(LoadError) {
        hiddenSize = try reader.int("hidden_size", 1...1_048_576, default: 4096)
        vocabularySize = try reader.int("vocab_size", 1...16_777_216, default: 32000)
        layers = try reader.int("num_hidden_layers", 1...1024, default: 32)
        heads = try reader.int("num_attention_heads", 1...4096, default: 32)
        keyValueHeads = try reader.intOrNull("num_key_value_heads", 1...4096, default: nil) ?? heads
        guard heads % keyValueHeads == 0 else {
            throw reader.error(
                "num_key_value_heads",
                expected: "a divisor of num_attention_heads (\(heads))",
                found: "\(keyValueHeads)"
            )
        }
        if let size = try reader.intOrNull("head_dim", 1...65536, default: nil) {
            headSize = size
        } else {
            guard hiddenSize % heads == 0 else {
                throw reader.error(
                    "num_attention_heads",
                    expected: "a divisor of hidden_size (\(hiddenSize)) where there is no head_dim",
                    found: "\(heads)"
                )
            }
            headSize = hiddenSize / heads
        }
        guard headSize % 2 == 0 else {
            throw reader.error(
                reader.isNull("head_dim") ? "num_attention_heads" : "head_dim",
                expected: "heads of an even width",
                found: "a width of \(headSize)"
            )
        }
        innerSize = try reader.int("intermediate_size", 1...4_194_304, default: 11008)
        maxPositions = try reader.int("max_position_embeddings", 1...16_777_216, default: 2048)
        epsilon = Float(
            try reader.double("rms_norm_eps", default: 1e-6, "a number above 0") { $0 > 0 && $0 < 1 }
        )
        ropeTheta = try reader.double("rope_theta", default: 10000, "a number above 1") { $0 > 1 }
        ropeScaling = try RopeScaling(llama: reader, maxPositions: maxPositions)
        tiedEmbeddings = try reader.bool("tie_word_embeddings", default: false)
        attentionBias = try reader.bool("attention_bias", default: false)
        mlpBias = try reader.bool("mlp_bias", default: false)
        if let activation = try reader.string("hidden_act"), activation != "silu" {
            throw .unsupported(file: reader.file, what: "hidden_act \"\(activation)\"", known: "\"silu\"")
        }
        try reader.checkBoundaryTokens(below: vocabularySize)
    }
}

extension RopeScaling {
    /// Reads `rope_scaling` as transformers does for Llama: null, "default", "linear" or "yarn".
    ///
    /// Its YaRN differs from DeepSeek-V2's in its defaults, and scales by `mscale` only where both are given.
    ///
    /// - Throws: `LoadError.field`, `.unsupported`.
    package init(llama reader: ConfigReader, maxPositions: Int) throws(LoadError) {
        guard let scaling = try reader.object("rope_scaling") else {
            self = .none
            return
        }
        // Newer files call the key `rope_type`.
        let type = try scaling.string(scaling.contains("rope_type") ? "rope_type" : "type")
        func factor() throws(LoadError) -> Double {
            try scaling.double("factor", "a number above 0") { $0 > 0 && $0 <= 1e6 }
        }
        func number(_ key: String, _ rule: String, above: Double) throws(LoadError) -> Double? {
            scaling.isNull(key) ? nil : try scaling.double(key, rule) { $0 >= above && $0 <= 1e6 }
        }
        switch type {
        case "default": self = .none
        case "linear": self = .linear(factor: try factor())
        case "yarn":
            guard try scaling.bool("truncate", default: true) else {
                throw .unsupported(file: reader.file, what: "rope_scaling.truncate false", known: "true")
            }
            let positive = "a number above 0"
            let m = try number("mscale", "a number from 0", above: 0) ?? 0
            let mAll = try number("mscale_all_dim", "a number from 0", above: 0) ?? 0
            let scales = m != 0 && mAll != 0
            self = .yarn(
                YaRN(
                    factor: try factor(),
                    originalMaxPositions: try scaling.intOrNull(
                        "original_max_position_embeddings",
                        1...16_777_216,
                        default: nil
                    ) ?? maxPositions,
                    betaFast: try number("beta_fast", positive, above: 1e-6) ?? 32,
                    betaSlow: try number("beta_slow", positive, above: 1e-6) ?? 1,
                    mScale: scales ? m : 1,
                    mScaleAllDimensions: scales ? mAll : 0,
                    attentionFactor: try number("attention_factor", "a number from 0", above: 0)
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
