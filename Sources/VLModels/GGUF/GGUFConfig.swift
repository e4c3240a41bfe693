import VLFormats
import VLJSON
import VLTensor

/// What a GGUF file's metadata says of its network.
package enum GGUFConfig: Sendable, Equatable {
    case llama(LlamaConfig)
    case deepSeek(DeepSeekMoEConfig)

    /// Values of `general.architecture` that can be loaded.
    package static let architectures = ["llama", "deepseek", "deepseek2", "deepseek2-ocr"]

    /// - Throws: `LoadError.field` for a value that is missing, of another kind or out of range, `.unsupported` for an
    ///   architecture or a part of one that is not built.
    init(_ fields: GGUFFields, _ store: WeightStore) throws(LoadError) {
        let architecture = try fields.text("general.architecture")
        let keys = Keys(fields, architecture, store)
        switch architecture {
        case "llama": self = .llama(try LlamaConfig(keys))
        case "deepseek", "deepseek2", "deepseek2-ocr": self = .deepSeek(try DeepSeekMoEConfig(keys))
        default:
            throw .unsupported(
                file: fields.file,
                what: "general.architecture \"\(architecture.excerpt(limit: 40))\"",
                known: Self.architectures.map { "\"\($0)\"" }.joined(separator: ", ")
            )
        }
    }

    /// Experts of a layer; 0 for a model without.
    var experts: Int {
        guard case .deepSeek(let config) = self else { return 0 }
        for case .experts(let experts) in config.layers { return experts.count }
        return 0
    }

    /// The same network with the rows of queries and keys as a folder has them.
    package var unturned: GGUFConfig {
        switch self {
        case .llama(var config):
            config.rotaryLayout = .halves
            return .llama(config)
        case .deepSeek(var config):
            config.rotaryLayout = .halves
            return .deepSeek(config)
        }
    }

    package var vocabularySize: Int {
        switch self {
        case .llama(let config): config.vocabularySize
        case .deepSeek(let config): config.vocabularySize
        }
    }

    /// The network over weights under Hugging Face names.
    ///
    /// - Throws: `LoadError`.
    func network(_ weights: Weights, onLayer: (Int, Int) -> Void) throws(LoadError) -> Network {
        let decoder: Decoder
        switch self {
        case .llama(let config): decoder = try Decoder(config, weights) { onLayer($0, config.layers) }
        case .deepSeek(let config):
            decoder = try Decoder(config, weights) { onLayer($0, config.layers.count) }
        }
        return Network(language: decoder, vision: nil, weightType: decoder.weightType)
    }
}

extension GGUFConfig {
    /// An architecture's keys, with what all architectures have in common.
    struct Keys {
        let reader: ConfigReader
        let architecture: String
        let store: WeightStore
        private let tokenCount: Int?

        init(_ fields: GGUFFields, _ architecture: String, _ store: WeightStore) {
            reader = fields.config
            self.architecture = architecture
            self.store = store
            tokenCount = fields.gguf["tokenizer.ggml.tokens"]?.asArray?.count
        }

        func key(_ name: String) -> String { architecture + "." + name }

        func int(
            _ name: String,
            _ range: ClosedRange<Int>,
            default fallback: Int? = nil
        ) throws(LoadError) -> Int {
            try reader.int(key(name), range, default: fallback)
        }

        func positive(_ name: String, default fallback: Double? = nil) throws(LoadError) -> Double {
            try reader.double(key(name), default: fallback, "a number above 0") { $0 > 0 && $0 <= 1e12 }
        }

        func contains(_ name: String) -> Bool { reader.contains(key(name)) }

        func error(_ name: String, expected: String, found: String) -> LoadError {
            reader.error(key(name), expected: expected, found: found)
        }

        /// Whether the file has a tensor; the first layer's stands for all.
        func hasTensor(_ name: String) -> Bool { store.peek(name) != nil }

        var hiddenSize: Int { get throws(LoadError) { try int("embedding_length", 1...1_048_576) } }
        var layers: Int { get throws(LoadError) { try int("block_count", 1...1024) } }
        var heads: Int { get throws(LoadError) { try int("attention.head_count", 1...4096) } }
        var maxPositions: Int { get throws(LoadError) { try int("context_length", 1...16_777_216) } }
        var innerSize: Int { get throws(LoadError) { try int("feed_forward_length", 1...4_194_304) } }
        var theta: Double {
            get throws(LoadError) {
                try reader.double(key("rope.freq_base"), default: 10000, "a number above 1") {
                    $0 > 1 && $0 <= 1e12
                }
            }
        }
        var epsilon: Float {
            get throws(LoadError) {
                Float(
                    try reader.double(key("attention.layer_norm_rms_epsilon"), "a number above 0") {
                        $0 > 0 && $0 < 1
                    }
                )
            }
        }

