import VLFormats
import VLJSON
import VLTensor
import VLText

/// A folder with a published checkpoint: its configurations, its tokenizer, and the ids that these agree on.
package struct ModelFolder {
    package let path: String
    package let config: ConfigReader
    /// `model_type` of `config.json`.
    package let modelType: String
    /// The folder's files by their names, where a GGUF file holds them and there is no folder.
    private let documents: [String: [UInt8]]?

    /// Reads `config.json`.
    ///
    /// - Throws: `LoadError`.
    package init(_ path: String) throws(LoadError) {
        try self.init(path.hasSuffix("/") ? String(path.dropLast()) : path, documents: nil)
    }

    /// Reads `config.json` among the files of a folder, which lie in memory.
    ///
    /// - Parameters:
    ///   - path: what messages call the whole.
    ///   - documents: contents by file names; nil for the files that lie in the folder `path`.
    /// - Throws: `LoadError`.
    package init(_ path: String, documents: [String: [UInt8]]?) throws(LoadError) {
        self.path = path
        self.documents = documents
        guard let bytes = try Self.bytes(path, "config.json", documents) else {
            throw .format(.noCheckpoint(folder: path, wanted: ["config.json"]))
        }
        config = try ConfigReader(bytes: bytes, file: "config.json")
        modelType = try Self.modelType(config)
    }

    /// What a configuration is of: `model_type`, or the first of `architectures`.
    package static func modelType(_ config: ConfigReader) throws(LoadError) -> String {
        if let type = try config.string("model_type") { return type }
        guard let architectures = try config.array("architectures"),
            case .string(let first)? = architectures.first
        else {
            throw config.error("model_type", expected: "a text, or 'architectures'", found: "neither")
        }
        switch first {
        case "DeepseekVLV2ForCausalLM": return "deepseek_vl_v2"
        case "DeepseekV2ForCausalLM": return "deepseek_v2"
        case "MultiModalityCausalLM": return "multi_modality"
        case "LlamaForCausalLM": return "llama"
        default: return first
        }
    }

    /// A JSON file of the folder; nil if there is none.
    package func reader(_ name: String) throws(LoadError) -> ConfigReader? {
        guard let bytes = try bytes(name) else { return nil }
        return try ConfigReader(bytes: bytes, file: name)
    }

    /// All bytes of a file of the folder; nil if there is none.
    ///
    /// - Throws: `LoadError.format`.
    package func bytes(_ name: String) throws(LoadError) -> [UInt8]? { try Self.bytes(path, name, documents) }

    private static func bytes(
        _ path: String,
        _ name: String,
        _ documents: [String: [UInt8]]?
    ) throws(LoadError) -> [UInt8]? {
        if let documents { return documents[name] }
        do throws(FormatError) {
            return try FileContents.read(path + "/" + name, limit: FileContents.jsonLimit)
        } catch {
            if case .system(_, _, let code) = error, code == FormatError.noSuchFile { return nil }
            throw .format(error)
        }
    }

    /// The tokenizer of `tokenizer.json`.
    ///
    /// - Parameter special: tokens that the family's processor makes special, whatever the file says of them.
    /// - Throws: `LoadError`.
    package func tokenizer(special: [String] = []) throws(LoadError) -> Tokenizer {
        guard let bytes = try bytes("tokenizer.json") else {
            throw .format(.noCheckpoint(folder: path, wanted: ["tokenizer.json"]))
        }
        do throws(TokenizerError) {
            return try Tokenizer(json: bytes, file: "tokenizer.json", special: special)
        } catch {
            throw .tokenizer(description: error.description)
        }
    }

    /// The text of a token that `tokenizer_config.json` names: a text, or an object with its `content`.
    private func named(_ key: String, _ config: ConfigReader?) throws(LoadError) -> String? {
        guard let config, let value = config[key] else { return nil }
        if case .object = value { return try config.object(key)?.string("content") }
        return try config.string(key)
    }

    /// Begin and end tokens: the tokenizer's own, then `generation_config.json`, then `config.json`.
    ///
    /// The ids in configurations of published base models are known to be wrong, so the tokenizer wins.
    /// - Throws: `LoadError`.
    package func boundaryTokens(
        _ tokenizer: Tokenizer,
        language: ConfigReader
    ) throws(LoadError) -> (begin: Int32, ends: [Int32]) {
        let tokenizerConfig = try reader("tokenizer_config.json")
        let generation = try reader("generation_config.json")
        func ids(_ key: String, _ reader: ConfigReader?) -> [Int32] {
            switch reader?[key] {
            case .integer(let id)?: Int32(exactly: id).map { [$0] } ?? []
            case .array(let list)?: list.compactMap { $0.asInt.flatMap { Int32(exactly: $0) } }
            default: []
            }
        }
        func token(_ key: String, _ idKey: String) throws(LoadError) -> [Int32] {
            if let text = try named(key, tokenizerConfig) {
                guard let id = tokenizer.tokenID(of: text) else {
                    throw .missingToken(file: "tokenizer.json", token: text)
                }
                return [id]
            }
            let found = ids(idKey, generation)
            return found.isEmpty ? ids(idKey, language) : found
        }
        guard let begin = try token("bos_token", "bos_token_id").first else {
            throw .missingToken(file: "tokenizer_config.json", token: "bos_token")
        }
        var ends = try token("eos_token", "eos_token_id")
        for id in ids("eos_token_id", generation) where !ends.contains(id) { ends.append(id) }
        guard !ends.isEmpty else { throw .missingToken(file: "tokenizer_config.json", token: "eos_token") }
        return (begin, ends)
    }

    /// Checks that the network has rows for the tokens that prompts are made with.
    ///
    /// - Parameter language: what says the size of the vocabulary.
    /// - Throws: `LoadError.field`.
    package func check(
        _ tokens: [Int32],
        below vocabularySize: Int,
        _ language: ConfigReader
    ) throws(LoadError) {
        for id in tokens where Int(id) >= vocabularySize {
            throw language.error(
                "vocab_size",
                expected: "more than the token id \(id)",
                found: "\(vocabularySize)"
            )
        }
    }

    /// Whether the tokenizer begins plain texts with the begin token; its class does unless the file says no.
    ///
    /// - Throws: `LoadError.field`.
    package func addsBeginToken() throws(LoadError) -> Bool {
        guard let config = try reader("tokenizer_config.json"), !config.isNull("add_bos_token") else {
            return true
        }
        return try config.bool("add_bos_token", default: true)
    }

    /// How conversations with a text model are written: what its `chat_template` is; DeepSeek-LLM's, whose folders say
    /// nothing of it, where there is none.
    ///
    /// - Throws: `LoadError`.
    private func chatTemplate() throws(LoadError) -> ChatTemplate {
        guard let program = try reader("tokenizer_config.json")?["chat_template"]?.asString else {
            return .deepseek
        }
        return ChatTemplate(program: program)
    }

    /// The processor of a text model, and the tokens that end an answer.
    ///
    /// - Throws: `LoadError`.
    package func textProcessor(
        vocabularySize: Int
    ) throws(LoadError) -> (any Processor, endTokens: [Int32]) {
        let tokenizer = try tokenizer()
        let (begin, ends) = try boundaryTokens(tokenizer, language: config)
        try check([begin] + ends, below: vocabularySize, config)
        let processor = TextProcessor(
            tokenizer,
            template: try chatTemplate(),
            beginToken: begin,
            endToken: ends[0],
            addsBeginToken: try addsBeginToken()
        )
        return (processor, ends)
    }
}
