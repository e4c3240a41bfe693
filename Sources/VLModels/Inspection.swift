import VLFormats
import VLJSON
import VLText

/// What a checkpoint holds, found without a look at its numbers.
package struct Inspection {
    /// What kind of files hold the tensors.
    package enum Format: Equatable {
        case safetensors
        case gguf(version: Int)
    }

    /// Tensors of one element type.
    package struct TypeTotal: Equatable {
        package var dtype: StoredDType
        package var tensors: Int
        package var elements: Int
        package var bytes: Int
    }

    /// What is known of the tokenizer.
    package struct TokenizerFacts {
        package var tokenizer: Tokenizer
        /// The token that begins a text, and those that end an answer.
        package var begin: Int32?
        package var ends: [Int32]
    }

    package let path: String
    package let format: Format
    /// The files that hold the tensors, without folders.
    package let files: [String]
    package let tensors: [StoredTensor]
    /// `model_type` or `general.architecture`; nil where no configuration is.
    package private(set) var architecture: String?
    /// What the configuration says; nil where there is none, or one of a family that is not known.
    package private(set) var facts: ModelFacts?
    /// Why the model cannot be loaded although its files are sound; nil if it can, or if nothing says what it is.
    package private(set) var unsupported: String?
    package private(set) var tokenizer: TokenizerFacts?
    /// How the linear layers are packed (GPTQ, AWQ); nil for a checkpoint of plain tensors.
    package private(set) var packing: PackedFormat?
    /// The name of the chat template; nil for none, or one that is not known.
    package private(set) var chatTemplate: String?
    /// Whether the files hold a chat template at all.
    package private(set) var hasChatTemplate = false
    package private(set) var license: String?
    package private(set) var name: String?
    /// Tokens of a picture for each shape that it may be cut into.
    package private(set) var imageTokens: [(across: Int, down: Int, tokens: Int)] = []
    /// The file, if it is a GGUF file: its metadata.
    package private(set) var gguf: GGUF?

    /// Looks into a folder, a safetensors file, an index or a GGUF file.
    ///
    /// - Parameter vision: the GGUF file that holds what sees, where that is another than `path` and its name does not say
    ///   so.
    /// - Throws: `LoadError` for files that are damaged or do not fit together. A sound checkpoint of a family that is
    ///   not supported is no error.
    package init(_ path: String, vision: String? = nil) throws(LoadError) {
        if let model = try GGUFModel(at: path, vision: vision) {
            self.init(path, model.store, .gguf(version: model.gguf.version))
            try read(model)
            return
        }
        try Registry.refuse(vision, beside: path)
        let store: WeightStore
        do throws(FormatError) {
            store = try WeightStore.open(path)
        } catch {
            throw .format(error)
        }
        self.init(path, store, .safetensors)
        guard try isFolder(), try hasConfiguration() else { return }
        try read(ModelFolder(path))
    }

    private init(_ path: String, _ store: WeightStore, _ format: Format) {
        self.path = path
        self.format = format
        files = store.files
        tensors = store.all
    }

    private func isFolder() throws(LoadError) -> Bool {
        do throws(FormatError) {
            return try FileContents.names(in: path, endingIn: ".json") != nil
        } catch {
            throw .format(error)
        }
    }

    private func hasConfiguration() throws(LoadError) -> Bool {
        FileContents.exists(path.hasSuffix("/") ? path + "config.json" : path + "/config.json")
    }

    /// Runs a step; what it does not support becomes a remark.
    private mutating func supported<Result>(
        _ body: () throws(LoadError) -> Result
    ) throws(LoadError) -> Result? {
        do throws(LoadError) {
            return try body()
        } catch {
            guard case .unsupported = error else { throw error }
            if unsupported == nil { unsupported = error.description }
            return nil
        }
    }

    // MARK: GGUF

    private mutating func read(_ model: GGUFModel) throws(LoadError) {
        gguf = model.gguf
        let reader = model.fields.config
        name = try reader.string("general.name")
        license = try reader.string("general.license")
        if let architecture = try reader.string("general.architecture") {
            self.architecture = architecture
            // A file of tensors alone says what they are for and no more.
            if model.gguf.pairs.contains(where: { $0.key.hasPrefix(architecture + ".") }) {
                let config = try supported { () throws(LoadError) in try model.config() }
                switch config {
                case .llama(let config)?: facts = ModelFacts(config)
                case .deepSeek(let config)?: facts = ModelFacts(config)
                case nil: break
                }
            }
        }
        if let folder = try model.folder() { return try readCarried(folder) }
        if GGUFTokenizer.isPresent(model.gguf) {
            let section = try supported { () throws(LoadError) in try model.tokenizer() }
            tokenizer = section.map {
                TokenizerFacts(tokenizer: $0.tokenizer, begin: $0.begin, ends: $0.ends)
            }
        }
        hasChatTemplate = reader.contains("tokenizer.chat_template")
        let template = try model.chatTemplate()
        chatTemplate = template == .none ? nil : template.rawValue
    }

    // MARK: Folders

    /// Reads the folder that a GGUF file carries.
    private mutating func readCarried(_ folder: ModelFolder) throws(LoadError) {
        let (architecture, license) = (architecture, license)
        try read(folder)
        (self.architecture, self.license) = (architecture, license)
    }

    private mutating func read(_ folder: ModelFolder) throws(LoadError) {
        architecture = folder.modelType
        license = try Self.license(folder.path)
        let family = try supported { () throws(LoadError) in try Registry.family(folder.modelType) }
        guard let family else {
            if FileContents.exists(folder.path + "/tokenizer.json") {
                tokenizer = TokenizerFacts(tokenizer: try folder.tokenizer(), begin: nil, ends: [])
            }
            return
        }
        facts = try supported { () throws(LoadError) in try family.facts(folder.config) }
        let hasCodes = packedLayers > 0
        packing =
            try supported { () throws(LoadError) in try PackedFormat(folder, hasCodes: hasCodes) } ?? nil
        guard try folder.bytes("tokenizer.json") != nil, facts != nil else { return }
        let found = try supported { () throws(LoadError) in try family.processor(folder) }
        guard let (processor, ends) = found else { return }
        let begin = try processor.beginToken()
        tokenizer = TokenizerFacts(tokenizer: processor.tokenizer, begin: begin, ends: ends)
        chatTemplate = processor.templateName
        hasChatTemplate = chatTemplate != nil
        imageTokens = processor.tileShapes.map {
            ($0.across, $0.down, processor.imageTokens(tilesAcross: $0.across, tilesDown: $0.down))
        }
    }

    /// The licence that a model card states in its first lines, which are YAML.
    package static func license(_ folder: String) throws(LoadError) -> String? {
        let path = folder + "/README.md"
        guard FileContents.exists(path) else { return nil }
        let bytes: [UInt8]
        do throws(FormatError) {
            bytes = try FileContents.first(16384, of: path)
        } catch {
            throw .format(error)
        }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").prefix(100)
        guard lines.first == "---" else { return nil }
        var found: [String: String] = [:]
        for line in lines.dropFirst() where line != "---" {
            for key in ["license", "license_name"] where line.hasPrefix(key + ":") {
                let value = PythonText.strip(String(line.dropFirst(key.count + 1)))
                if found[key] == nil { found[key] = value }
            }
        }
        return found["license_name"] ?? found["license"]
    }

    // MARK: Sums

    /// Packed layers.
    package var packedLayers: Int { tensors.count { $0.name.hasSuffix(WeightStore.codesEnding) } }

    /// Numbers in all tensors; of packed layers, codes, eight to a word.
    package var parameters: Int {
        guard packing != nil else { return tensors.reduce(0) { $0 + $1.elementCount } }
        return tensors.reduce(0) { sum, tensor in
            if tensor.name.hasSuffix(WeightStore.codesEnding) { return sum + 8 * tensor.elementCount }
            return WeightStore.isBesideCodes(tensor.name) ? sum : sum + tensor.elementCount
        }
    }

    /// Bytes of all tensors.
    package var bytes: Int { tensors.reduce(0) { $0 + $1.byteCount } }

    /// The element types, that with the most bytes first.
    package var types: [TypeTotal] {
        var totals: [TypeTotal] = []
        for tensor in tensors {
            if let place = totals.firstIndex(where: { $0.dtype == tensor.dtype }) {
                totals[place].tensors += 1
                totals[place].elements += tensor.elementCount
                totals[place].bytes += tensor.byteCount
            } else {
                totals.append(
                    TypeTotal(
                        dtype: tensor.dtype,
                        tensors: 1,
                        elements: tensor.elementCount,
                        bytes: tensor.byteCount
                    )
                )
            }
        }
        return totals.sorted { ($0.bytes, $1.dtype.rawValue) > ($1.bytes, $0.dtype.rawValue) }
    }
}

extension Processor {
    /// The token that a plain text begins with; nil for none.
    fileprivate func beginToken() throws(LoadError) -> Int32? {
        do throws(PromptError) {
            return try prompt(text: "", appliesTemplate: false, system: "", images: []).ids.first
        } catch {
            throw .tokenizer(description: error.description)
        }
    }
}
