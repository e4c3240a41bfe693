import VLFormats
import VLJSON
import VLModels
import VLText

/// The tokenizer's files of a text model whose GGUF file carries none: made from its lists of tokens and merges.
struct RestoredTokenizer {
    /// Contents of `tokenizer.json`, `tokenizer_config.json` and `generation_config.json`.
    let files: [(name: String, value: JSONValue)]
    let begin: Int?
    let ends: [Int]

    /// - Parameters:
    ///   - gguf: a file whose tokenizer has been loaded, and is thereby known to be whole.
    ///   - ends: tokens that end an answer.
    ///   - positions: the longest text.
    /// - Throws: `ConvertError.inexpressible` for a rule without a counterpart.
    init(_ gguf: GGUF, ends: [Int], positions: Int) throws(ConvertError) {
        self.ends = ends
        let rule = gguf["tokenizer.ggml.pre"]?.asText ?? "default"
        let described: PreTokenizer.Described?
        do throws(TokenizerError) {
            described = try PreTokenizer.described(rule, file: gguf.file.name)
        } catch {
            throw .load(.tokenizer(description: error.description))
        }
        guard let described else {
            throw .inexpressible(
                file: gguf.file.name,
                what: "tokenizer.ggml.pre",
                expected: PreTokenizer.knownNames.joined(separator: ", "),
                found: rule
            )
        }
        let kinds = gguf["tokenizer.ggml.token_type"]?.asArray?.integers ?? []
        var texts: [String] = []
        gguf["tokenizer.ggml.tokens"]?.asArray?.forEachText {
            texts.append(String(decoding: $0, as: UTF8.self))
        }
        var vocabulary = JSONObject()
        var added: [JSONValue] = []
        var unknown: JSONValue = .null
        for (id, text) in texts.enumerated() {
            let kind = ListedVocabulary.Kind(rawValue: id < kinds.count ? kinds[id] : 1) ?? .normal
            // Rows of the embedding that no token has.
            guard kind != .unused else { continue }
            vocabulary[text] = .integer(Int64(id))
            guard kind == .control || kind == .unknown || kind == .userDefined else { continue }
            if kind == .unknown { unknown = .string(text) }
            added.append(
                [
                    "id": .integer(Int64(id)), "content": .string(text), "single_word": false,
                    "lstrip": false,
                    "rstrip": false, "normalized": false, "special": .bool(kind != .userDefined),
                ]
            )
        }
        var merges: [JSONValue] = []
        gguf["tokenizer.ggml.merges"]?.asArray?.forEachText {
            merges.append(.string(String(decoding: $0, as: UTF8.self)))
        }
        func id(_ key: String) -> Int? {
            gguf["tokenizer.ggml." + key]?.asInt.flatMap { texts.indices.contains($0) ? $0 : nil }
        }
        begin = id("bos_token_id")
        let end = id("eos_token_id")
        let addsBegin =
            begin != nil
            && (gguf["tokenizer.ggml.add_bos_token"]?.asBool
                ?? ["llama-bpe", "llama3", "llama-v3"].contains(rule))
        let addsEnd = gguf["tokenizer.ggml.add_eos_token"]?.asBool ?? false
        let byteLevel: JSONValue = [
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        ]
        let tokenizer: JSONValue = [
            "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(added),
            "normalizer": .null, "pre_tokenizer": described.rule,
            "post_processor": Self.processor(addsBegin ? begin : nil, addsEnd ? end : nil, texts)
                ?? byteLevel,
            "decoder": byteLevel,
            "model": [
                "type": "BPE", "dropout": .null, "unk_token": unknown, "continuing_subword_prefix": .null,
                "end_of_word_suffix": .null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": .bool(described.ignoresMerges), "vocab": .object(vocabulary),
                "merges": .array(merges),
            ],
        ]
        var config: JSONObject = [
            "tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": .bool(addsBegin),
            "add_eos_token": .bool(addsEnd), "clean_up_tokenization_spaces": false,
            "model_max_length": .integer(Int64(positions)),
        ]
        // A folder must name one; the file's reader takes the same where that has none.
        if let first = begin ?? ends.first { config["bos_token"] = .string(texts[first]) }
        if let end { config["eos_token"] = .string(texts[end]) }
        if let padding = id("padding_token_id") { config["pad_token"] = .string(texts[padding]) }
        if unknown != .null { config["unk_token"] = unknown }
        if let template = gguf["tokenizer.chat_template"]?.asText {
            config["chat_template"] = .string(template)
        }
        var generation: JSONObject = ["_from_model_config": true]
        if let begin { generation["bos_token_id"] = .integer(Int64(begin)) }
        generation["eos_token_id"] =
            ends.count == 1 ? .integer(Int64(ends[0])) : .array(ends.map { .integer(Int64($0)) })
        files = [
            ("tokenizer.json", tokenizer), ("tokenizer_config.json", .object(config)),
            ("generation_config.json", .object(generation)),
        ]
    }

    /// What puts begin and end tokens around a text; nil for neither.
    private static func processor(_ begin: Int?, _ end: Int?, _ texts: [String]) -> JSONValue? {
        guard begin != nil || end != nil else { return nil }
        func sequence(_ name: String, _ type: Int64) -> JSONValue {
            ["Sequence": ["id": .string(name), "type_id": .integer(type)]]
        }
        func token(_ id: Int?, _ type: Int64) -> [JSONValue] {
            id.map { [["SpecialToken": ["id": .string(texts[$0]), "type_id": .integer(type)]]] } ?? []
        }
        var special = JSONObject()
        for id in [begin, end].compactMap(\.self) {
            special[texts[id]] = [
                "id": .string(texts[id]), "ids": [.integer(Int64(id))], "tokens": [.string(texts[id])],
            ]
        }
        let first = token(begin, 0) + [sequence("A", 0)] + token(end, 0)
        return [
            "type": "TemplateProcessing", "single": .array(first),
            "pair": .array(first + token(begin, 1) + [sequence("B", 1)] + token(end, 1)),
            "special_tokens": .object(special),
        ]
    }
}
