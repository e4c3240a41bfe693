import VLFormats
import VLJSON
import VLModels
import VLTensor
import VLText

/// A folder that is converted: its configurations and its tensors, checked by the readers that load them.
struct ConversionSource {
    private let folder: ModelFolder
    private let family: any ModelFamily.Type
    let store: WeightStore
    /// Packed layers (GPTQ, AWQ) by the names that their matrices would have.
    private let packed: [String: PackedMatrix]
    private let processor: any Processor
    private let ends: [Int32]
    private let form: GGUFForm
    /// Whether the file has a vision tower and all that belongs to it.
    private let sees: Bool
    /// Whether the checkpoint is of a model with eyes.
    private let hasEyes: Bool

    /// Reads the folder as loading does, so that names and shapes of all tensors are known to be right.
    ///
    /// - Throws: `ConvertError`.
    init(_ path: String, _ form: GGUFForm, _ run: Run) throws(ConvertError) {
        var form = form
        if !form.isTextOnly { form.turnsRows = false }
        self.form = form
        let folder = try GGUFConverter.loading { () throws(LoadError) in try ModelFolder(path) }
        self.folder = folder
        family = try GGUFConverter.loading { () throws(LoadError) in try Registry.family(folder.modelType) }
        let family = family
        let (processor, ends) = try GGUFConverter.loading { () throws(LoadError) in
            try family.processor(folder)
        }
        (self.processor, self.ends) = (processor, ends)
        do throws(FormatError) {
            store = try WeightStore.open(path)
        } catch {
            throw .format(error)
        }
        let store = store
        let (hasEyes, packed) = try GGUFConverter.loading { () throws(LoadError) in
            // Without threads: packed layers are checked, and not unpacked.
            let packing = try PackedFormat(folder, hasCodes: store.hasCodes)
            let source = CheckpointWeights(store, packing: packing)
            let network = try family.network(folder.config, Weights(WeightLoader(source, run))) { _, _ in }
            try source.requireAllRead(except: family.isUnused)
            return (network.vision != nil, source.packed)
        }
        self.packed = packed
        self.hasEyes = hasEyes
        guard hasEyes || form.part != .vision else {
            throw .source(file: "config.json", expected: "a model with eyes", found: "\(folder.modelType)")
        }
        sees = hasEyes && !form.isTextOnly
    }

    /// Whether a tensor of the checkpoint goes into the file, under the name of its matrix if it has the codes of one.
    func takes(_ tensor: String) -> Bool {
        guard !family.isUnused(tensor), !store.isIdleBias(tensor) else { return false }
        if !packed.isEmpty, WeightStore.isBesideCodes(tensor) { return false }
        let name = WeightStore.packedWeight(tensor) ?? tensor
        switch form.part {
        case .all: return true
        case .language: return GGUFNames.isLanguage(name)
        case .vision: return !GGUFNames.isLanguage(name)
        }
    }

    /// The packed layer whose codes a tensor has; nil for other tensors.
    func packed(_ tensor: String) -> (name: String, matrix: PackedMatrix)? {
        guard let name = WeightStore.packedWeight(tensor), let matrix = packed[name] else { return nil }
        return (name, matrix)
    }

    /// Whether there is an output head beside the embedding.
    var hasHead: Bool { (store.names + packed.keys).contains { $0.hasSuffix("lm_head.weight") } }

    /// What the file says of the network.
    ///
    /// - Throws: `ConvertError`.
    func network() throws(ConvertError) -> NetworkSection {
        let language = try GGUFConverter.loading { () throws(LoadError) in try family.language(folder.config)
        }
        switch language {
        case .llama(let config): return try NetworkSection(config, form, isWhole: sees)
        case .deepSeek(let config): return try NetworkSection(config, form, isWhole: sees)
        }
    }

