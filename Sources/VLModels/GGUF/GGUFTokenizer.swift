import VLFormats
import VLText

/// The tokenizer section of a GGUF file (`tokenizer.ggml.*`), checked.
struct GGUFTokenizer {
    private static let prefix = "tokenizer.ggml."

    let tokenizer: Tokenizer
    /// The token that begins a text.
    let begin: Int32?
    /// Whether plain texts begin with it.
    let addsBegin: Bool
    /// Tokens that end an answer, the file's own first.
    let ends: [Int32]

    /// Tokens that end a turn whatever the file says of them, as llama.cpp has it.
    private static let endTexts = [
        "<|im_end|>", "<｜end▁of▁sentence｜>", "<|eot_id|>", "<|endoftext|>", "<|end|>", "<|EOT|>",
    ]

    /// Whether a file has a tokenizer at all.
    static func isPresent(_ gguf: GGUF) -> Bool { gguf.pairs.contains { $0.key.hasPrefix(prefix) } }

    /// - Parameter file: the file's name, for messages.
    /// - Throws: `LoadError.field`, `.unsupported`, `.tokenizer`.
    init(_ gguf: GGUF, file: String) throws(LoadError) {
        let reader = GGUFFields(gguf, file: file)
        let model = try reader.text(Self.prefix + "model")
        guard model == "gpt2" else {
            throw .unsupported(file: file, what: "\(Self.prefix)model \"\(model)\"", known: "\"gpt2\"")
        }
        let tokens = try reader.texts(Self.prefix + "tokens")
        var kinds: [Int] = []
        if let array = try reader.array(Self.prefix + "token_type", of: .int32, count: tokens.count) {
            kinds = array.integers ?? []
        }
        _ = try reader.array(Self.prefix + "scores", of: .float32, count: tokens.count)
        func token(_ key: String) throws(LoadError) -> Int32? {
            guard gguf[Self.prefix + key] != nil else { return nil }
            return Int32(try reader.config.int(Self.prefix + key, 0...tokens.count - 1))
        }
        let begin = try token("bos_token_id")
        let end = try token("eos_token_id")
        // Only Llama 3's rule begins texts with the begin token where the file says nothing.
        let rule = try reader.config.string(Self.prefix + "pre") ?? ""
        addsBegin = try reader.config.bool(
            Self.prefix + "add_bos_token",
            default: ["llama-bpe", "llama3", "llama-v3"].contains(rule)
        )
        let addsEnd = try reader.config.bool(Self.prefix + "add_eos_token", default: false)
        let listed = ListedVocabulary(
            file: file,
            tokens: tokens,
            kinds: kinds,
            merges: try reader.texts(Self.prefix + "merges"),
            preTokenizer: rule,
            prefix: addsBegin ? begin : nil,
            suffix: addsEnd ? end : nil
        )
        do throws(TokenizerError) {
            tokenizer = try Tokenizer(listed)
        } catch {
            throw .tokenizer(description: error.description)
        }
        self.begin = begin
        var ends = [end, try token("eot_token_id")].compactMap { $0 }
        for text in Self.endTexts {
            if let id = tokenizer.tokenID(of: text), tokenizer.isSpecial(id), !ends.contains(id) {
                ends.append(id)
            }
        }
        self.ends = ends
    }
}
