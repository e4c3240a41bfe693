import VLTensor

extension Decoder {
    /// DeepSeek-V2's language model with mixtures of experts, as DeepSeek-VL2 uses it: class
    /// `DeepseekV2ForCausalLM` of the official `modeling_deepseek.py`.
    ///
    /// - Parameter onLayer: called with the number of layers read, for a progress bar.
    package init(
        _ config: DeepSeekMoEConfig,
        _ weights: Weights,
        onLayer: (Int) -> Void = { _ in }
    ) throws(LoadError) {
        let sizes = DecoderSizes(
            hiddenSize: config.hiddenSize,
            vocabularySize: config.vocabularySize,
            layers: config.layers.count,
            maxPositions: config.maxPositions,
            epsilon: config.epsilon,
            tiedEmbeddings: config.tiedEmbeddings,
            cacheWidth: config.cacheWidth,
            cacheUnit: config.cacheUnit,
            activeParameters: config.activeParameters
        )
        try self.init(sizes, weights, onLayer: onLayer) { (index, weights) throws(LoadError) in
            try DecoderLayer(config, config.layers[index], weights)
        }
    }
}

extension DecoderLayer {
    /// A layer of DeepSeek-V2.
    init(
        _ config: DeepSeekMoEConfig,
        _ kind: DeepSeekMoEConfig.FeedForwardKind,
        _ weights: Weights
    ) throws(LoadError) {
        inputNorm = try RMSNorm(config.hiddenSize, config.epsilon, weights["input_layernorm"])
        switch config.attention {
        case .latent(let latent):
            attention = .latent(try LatentAttention(latent, config, weights["self_attn"]))
        case .grouped(let heads, let keyValueHeads, let headSize):
            attention = .grouped(
                try GroupedAttention(
                    heads: heads,
                    keyValueHeads: keyValueHeads,
                    headSize: headSize,
                    hiddenSize: config.hiddenSize,
                    bias: config.attentionBias,
                    Rotary(size: headSize, theta: config.ropeTheta, scaling: config.ropeScaling),
                    layout: config.rotaryLayout,
                    weights["self_attn"]
                )
            )
        }
        outputNorm = try RMSNorm(config.hiddenSize, config.epsilon, weights["post_attention_layernorm"])
        switch kind {
        case .dense(let innerSize):
            feedForward = .dense(try GatedFeedForward(config.hiddenSize, innerSize, weights["mlp"]))
        case .experts(let experts):
            feedForward = .experts(try Experts(config.hiddenSize, experts, weights["mlp"]))
        }
    }
}
