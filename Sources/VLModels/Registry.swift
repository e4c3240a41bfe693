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
    /// Names of its matrices in a Hugging Face checkpoint (those of a GGUF file, too), by `WeightMatrix.Origin.index`.
    package var weightNames: [String]
    /// Type of the language model's matrices.
    package var weightType: DType

    /// A model of networks whose weights a loader has read.
    init(
        name: String,
        architecture: String,
        _ network: Network,
        _ processor: any Processor,
        endTokens: [Int32],
        _ loader: WeightLoader
    ) {
        self.name = name
        self.architecture = architecture
        language = network.language
        vision = network.vision
        self.processor = processor
        tokenizer = processor.tokenizer
        self.endTokens = endTokens
        weightBytes = loader.byteCount
        weightNames = loader.names
        weightType = network.weightType
    }
}

/// A family's networks over some weights.
package struct Network: Sendable {
    package var language: any LanguageModel
    /// Nil for a model that sees nothing.
    package var vision: (any VisionEncoder)?
    /// Type of the language model's matrices.
    package var weightType: DType
}

/// What the registry knows of a model family: how its parts are made from a configuration.
package protocol ModelFamily: SendableMetatype {
    /// `model_type`s of its configurations.
    static var modelTypes: [String] { get }

    /// The networks that a configuration describes, over weights of any source.
    ///
    /// - Parameter onLayer: called with (layers read, layers in all).
    static func network(
        _ config: ConfigReader,
        _ weights: Weights,
        onLayer: (Int, Int) -> Void
    ) throws(LoadError) -> Network
    /// Weights of the model that a configuration describes, about.
    static func parameterCount(_ config: ConfigReader) throws(LoadError) -> Int
    /// The language model that a configuration describes.
    static func language(_ config: ConfigReader) throws(LoadError) -> GGUFConfig
    /// What a configuration says of its language model.
    static func facts(_ config: ConfigReader) throws(LoadError) -> ModelFacts
    /// The processor of a folder, without its weights, and the tokens that end an answer.
    static func processor(_ folder: ModelFolder) throws(LoadError) -> (any Processor, endTokens: [Int32])
    /// Whether published checkpoints hold a tensor that the model does not use.
    static func isUnused(_ tensor: String) -> Bool
}

/// The one table of model families: a new one is a row here and a folder beside.
package enum Registry {
    package static let families: [any ModelFamily.Type] = [
        DeepSeekVL2Family.self, DeepSeekVLFamily.self, DeepSeekLLMFamily.self, DeepSeekMoEFamily.self,
    ]

    /// `model_type`s that can be loaded.
    package static var modelTypes: [String] { families.flatMap { $0.modelTypes } }

    /// The family of a `model_type`.
    ///
    /// - Throws: `LoadError.unsupported`.
    package static func family(_ modelType: String) throws(LoadError) -> any ModelFamily.Type {
        if let family = families.first(where: { $0.modelTypes.contains(modelType) }) { return family }
        throw .unsupported(
            file: "config.json",
            what: "model_type \"\(modelType)\"",
            known: modelTypes.map { "\"\($0)\"" }.joined(separator: ", ")
        )
    }

    /// Loads the model of a folder or of a GGUF file.
    ///
    /// - Parameters:
    ///   - vision: the GGUF file that holds what sees, where that is another than `path` and its name does not say so.
    ///   - policy: in which types the matrices run.
    ///   - onLayer: called with (layers read, layers in all).
    /// - Throws: `LoadError`.
    package static func load(
        _ path: String,
        vision: String? = nil,
        run: Run,
        policy: WeightPolicy = WeightPolicy(),
        onLayer: (Int, Int) -> Void = { _, _ in }
    ) throws(LoadError) -> LoadedModel {
        if let model = try GGUFModel(at: path, vision: vision) { return try model.load(run, policy, onLayer) }
        try refuse(vision, beside: path)
        let folder = try ModelFolder(path)
        let family = try family(folder.modelType)
        let (processor, ends) = try family.processor(folder)
        let store: WeightStore
        do throws(FormatError) {
            store = try WeightStore.open(folder.path)
        } catch {
            throw .format(error)
        }
        let packing = try PackedFormat(folder, hasCodes: store.hasCodes)
        let source = CheckpointWeights(store, packing: packing, run: run)
        let loader = WeightLoader(source, run, policy: policy)
        var network = try family.network(folder.config, Weights(loader), onLayer: onLayer)
        try source.requireAllRead(except: family.isUnused)
        // The embedding, which stands for the matrices elsewhere, is not packed.
        if let type = source.packedType, policy.language == nil { network.weightType = type }
        return LoadedModel(
            name: folder.path.split(separator: "/").last.map(String.init) ?? folder.path,
            architecture: folder.modelType,
            network,
            processor,
            endTokens: ends,
            loader
        )
    }

    /// Refuses a file of what sees beside anything but a GGUF file.
    ///
    /// - Throws: `LoadError.unsupported`.
    package static func refuse(_ vision: String?, beside path: String) throws(LoadError) {
        guard vision != nil else { return }
        throw .unsupported(
            file: path,
            what: "a model that is no GGUF file with a file of what sees beside it",
            known: "a GGUF file"
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
        try family(ModelFolder.modelType(config)).network(config, weights, onLayer: onLayer)
    }

    /// Weights of the model that a configuration describes.
    ///
    /// - Throws: `LoadError`.
    package static func parameterCount(_ config: ConfigReader) throws(LoadError) -> Int {
        try family(ModelFolder.modelType(config)).parameterCount(config)
    }

    /// The processor of a folder or of a GGUF file, for commands that need no weights.
    ///
    /// - Throws: `LoadError`.
    package static func processor(_ path: String) throws(LoadError) -> any Processor {
        if let model = try GGUFModel(at: path) { return try model.processor().0 }
        let folder = try ModelFolder(path)
        return try family(folder.modelType).processor(folder).0
    }

    /// The tokenizer of a folder, of a `tokenizer.json` or of a GGUF file.
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
        if let model = try GGUFModel(at: path) { return try model.processor().0.tokenizer }
        let folder = try ModelFolder(path)
        // A family whose model we do not know may still have a tokenizer that we do.
        guard let family = try? family(folder.modelType) else { return try folder.tokenizer() }
        return try family.processor(folder).0.tokenizer
    }
}
