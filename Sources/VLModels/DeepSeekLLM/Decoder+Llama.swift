import VLTensor

extension Decoder {
    /// Llama, as DeepSeek-LLM and DeepSeek-VL use it: class `LlamaForCausalLM` of transformers.
    ///
    /// - Parameter onLayer: called with the number of layers read, for a progress bar.
    package init(
        _ config: LlamaConfig,
        _ weights: Weights,
        onLayer: (Int) -> Void = { _ in }
    ) throws(LoadError) {
        let sizes = DecoderSizes(
            hiddenSize: config.hiddenSize,
            vocabularySize: config.vocabularySize,
            layers: config.layers,
            maxPositions: config.maxPositions,
            epsilon: config.epsilon,
            tiedEmbeddings: config.tiedEmbeddings,
            cacheWidth: 2 * config.keyValueHeads * config.headSize,
            cacheUnit: config.headSize,
            activeParameters: config.activeParameters
        )
        try self.init(sizes, weights, onLayer: onLayer) { (_, weights) throws(LoadError) in
            try DecoderLayer(config, weights)
        }
    }
}

extension DecoderLayer {
    /// A layer of Llama.
    init(_ config: LlamaConfig, _ weights: Weights) throws(LoadError) {
        inputNorm = try RMSNorm(config.hiddenSize, config.epsilon, weights["input_layernorm"])
        attention = .grouped(
            try GroupedAttention(
                heads: config.heads,
                keyValueHeads: config.keyValueHeads,
                headSize: config.headSize,
                hiddenSize: config.hiddenSize,
                bias: config.attentionBias,
                Rotary(size: config.headSize, theta: config.ropeTheta, scaling: config.ropeScaling),
                layout: config.rotaryLayout,
                weights["self_attn"]
            )
        )
        outputNorm = try RMSNorm(config.hiddenSize, config.epsilon, weights["post_attention_layernorm"])
        feedForward = .dense(
            try GatedFeedForward(config.hiddenSize, config.innerSize, bias: config.mlpBias, weights["mlp"])
        )
    }
}
