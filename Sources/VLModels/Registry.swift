import VLFormats
import VLTensor
import VLText

/// A model that is ready: its network, its processor, its tokenizer.
package struct LoadedModel: Sendable {
    /// What messages call it: the folder's last component.
    package var name: String
    /// `model_type`.
    package var architecture: String
    package var language: any LanguageModel
    /// Nil for a model that sees nothing.
    package var vision: (any VisionEncoder)?
    package var processor: any Processor
    package var tokenizer: Tokenizer
    /// Tokens that end an answer.
    package var endTokens: [Int32]
    /// Bytes of all weights that the model reads.
    package var weightBytes: Int
    /// Type of the language model's matrices.
    package var weightType: DType
}

/// A family's networks over some weights.
package struct Network: Sendable {
    package var language: any LanguageModel
    /// Nil for a model that sees nothing.
    package var vision: (any VisionEncoder)?
    /// Type of the language model's matrices.
    package var weightType: DType
}

/// The one table of model families: a new one is a row here and a folder beside.
package enum Registry {
    /// `model_type`s that can be loaded.
    package static let modelTypes = ["deepseek_vl_v2"]

    /// Loads the model of a folder.
    ///
    /// - Parameters:
    ///   - policy: in which types the matrices run.
    ///   - onLayer: called with (layers read, layers in all).
    /// - Throws: `LoadError`.
    package static func load(
        _ path: String,
        run: Run,
        policy: WeightPolicy = WeightPolicy(),
        onLayer: (Int, Int) -> Void = { _, _ in }
    ) throws(LoadError) -> LoadedModel {
        let folder = try ModelFolder(path)
        switch folder.modelType {
        case "deepseek_vl_v2": return try loadVL2(folder, run, policy, onLayer)
        default: throw unknown(folder.modelType)
        }
    }

    private static func loadVL2(
        _ folder: ModelFolder,
        _ run: Run,
        _ policy: WeightPolicy,
        _ onLayer: (Int, Int) -> Void
    ) throws(LoadError) -> LoadedModel {
        let config = try DeepSeekVL2Config(folder.config)
        let (processor, ends) = try vl2Processor(folder, config)
        let store: WeightStore
        do throws(FormatError) {
            store = try WeightStore.open(folder.path)
        } catch {
            throw .format(error)
        }
        let source = CheckpointWeights(store)
        let loader = WeightLoader(source, run, policy: policy)
        let network = try vl2Network(config, Weights(loader), onLayer)
        try source.requireAllRead(except: DeepSeekVL2.isUnused)
        return LoadedModel(
            name: folder.path.split(separator: "/").last.map(String.init) ?? folder.path,
            architecture: folder.modelType,
            language: network.language,
            vision: network.vision,
            processor: processor,
            tokenizer: processor.tokenizer,
            endTokens: ends,
            weightBytes: loader.byteCount,
            weightType: network.weightType
        )
    }

    /// The networks that a configuration describes, over weights of any source.
    ///
    /// - Throws: `LoadError`.
    package static func network(
        _ config: ConfigReader,
        _ weights: Weights,
        onLayer: (Int, Int) -> Void = { _, _ in }
    ) throws(LoadError) -> Network {
        let type = try ModelFolder.modelType(config)
        switch type {
        case "deepseek_vl_v2": return try vl2Network(DeepSeekVL2Config(config), weights, onLayer)
        default: throw unknown(type)
        }
    }

    /// Weights of the model that a configuration describes.
    ///
    /// - Throws: `LoadError`.
    package static func parameterCount(_ config: ConfigReader) throws(LoadError) -> Int {
        let type = try ModelFolder.modelType(config)
        switch type {
        case "deepseek_vl_v2": return try DeepSeekVL2Config(config).parameterCount
        default: throw unknown(type)
        }
    }

    private static func unknown(_ modelType: String) -> LoadError {
        .unsupported(
            file: "config.json",
            what: "model_type \"\(modelType)\"",
            known: modelTypes.map { "\"\($0)\"" }.joined(separator: ", ")
        )
    }

    private static func vl2Network(
        _ config: DeepSeekVL2Config,
        _ weights: Weights,
        _ onLayer: (Int, Int) -> Void
    ) throws(LoadError) -> Network {
        let model = try DeepSeekVL2(config, weights, onLayer: onLayer)
        return Network(language: model.decoder, vision: model, weightType: model.decoder.weightType)
    }

    /// The processor of a DeepSeek-VL2 folder, without its weights.
    private static func vl2Processor(
        _ folder: ModelFolder,
        _ config: DeepSeekVL2Config
    ) throws(LoadError) -> (DeepSeekVL2Processor, [Int32]) {
        let processorConfig = try DeepSeekVL2ProcessorConfig(
            folder.reader("processor_config.json"),
            model: config
        )
        // The official processor makes these special tokens, whether or not the tokenizer file does.
        let special = [
            processorConfig.padToken, processorConfig.imageToken, "<|ref|>", "<|/ref|>", "<|det|>",
            "<|/det|>",
            "<|grounding|>", "<|User|>", "<|Assistant|>",
        ]
        let tokenizer = try folder.tokenizer(special: special)
        guard let language = try folder.config.object("language_config") else {
            throw folder.config.error("language_config", expected: "an object", found: "nothing")
        }
        let (begin, ends) = try folder.boundaryTokens(tokenizer, language: language)
        guard let image = tokenizer.tokenID(of: processorConfig.imageToken) else {
            throw .missingToken(file: "tokenizer.json", token: processorConfig.imageToken)
        }
        for id in [begin, image] + ends where Int(id) >= config.language.vocabularySize {
            throw .field(
                file: "config.json",
                field: "language_config.vocab_size",
                expected: "more than the token id \(id)",
                found: "\(config.language.vocabularySize)"
            )
        }
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

    /// The processor of a folder, for commands that need no weights.
    ///
    /// - Throws: `LoadError`.
    package static func processor(_ path: String) throws(LoadError) -> any Processor {
        let folder = try ModelFolder(path)
        guard folder.modelType == "deepseek_vl_v2" else { throw unknown(folder.modelType) }
        return try vl2Processor(folder, DeepSeekVL2Config(folder.config)).0
    }

    /// The tokenizer of a folder or of a `tokenizer.json`.
    ///
    /// - Throws: `LoadError`.
    package static func tokenizer(_ path: String) throws(LoadError) -> Tokenizer {
        if path.hasSuffix(".json") {
            do {
                return try Tokenizer(json: FileContents.read(path, limit: FileContents.jsonLimit), file: path)
            } catch let error as FormatError {
                throw .format(error)
            } catch let error as TokenizerError {
                throw .tokenizer(description: error.description)
            } catch {
                throw .tokenizer(description: "\(error)")
            }
        }
        let folder = try ModelFolder(path)
        if folder.modelType == "deepseek_vl_v2" {
            return try vl2Processor(folder, DeepSeekVL2Config(folder.config)).0.tokenizer
        }
        return try folder.tokenizer()
    }
}