    /// All pairs of the file.
    ///
    /// - Throws: `ConvertError`.
    func metadata(
        _ network: NetworkSection,
        name: String,
        _ type: DType?
    ) throws(ConvertError) -> [NetworkSection.Pair] {
        func bytes(_ name: String) throws(ConvertError) -> [UInt8]? {
            try GGUFConverter.loading { () throws(LoadError) in try folder.bytes(name) }
        }
        func settings() throws(LoadError) -> (begin: Int32, addsBegin: Bool, template: String?) {
            let language = try folder.config.object("language_config") ?? folder.config
            let begin = try folder.boundaryTokens(processor.tokenizer, language: language).begin
            let template = try folder.reader("tokenizer_config.json")?["chat_template"]?.asString
            return (begin, try beginsWithToken(begin), template)
        }
        let (begin, addsBegin, template) = try GGUFConverter.loading(settings)
        var pairs: [NetworkSection.Pair] = [
            (
                "general.architecture",
                .text(form.part == .vision ? VisionSection.architecture : network.architecture)
            ),
            ("general.type", .text(form.part == .vision ? "mmproj" : "model")), ("general.name", .text(name)),
        ]
        let license = try GGUFConverter.loading { () throws(LoadError) in
            try Inspection.license(folder.path)
        }
        if let license { pairs.append(("general.license", .text(license))) }
        if let repository = folder.config["_name_or_path"]?.asString, Self.isRepository(repository) {
            pairs.append(("general.source.huggingface.repository", .text(repository)))
        }
        if let number = type.map(Self.fileType) { pairs.append(("general.file_type", .uint32(number))) }
        if type?.isBlock == true { pairs.append(("general.quantization_version", .uint32(2))) }
        if form.part == .vision {
            pairs += try GGUFConverter.loading { () throws(LoadError) in try VisionSection.pairs(folder) }
        } else {
            pairs += network.pairs
            pairs += try TokenizerSection.pairs(
                bytes("tokenizer.json") ?? [],
                processor.tokenizer,
                rows: network.vocabularySize,
                begin: begin,
                ends: ends,
                addsBegin: addsBegin,
                needsRule: !sees
            )
        }
        // A text model is read by the keys above; its files are there for the way back only. Those of a model with eyes
        // would not be of the language model alone.
        if sees || !hasEyes {
            for (file, key) in GGUFDocuments.keys {
                guard let bytes = try bytes(file) else { continue }
                let text = file == "config.json" ? try plainConfiguration(bytes) : bytes
                let isMark = key == GGUFDocuments.mark && !sees
                pairs.append(
                    (
                        isMark ? GGUFDocuments.textConfigKey : key,
                        .text(String(decoding: text, as: UTF8.self))
                    )
                )
            }
        }
        if form.part == .vision { return pairs }
        if let template {
            pairs.append(("tokenizer.chat_template", .text(template)))
        } else if processor.imageTag == nil {
            // These families talk so even if their folders do not say it.
            pairs.append(("tokenizer.chat_template", .text(Self.template)))
        }
        return pairs
    }

    /// A configuration that does not say how layers are packed: those of the file are not.
    private func plainConfiguration(_ bytes: [UInt8]) throws(ConvertError) -> [UInt8] {
        guard !packed.isEmpty else { return bytes }
        let key = "quantization_config"
        do throws(JSONError) {
            guard case .object(var config) = try JSONValue(parsing: bytes) else { return bytes }
            config[key] = nil
            if case .object(var language)? = config["language_config"] {
                language[key] = nil
                config["language_config"] = .object(language)
            }
            return JSONWriter.encode(.object(config))
        } catch {
            throw .format(.json(file: "config.json", error))
        }
    }

    /// Whether plain texts begin with the begin token: the family's processor may do it whatever the tokenizer's
    /// configuration says.
    private func beginsWithToken(_ begin: Int32) throws(LoadError) -> Bool {
        do throws(PromptError) {
            let prompt = try processor.prompt(text: "", appliesTemplate: false, system: "", images: [])
            return prompt.ids.first == begin
        } catch {
            throw .tokenizer(description: error.description)
        }
    }

    /// DeepSeek-LLM's way of writing conversations, as a program for those who run such.
    private static let template =
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        + "{{ 'User: ' + message['content'] + '\\n\\n' }}{% elif message['role'] == 'assistant' %}"
        + "{{ 'Assistant: ' + message['content'] + eos_token }}{% else %}"
        + "{{ message['content'] + '\\n\\n' }}{% endif %}{% endfor %}"
        + "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"

    /// Whether a text is the name of a repository and no path of somebody's machine.
    private static func isRepository(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty && !$0.hasPrefix(".") }
    }

    /// llama.cpp's number for a file whose matrices mostly have a type (`general.file_type`).
    private static func fileType(_ type: DType) -> UInt32 {
        switch type {
        case .float32: 0
        case .float16: 1
        case .q4_0: 2
        case .q4_1: 3
        case .q8_0: 7
        case .q5_0: 8
        case .q5_1: 9
        case .q4_k: 14
        case .q5_k: 16
        case .q6_k: 18
        case .bfloat16: 32
        }
    }
}