        /// Key and value heads: one number, or nothing for as many as query heads.
        func keyValueHeads(_ heads: Int) throws(LoadError) -> Int {
            let found = try int("attention.head_count_kv", 1...4096, default: heads)
            guard heads % found == 0 else {
                throw error(
                    "attention.head_count_kv",
                    expected: "a divisor of attention.head_count (\(heads))",
                    found: "\(found)"
                )
            }
            return found
        }

        /// Width of a head where queries, keys and values are alike and rotated whole.
        func headSize(_ hiddenSize: Int, _ heads: Int) throws(LoadError) -> Int {
            let size = try int("attention.key_length", 2...65536, default: hiddenSize / heads)
            guard contains("attention.key_length") || hiddenSize % heads == 0, size % 2 == 0, size > 0 else {
                throw error(
                    "attention.head_count",
                    expected: "heads of equal, even width for embedding_length \(hiddenSize)",
                    found: "\(heads)"
                )
            }
            for name in ["attention.value_length", "rope.dimension_count"] {
                let found = try int(name, 0...65536, default: size)
                guard found == size else {
                    throw error(name, expected: "the width of a head (\(size))", found: "\(found)")
                }
            }
            return size
        }

        var vocabularySize: Int {
            get throws(LoadError) {
                if contains("vocab_size") { return try int("vocab_size", 1...16_777_216) }
                guard let tokenCount, tokenCount > 0 else {
                    throw error(
                        "vocab_size",
                        expected: "a whole number, or a list of tokens",
                        found: "neither"
                    )
                }
                return tokenCount
            }
        }

        /// Refuses an architecture's variant that this reader does not build.
        func refuse(_ name: String, known: String) -> LoadError {
            .unsupported(file: reader.file, what: key(name), known: known)
        }

        /// `rope.scaling.*`.
        ///
        /// - Parameter scalesByFactor: whether YaRN without a multiplier scales by 0.1 ln(factor) + 1, as for Llama.
        func ropeScaling(scalesByFactor: Bool) throws(LoadError) -> RopeScaling {
            guard let type = try reader.string(key("rope.scaling.type")) else {
                // Files from before there were types.
                guard contains("rope.scale_linear") else { return .none }
                let factor = try positive("rope.scale_linear")
                return factor == 1 ? .none : .linear(factor: factor)
            }
            switch type {
            case "none": return .none
            case "linear": return .linear(factor: try positive("rope.scaling.factor"))
            case "yarn":
                // llama.cpp keeps a tenth of DeepSeek's `mscale_all_dim`, which its files have equal to `mscale`.
                let multiplier = try reader.double(
                    key("rope.scaling.yarn_log_multiplier"),
                    default: 0,
                    "a number from 0 to 10"
                ) { $0 >= 0 && $0 <= 10 }
                // The file's float32 of 0.0707 is meant to be that number.
                let m = (multiplier * 1e7).rounded() / 1e6
                return .yarn(
                    RopeScaling.YaRN(
                        factor: try positive("rope.scaling.factor"),
                        originalMaxPositions: try int(
                            "rope.scaling.original_context_length",
                            1...16_777_216,
                            default: try maxPositions
                        ),
                        betaFast: try positive("rope.scaling.yarn_beta_fast", default: 32),
                        betaSlow: try positive("rope.scaling.yarn_beta_slow", default: 1),
                        mScale: scalesByFactor ? 1 : m,
                        mScaleAllDimensions: scalesByFactor ? 0 : m
                    )
                )
            default:
                throw .unsupported(
                    file: reader.file,
                    what: "\(key("rope.scaling.type")) \"\(type.excerpt(limit: 40))\"",
                    known: "\"none\", \"linear\", \"yarn\""
                )
            }
        }
    }
}

extension LlamaConfig {
    /// Reads the keys of a GGUF file of architecture "llama".
    init(_ keys: GGUFConfig.Keys) throws(LoadError) {
        let hiddenSize = try keys.hiddenSize
        let heads = try keys.heads
        let experts = try keys.int("expert_count", 0...4096, default: 0)
        let used = try keys.int("expert_used_count", 0...4096, default: 0)
        guard used <= experts else {
            throw keys.error(
                "expert_used_count",
                expected: "at most expert_count (\(experts))",
                found: "\(used)"
            )
        }
        guard experts == 0 else { throw keys.refuse("expert_count \(experts)", known: "0 for llama") }
        self.init(
            hiddenSize: hiddenSize,
            vocabularySize: try keys.vocabularySize,
            layers: try keys.layers,
            heads: heads,
            keyValueHeads: try keys.keyValueHeads(heads),
            headSize: try keys.headSize(hiddenSize, heads),
            innerSize: try keys.innerSize,
            maxPositions: try keys.maxPositions,
            epsilon: try keys.epsilon,
            ropeTheta: try keys.theta,
            ropeScaling: try keys.ropeScaling(scalesByFactor: true),
            rotaryLayout: .pairs,
            tiedEmbeddings: !keys.hasTensor("output.weight"),
            attentionBias: keys.hasTensor("blk.0.attn_q.bias"),
            mlpBias: keys.hasTensor("blk.0.ffn_gate.bias")
        )
    }
}
