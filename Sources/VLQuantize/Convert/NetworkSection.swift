import VLFormats
import VLModels

/// The keys of a GGUF file that say what the network is (`general.architecture`, `llama.*`, `deepseek2.*`).
struct NetworkSection {
    typealias Pair = (key: String, value: GGUFWriter.Value)

    let architecture: String
    private(set) var pairs: [Pair] = []
    /// Heads of queries, and of keys and values where rows of both are turned for rotation by pairs; nil otherwise.
    private(set) var turned: (queries: Int, keys: Int)?
    /// Sizes of latent attention, whose `kv_b_proj` is split.
    private(set) var latent: DeepSeekMoEConfig.Latent?
    private(set) var experts = 0
    let vocabularySize: Int
    private let form: GGUFForm

    private mutating func add(_ name: String, _ value: GGUFWriter.Value) {
        pairs.append((architecture + "." + name, value))
    }

    private mutating func add(_ name: String, _ value: Int) { add(name, .uint32(UInt32(clamping: value))) }

    /// - Parameters:
    ///   - config: the language model's configuration.
    ///   - form: how the file is laid out.
    ///   - isWhole: whether the file carries the configuration besides, so that these keys need not say all of it.
    init(_ config: LlamaConfig, _ form: GGUFForm, isWhole: Bool) throws(ConvertError) {
        self.form = form
        architecture = "llama"
        vocabularySize = config.vocabularySize
        turned = (config.heads, config.keyValueHeads)
        common(config.layers, config.maxPositions, config.hiddenSize, config.innerSize, config.heads)
        add("attention.head_count_kv", config.keyValueHeads)
        add("attention.key_length", config.headSize)
        add("attention.value_length", config.headSize)
        add("rope.dimension_count", config.headSize)
        add("rope.freq_base", .float32(Float(config.ropeTheta)))
        add("attention.layer_norm_rms_epsilon", .float32(config.epsilon))
        try scaling(config.ropeScaling, isWhole)
    }

    /// - Parameters: as for Llama.
    init(_ config: DeepSeekMoEConfig, _ form: GGUFForm, isWhole: Bool) throws(ConvertError) {
        self.form = form
        var leading = 0
        var innerSize = 0
        var mixture: DeepSeekMoEConfig.Experts?
        var isPlain = true
        for kind in config.layers {
            switch kind {
            case .dense(let size):
                innerSize = size
                leading += 1
                if mixture != nil { isPlain = false }
            case .experts(let found):
                if innerSize == 0 { innerSize = found.innerSize }
                mixture = found
            }
        }
        guard isPlain else {
            throw .inexpressible(
                file: "config.json",
                what: "moe_layer_freq",
                expected: "experts in all layers behind the first dense ones",
                found: "dense layers behind them"
            )
        }
        vocabularySize = config.vocabularySize
        switch config.attention {
        case .latent: architecture = "deepseek2"
        case .grouped: architecture = form.turnsRows ? "deepseek" : "deepseek2-ocr"
        }
        switch config.attention {
        case .latent(let sizes):
            common(config.layers.count, config.maxPositions, config.hiddenSize, innerSize, sizes.heads)
            if !form.joinsLatent { latent = sizes }
            // The latent is one head of keys to all heads of queries.
            add("attention.head_count_kv", form.joinsLatent ? sizes.heads : 1)
            if let rank = sizes.queryRank { add("attention.q_lora_rank", rank) }
            add("attention.kv_lora_rank", sizes.rank)
            if !form.joinsLatent {
                add("attention.key_length", sizes.rank + sizes.ropeSize)
                add("attention.value_length", sizes.rank)
            }
            let ending = form.joinsLatent ? "" : "_mla"
            add("attention.key_length\(ending)", sizes.plainSize + sizes.ropeSize)
            add("attention.value_length\(ending)", sizes.valueSize)
            add("rope.dimension_count", sizes.ropeSize)
        case .grouped(let heads, let keyValueHeads, let headSize):
            if form.turnsRows { turned = (heads, keyValueHeads) }
            common(config.layers.count, config.maxPositions, config.hiddenSize, innerSize, heads)
            add("attention.head_count_kv", keyValueHeads)
            add("attention.key_length", headSize)
            add("attention.value_length", headSize)
            add("rope.dimension_count", headSize)
        }
        add("rope.freq_base", .float32(Float(config.ropeTheta)))
        add("attention.layer_norm_rms_epsilon", .float32(config.epsilon))
        try scaling(config.ropeScaling, isWhole)
        add("leading_dense_block_count", leading)
        if let mixture { try describe(mixture) }
    }

    private mutating func common(_ layers: Int, _ context: Int, _ width: Int, _ inner: Int, _ heads: Int) {
        add("block_count", layers)
        add("context_length", context)
        add("embedding_length", width)
        add("feed_forward_length", inner)
        add("vocab_size", vocabularySize)
        add("attention.head_count", heads)
    }

    private mutating func describe(_ mixture: DeepSeekMoEConfig.Experts) throws(ConvertError) {
        experts = mixture.count
        add("expert_count", mixture.count)
        add("expert_used_count", mixture.chosen)
        add("expert_feed_forward_length", mixture.innerSize)
        add("expert_shared_count", mixture.sharedInnerSize / mixture.innerSize)
        // Greedy choice knows no groups, whatever the configuration counts.
        if mixture.choice != .greedy {
            add("expert_group_count", mixture.groups)
            add("expert_group_used_count", mixture.chosenGroups)
        }
        add("expert_weights_scale", .float32(mixture.scalingFactor))
        add("expert_weights_norm", .bool(mixture.normalizeWeights))
        add("expert_gating_func", mixture.scoring == .softmax ? 1 : 2)
    }

    private mutating func scaling(_ scaling: RopeScaling, _ isWhole: Bool) throws(ConvertError) {
        func refuse(_ expected: String, _ found: String) -> ConvertError {
            .inexpressible(file: "config.json", what: "rope_scaling", expected: expected, found: found)
        }
        // The readers of this architecture know no scaling.
        if architecture != "llama", architecture != "deepseek2", scaling != .none, !isWhole {
            throw refuse("none with whole heads", "\(scaling)")
        }
        switch scaling {
        case .none: break
        case .linear(let factor):
            add("rope.scaling.type", .text("linear"))
            add("rope.scaling.factor", .float32(Float(factor)))
        case .yarn(let yarn):
            let isLlama = architecture == "llama"
            let fits =
                isLlama
                ? yarn.mScale == 1 && yarn.mScaleAllDimensions == 0 : yarn.mScale == yarn.mScaleAllDimensions
            guard isWhole || (fits && yarn.attentionFactor == nil) else {
                throw refuse(
                    isLlama ? "YaRN's own scale" : "mscale equal to mscale_all_dim, and no attention_factor",
                    "mscale \(yarn.mScale), mscale_all_dim \(yarn.mScaleAllDimensions)"
                )
            }
            add("rope.scaling.type", .text("yarn"))
            add("rope.scaling.factor", .float32(Float(yarn.factor)))
            add("rope.scaling.original_context_length", yarn.originalMaxPositions)
            add("rope.scaling.yarn_beta_fast", .float32(Float(yarn.betaFast)))
            add("rope.scaling.yarn_beta_slow", .float32(Float(yarn.betaSlow)))
            if !isLlama {
                add("rope.scaling.yarn_log_multiplier", .float32(Float(yarn.mScaleAllDimensions * 0.1)))
            }
        }
    }
}
