import VLTensor

/// What a configuration says of its language model, for listings.
package struct ModelFacts: Sendable {
    package var layers: Int
    package var hiddenSize: Int
    package var vocabularySize: Int
    /// Positions that the model was made for.
    package var maxPositions: Int
    /// Weights that one token's forward pass reads.
    package var activeParameters: Int
    /// Experts of a layer, and how many of them a token passes; nil for none.
    package var experts: (count: Int, chosen: Int)?
    /// Elements of a cached position in one layer.
    package var cacheWidth: Int

    package init(_ config: LlamaConfig) {
        layers = config.layers
        hiddenSize = config.hiddenSize
        vocabularySize = config.vocabularySize
        maxPositions = config.maxPositions
        activeParameters = config.activeParameters
        experts = nil
        cacheWidth = 2 * config.keyValueHeads * config.headSize
    }

    package init(_ config: DeepSeekMoEConfig) {
        layers = config.layers.count
        hiddenSize = config.hiddenSize
        vocabularySize = config.vocabularySize
        maxPositions = config.maxPositions
        activeParameters = config.activeParameters
        experts = nil
        cacheWidth = config.cacheWidth
        for case .experts(let found) in config.layers { experts = (found.count, found.chosen) }
    }

    /// Bytes of a cached position.
    package func cacheBytes(_ type: DType) -> Int {
        CacheLayout(layers: layers, width: cacheWidth, type: type).bytesPerToken
    }
}
