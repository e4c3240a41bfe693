import VLText

/// DeepSeek-VL2 in the registry.
enum DeepSeekVL2Family: ModelFamily {
    static let modelTypes = ["deepseek_vl_v2"]

    static func network(
        _ config: ConfigReader,
        _ weights: Weights,
        onLayer: (Int, Int) -> Void
    ) throws(LoadError) -> Network {
        let model = try DeepSeekVL2(DeepSeekVL2Config(config), weights, onLayer: onLayer)
        return Network(language: model.decoder, vision: model, weightType: model.decoder.weightType)
    }

    static func parameterCount(_ config: ConfigReader) throws(LoadError) -> Int {
        try DeepSeekVL2Config(config).parameterCount
    }

    static func language(_ config: ConfigReader) throws(LoadError) -> GGUFConfig {
        .deepSeek(try DeepSeekVL2Config(config).language)
    }

    static func facts(_ config: ConfigReader) throws(LoadError) -> ModelFacts {
        ModelFacts(try DeepSeekVL2Config(config).language)
    }

    static func isUnused(_ tensor: String) -> Bool { DeepSeekVL2.isUnused(tensor) }

    static func processor(_ folder: ModelFolder) throws(LoadError) -> (any Processor, endTokens: [Int32]) {
        let config = try DeepSeekVL2Config(folder.config)
        let processorConfig = try DeepSeekVL2ProcessorConfig(
            folder.reader("processor_config.json"),
            model: config
        )
        // The official processor makes these special tokens, whether or not the tokenizer file does.
        let special = [
            processorConfig.padToken, processorConfig.imageToken, "<|ref|>", "<|/ref|>", "<|det|>",
            "<|/det|>", "<|grounding|>", "<|User|>", "<|Assistant|>",
        ]
        let tokenizer = try folder.tokenizer(special: special)
        guard let language = try folder.config.object("language_config") else {
            throw folder.config.error("language_config", expected: "an object", found: "nothing")
        }
        let (begin, ends) = try folder.boundaryTokens(tokenizer, language: language)
        guard let image = tokenizer.tokenID(of: processorConfig.imageToken) else {
            throw .missingToken(file: "tokenizer.json", token: processorConfig.imageToken)
        }
        try folder.check([begin, image] + ends, below: config.language.vocabularySize, language)
        let processor = try DeepSeekVL2Processor(
            processorConfig,
            model: config,
            tokenizer: tokenizer,
            beginToken: begin,
            endToken: ends[0],
            imageToken: image
        )
        return (processor, ends)
    }
}
