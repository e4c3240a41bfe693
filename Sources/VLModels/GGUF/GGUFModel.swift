import VLFormats
import VLTensor
import VLText

/// A model in a GGUF file, as the registry sees it.
package struct GGUFModel {
    package let gguf: GGUF
    package let store: WeightStore
    let fields: GGUFFields

    /// The file's name without folders.
    package var file: String { gguf.file.name }

    /// Opens what a path leads to if that is a GGUF file, or a folder without a `config.json` that holds just one; nil
    /// for anything else.
    ///
    /// - Throws: `LoadError.format` for a damaged file, `.unsupported` for one of several parts.
    package init?(at path: String) throws(LoadError) {
        do throws(FormatError) {
            guard let found = try Self.find(path) else { return nil }
            gguf = try GGUF.open(found)
        } catch {
            throw .format(error)
        }
        store = WeightStore(gguf)
        fields = GGUFFields(gguf, file: gguf.file.name)
        let parts = try fields.config.int("split.count", 0...65535, default: 0)
        guard parts <= 1 else {
            throw .unsupported(
                file: file,
                what: "a model in \(parts) files",
                known: "one file (llama-gguf-split --merge makes it)"
            )
        }
    }

    /// The GGUF file that a path leads to.
    private static func find(_ path: String) throws(FormatError) -> String? {
        let folder = path.hasSuffix("/") ? path : path + "/"
        if let names = try FileContents.names(in: path, endingIn: ".gguf") {
            return names.count == 1 && !FileContents.exists(folder + "config.json") ? folder + names[0] : nil
        }
        if path.hasSuffix(".gguf") { return path }
        return try FileContents.first(GGUF.magic.count, of: path) == GGUF.magic ? path : nil
    }

    /// What the metadata say of the network.
    ///
    /// - Throws: `LoadError`.
    package func config() throws(LoadError) -> GGUFConfig { try GGUFConfig(fields, store) }

    /// The tokenizer section.
    ///
    /// - Throws: `LoadError`.
    func tokenizer() throws(LoadError) -> GGUFTokenizer { try GGUFTokenizer(gguf, file: file) }

    /// How conversations are written.
    ///
    /// - Throws: `LoadError.field` for a template that is no text.
    package func chatTemplate() throws(LoadError) -> ChatTemplate {
        ChatTemplate(program: try fields.config.string("tokenizer.chat_template"))
    }

    /// The processor, and the tokens that end an answer.
    ///
    /// - Throws: `LoadError`.
    func processor() throws(LoadError) -> (any Processor, endTokens: [Int32]) {
        if let folder = try folder() { return try Registry.family(folder.modelType).processor(folder) }
        let section = try tokenizer()
        guard let end = section.ends.first else {
            throw .missingToken(file: file, token: "tokenizer.ggml.eos_token_id")
        }
        let processor = TextProcessor(
            section.tokenizer,
            template: try chatTemplate(),
            beginToken: section.begin ?? end,
            endToken: end,
            addsBeginToken: section.addsBegin && section.begin != nil
        )
        return (processor, section.ends)
    }

    /// The whole model.
    ///
    /// - Throws: `LoadError`.
    func load(
        _ run: Run,
        _ policy: WeightPolicy,
        _ onLayer: (Int, Int) -> Void
    ) throws(LoadError) -> LoadedModel {
        if let folder = try folder() { return try load(folder, run, policy, onLayer) }
        let config = try config()
        let (processor, ends) = try processor()
        guard processor.tokenizer.vocabularySize <= config.vocabularySize else {
            throw fields.config.error(
                "tokenizer.ggml.tokens",
                expected: "at most as many as the network has (\(config.vocabularySize))",
                found: "\(processor.tokenizer.vocabularySize)"
            )
        }
        let source = GGUFWeights(store, experts: config.experts)
        let loader = WeightLoader(source, run, policy: policy)
        let network = try config.network(Weights(loader), onLayer: onLayer)
        try source.requireAllRead()
        return LoadedModel(
            name: file.hasSuffix(".gguf") ? String(file.dropLast(5)) : file,
            architecture: try fields.text("general.architecture"),
            network,
            processor,
            endTokens: ends,
            loader
        )
    }
}
