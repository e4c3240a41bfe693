import VLFormats
import VLTensor
import VLText

/// A model in a GGUF file, as the registry sees it.
package struct GGUFModel {
    package let gguf: GGUF
    package let store: WeightStore
    let fields: GGUFFields
    /// The file beside it that holds what sees; nil for a model in one file.
    package let vision: GGUF?

    /// The file's name without folders.
    package var file: String { gguf.file.name }

    /// Opens what a path leads to if that is a GGUF file, or a folder without a `config.json` that holds just one; nil
    /// for anything else.
    ///
    /// - Throws: `LoadError.format` for a damaged file, `.unsupported` for one of several parts.
    ///
    /// What sees may be in another file: the one given, or that of `visionPath(beside:)`, or the only one beside it whose
    /// name begins with "mmproj" if `path` is their folder.
    package init?(at path: String, vision: String? = nil) throws(LoadError) {
        do throws(FormatError) {
            guard let found = try Self.find(path) else { return nil }
            gguf = try GGUF.open(found)
            let other = try Self.openVision(vision, found, isFolder: found != path, gguf)
            self.vision = other
            store = if let other { WeightStore(gguf, other) } else { WeightStore(gguf) }
        } catch {
            throw .format(error)
        }
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
            let models = names.filter { !$0.hasPrefix(visionPrefix) }
            return models.count == 1 && !FileContents.exists(folder + "config.json")
                ? folder + models[0] : nil
        }
        if path.hasSuffix(".gguf") { return path }
        return try FileContents.first(GGUF.magic.count, of: path) == GGUF.magic ? path : nil
    }

    /// How names of files that hold what sees begin, as llama.cpp's users have them.
    private static let visionPrefix = "mmproj"

    /// Where a file with what sees lies if nobody says otherwise: "mmproj-NAME.gguf" beside "NAME.gguf".
    package static func visionPath(beside path: String) -> String {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")).map(path.utf8.index(after:)) ?? path.startIndex
        return path[..<slash] + visionPrefix + "-" + path[slash...]
    }

    private static func openVision(
        _ given: String?,
        _ path: String,
        isFolder: Bool,
        _ gguf: GGUF
    ) throws(FormatError) -> GGUF? {
        if let given { return try GGUF.open(given) }
        // A file that has everything needs no other.
        guard gguf[GGUFDocuments.mark] == nil else { return nil }
        let beside = visionPath(beside: path)
        if FileContents.exists(beside) { return try GGUF.open(beside) }
        guard isFolder else { return nil }
        let folder = String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex))
        let names = try FileContents.names(in: folder, endingIn: ".gguf") ?? []
        let candidates = names.filter { $0.hasPrefix(visionPrefix) }
        return candidates.count == 1 ? try GGUF.open(folder + "/" + candidates[0]) : nil
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
    package func processor() throws(LoadError) -> (any Processor, endTokens: [Int32]) {
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
