import VLFormats
import VLText

/// DeepSeek-VL in the registry.
enum DeepSeekVLFamily: ModelFamily {
    static let modelTypes = ["multi_modality"]

    static func network(
        _ config: ConfigReader,
        _ weights: Weights,
        onLayer: (Int, Int) -> Void
    ) throws(LoadError) -> Network {
        let model = try DeepSeekVL(DeepSeekVLConfig(config), weights, onLayer: onLayer)
        return Network(language: model.decoder, vision: model, weightType: model.decoder.weightType)
    }

    static func parameterCount(_ config: ConfigReader) throws(LoadError) -> Int {
        try DeepSeekVLConfig(config).parameterCount
    }

    static func language(_ config: ConfigReader) throws(LoadError) -> GGUFConfig {
        .llama(try DeepSeekVLConfig(config).language)
    }

    static func facts(_ config: ConfigReader) throws(LoadError) -> ModelFacts {
        ModelFacts(try DeepSeekVLConfig(config).language)
    }

    static func isUnused(_ tensor: String) -> Bool { DeepSeekVL.isUnused(tensor) }

    static func processor(_ folder: ModelFolder) throws(LoadError) -> (any Processor, endTokens: [Int32]) {
        let config = try DeepSeekVLConfig(folder.config)
        guard let imageConfig = try folder.reader("preprocessor_config.json") else {
            throw .format(.noCheckpoint(folder: folder.path, wanted: ["preprocessor_config.json"]))
        }
        let processorConfig = try DeepSeekVLProcessorConfig(
            image: imageConfig,
            processor: folder.reader("processor_config.json"),
            model: config
        )
        let tokenizer = try folder.tokenizer(special: [processorConfig.imageTag])
        guard let language = try folder.config.object("language_config") else {
            throw folder.config.error("language_config", expected: "an object", found: "nothing")
        }
        let (begin, ends) = try folder.boundaryTokens(tokenizer, language: language)
        guard let image = tokenizer.tokenID(of: processorConfig.imageTag) else {
            throw .missingToken(file: "tokenizer.json", token: processorConfig.imageTag)
        }
        try folder.check([begin, image] + ends, below: config.language.vocabularySize, language)
        let processor = DeepSeekVLProcessor(
            processorConfig,
            tokenizer: tokenizer,
            beginToken: begin,
            imageToken: image,
            addsBeginToken: try folder.addsBeginToken()
        )
        return (processor, ends)
    }
}
