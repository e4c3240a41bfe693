import VLText

/// DeepSeek-V2's language models without eyes, in the registry.
enum DeepSeekMoEFamily: ModelFamily {
    static let modelTypes = ["deepseek_v2"]

    static func network(
        _ config: ConfigReader,
        _ weights: Weights,
        onLayer: (Int, Int) -> Void
    ) throws(LoadError) -> Network {
        let config = try DeepSeekMoEConfig(config)
        let decoder = try Decoder(config, weights) { onLayer($0, config.layers.count) }
        return Network(language: decoder, vision: nil, weightType: decoder.weightType)
    }

    static func parameterCount(_ config: ConfigReader) throws(LoadError) -> Int {
        try DeepSeekMoEConfig(config).parameterCount
    }

    static func language(_ config: ConfigReader) throws(LoadError) -> GGUFConfig {
        .deepSeek(try DeepSeekMoEConfig(config))
    }

    static func facts(_ config: ConfigReader) throws(LoadError) -> ModelFacts {
        ModelFacts(try DeepSeekMoEConfig(config))
    }

    static func isUnused(_ tensor: String) -> Bool { tensor.hasSuffix(".rotary_emb.inv_freq") }

    static func processor(_ folder: ModelFolder) throws(LoadError) -> (any Processor, endTokens: [Int32]) {
        try folder.textProcessor(vocabularySize: DeepSeekMoEConfig(folder.config).vocabularySize)
    }
}
