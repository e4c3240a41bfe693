import VLText

/// DeepSeek-LLM, and other Llama decoders with a tokenizer that we know, in the registry.
enum DeepSeekLLMFamily: ModelFamily {
    static let modelTypes = ["llama"]

    static func network(
        _ config: ConfigReader,
        _ weights: Weights,
        onLayer: (Int, Int) -> Void
    ) throws(LoadError) -> Network {
        let config = try LlamaConfig(config)
        let decoder = try Decoder(config, weights) { onLayer($0, config.layers) }
        return Network(language: decoder, vision: nil, weightType: decoder.weightType)
    }

    static func parameterCount(_ config: ConfigReader) throws(LoadError) -> Int {
        try LlamaConfig(config).parameterCount
    }

    static func language(_ config: ConfigReader) throws(LoadError) -> GGUFConfig {
        .llama(try LlamaConfig(config))
    }

    static func facts(_ config: ConfigReader) throws(LoadError) -> ModelFacts {
        ModelFacts(try LlamaConfig(config))
    }

    static func isUnused(_ tensor: String) -> Bool { tensor.hasSuffix(".rotary_emb.inv_freq") }

    static func processor(_ folder: ModelFolder) throws(LoadError) -> (any Processor, endTokens: [Int32]) {
        try folder.textProcessor(vocabularySize: LlamaConfig(folder.config).vocabularySize)
    }
}
