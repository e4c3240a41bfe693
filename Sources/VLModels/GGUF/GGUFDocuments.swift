import VLFormats
import VLJSON
import VLTensor

/// The files of a checkpoint's folder that a GGUF file of ours carries as texts, so that a model with eyes is read by
/// the very readers that read its folder.
package enum GGUFDocuments {
    /// Names of the files, with the keys that hold them.
    package static let keys = [
        (file: "config.json", key: "deepseek-vl.config"),
        (file: "processor_config.json", key: "deepseek-vl.processor"),
        (file: "preprocessor_config.json", key: "deepseek-vl.preprocessor"),
        (file: "tokenizer_config.json", key: "deepseek-vl.tokenizer_config"),
        (file: "generation_config.json", key: "deepseek-vl.generation"),
        (file: "tokenizer.json", key: "tokenizer.huggingface.json"),
    ]
    /// The key that says that a file is such a one.
    package static let mark = "deepseek-vl.config"
    /// The key of a text model's `config.json`, which no reader needs.
    package static let textConfigKey = "deepseek-vl.source_config"
}

extension GGUFModel {
    /// The folder that the file carries; nil for a file of a text model.
    ///
    /// - Throws: `LoadError`.
    package func folder() throws(LoadError) -> ModelFolder? {
        let fields = vision.map { GGUFFields($0, file: $0.file.name) } ?? fields
        guard fields.config.contains(GGUFDocuments.mark) else {
            guard vision == nil else {
                throw fields.config.error(
                    GGUFDocuments.mark,
                    expected: "the configuration of DeepSeek-VL or -VL2",
                    found: "nothing: a file with what sees that this program has not written"
                )
            }
            return nil
        }
        if vision == nil, try fields.config.string("general.type") == "mmproj" {
            throw .unsupported(
                file: file,
                what: "general.type \"mmproj\": only what sees of a model",
                known: "\"model\", beside which --mmproj names this file"
            )
        }
        var documents: [String: [UInt8]] = [:]
        for (name, key) in GGUFDocuments.keys {
            guard let text = try fields.config.string(key) else { continue }
            guard text.utf8.count <= FileContents.jsonLimit else {
                throw fields.config.error(
                    key,
                    expected: "a text of at most \(FileContents.jsonLimit) bytes",
                    found: "\(text.utf8.count)"
                )
            }
            documents[name] = Array(text.utf8)
        }
        return try ModelFolder(file, documents: documents)
    }

    /// Checks that the language model's rows are as the readers of a folder expect them.
    ///
    /// - Throws: `LoadError.unsupported`.
    private func checkLayout(_ architecture: String, _ folder: ModelFolder) throws(LoadError) {
        let known = folder.modelType == "multi_modality" ? ["llama"] : ["deepseek2", "deepseek2-ocr"]
        guard !known.contains(architecture) else { return }
        throw .unsupported(
            file: file,
            what: "general.architecture \"\(architecture.excerpt(limit: 40))\" with \(folder.modelType)",
            known: known.map { "\"\($0)\"" }.joined(separator: ", ")
        )
    }

    /// The model whose folder the file carries.
    ///
    /// - Throws: `LoadError`.
    func load(
        _ folder: ModelFolder,
        _ run: Run,
        _ policy: WeightPolicy,
        _ onLayer: (Int, Int) -> Void
    ) throws(LoadError) -> LoadedModel {
        let family = try Registry.family(folder.modelType)
        let (processor, ends) = try family.processor(folder)
        let architecture = try fields.text("general.architecture")
        try checkLayout(architecture, folder)
        let experts = try fields.config.int(architecture + ".expert_count", 0...4096, default: 0)
        let source = GGUFWeights(store, experts: experts)
        let loader = WeightLoader(source, run, policy: policy)
        let network: Network
        if family == DeepSeekVLFamily.self {
            var config = try DeepSeekVLConfig(folder.config)
            // As in every file of the architecture "llama".
            config.language.rotaryLayout = .pairs
            let model = try DeepSeekVL(config, Weights(loader), onLayer: onLayer)
            network = Network(language: model.decoder, vision: model, weightType: model.decoder.weightType)
        } else {
            network = try family.network(folder.config, Weights(loader), onLayer: onLayer)
        }
        try source.requireAllRead()
        return LoadedModel(
            name: file.hasSuffix(".gguf") ? String(file.dropLast(5)) : file,
            architecture: folder.modelType,
            network,
            processor,
            endTokens: ends,
            loader
        )
    }
}
