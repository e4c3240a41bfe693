import VLJSON

/// The parts of a `tokenizer.json`, checked one by one; `Tokenizer` is built from them.
struct TokenizerFile {
    let name: String
    var vocabulary = Vocabulary()
    var merges: [(left: [UInt8], right: [UInt8])] = []
    var hasMerges = false
    var hasVocabulary = false
    var added: [AddedToken] = []
    var preTokenizer = PreTokenizer()
    /// Whether texts are turned into the alphabet of bytes before merging.
    var isByteLevel = false
    /// Whether tokens are turned back from that alphabet; if not, they are joined by spaces.
    var decodesBytes = false
    var ignoresMerges = false
    var unknownToken: String?
    /// Ids before and after the text when special tokens are asked for (`TemplateProcessing`).
    var prefix: [Int32] = []
    var suffix: [Int32] = []
    private var model: JSONObject?
    /// Largest id: a table over ids must not take gigabytes.
    static let idLimit: Int64 = 1 << 24

    /// Nothing yet.
    init(named name: String) { self.name = name }

    /// Reads the file.
    ///
    /// - Throws: `TokenizerError`.
    ///
    /// - Parameter special: texts that are special tokens, whatever the file says; new ones get the next ids.
    init(_ bytes: [UInt8], name: String, special: [String] = []) throws(TokenizerError) {
        self.name = name
        var rest = JSONObject()
        do {
            var scanner = try JSONScanner(bytes.span)
            try scanner.beginObject()
            while let key = try scanner.nextKey() {
                if scanner.matches(key, "model"), try scanner.peek() == .object {
                    try readModel(&scanner)
                } else {
                    let text = scanner.string(key)
                    rest[text] = try scanner.readValue()
                }
            }
            try scanner.finish()
        } catch let error as JSONError {
            throw .json(file: name, error)
        } catch let error as TokenizerError {
            throw error
        } catch {
            throw .missing(file: name, field: "model")
        }
        try checkModel()
        try readAdded(rest["added_tokens"])
        ensureSpecial(special)
        try readNormalizer(rest["normalizer"])
        try readPreTokenizer(rest["pre_tokenizer"])
        try readDecoder(rest["decoder"])
        try readPostProcessor(rest["post_processor"], part: "post_processor")
    }

    private func refuse(_ part: String, _ expected: String, _ found: JSONValue?) -> TokenizerError {
        .unsupported(file: name, part: part, expected: expected, found: found?.summary ?? "nothing")
    }

    // MARK: Model

    private mutating func readModel(_ scanner: inout JSONScanner) throws {
        var rest = JSONObject()
        var text: [UInt8] = []
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            if scanner.matches(key, "vocab") {
                hasVocabulary = true
                try scanner.beginObject()
                while let token = try scanner.nextKey() {
                    text.removeAll(keepingCapacity: true)
                    scanner.append(token, to: &text)
                    let id = try scanner.readInt64()
                    let spelled = String(decoding: text.prefix(200), as: UTF8.self)
                    guard id >= 0, id < Self.idLimit else {
                        throw TokenizerError.badID(
                            file: name,
                            token: spelled,
                            found: "\(id)",
                            expected: "an id from 0 to \(Self.idLimit - 1)"
                        )
                    }
                    let isNew = text.withUnsafeBufferPointer { vocabulary.add($0, id: Int32(id)) }
                    guard isNew else {
                        throw TokenizerError.badID(
                            file: name,
                            token: spelled,
                            found: "it twice",
                            expected: "each token once"
                        )
                    }
                }
            } else if scanner.matches(key, "merges") {
                hasMerges = true
                try scanner.beginArray()
                while try scanner.nextElement() { try readMerge(&scanner, &text) }
            } else {
                let text = scanner.string(key)
                rest[text] = try scanner.readValue()
            }
        }
        model = rest
    }

    /// A merge: "a b", or in newer files ["a", "b"].
    private mutating func readMerge(_ scanner: inout JSONScanner, _ text: inout [UInt8]) throws {
        let index = merges.count
        if try scanner.peek() == .array {
            var parts: [[UInt8]] = []
            try scanner.beginArray()
            while try scanner.nextElement() {
                let part = try scanner.readBytes()
                if parts.count < 3 { parts.append(part) }
            }
            guard parts.count == 2 else {
                throw TokenizerError.badMerge(
                    file: name,
                    index: index,
                    expected: "two parts",
                    found: "\(parts.count)"
                )
            }
            merges.append((parts[0], parts[1]))
            return
        }
        let line = try scanner.readText()
        text.removeAll(keepingCapacity: true)
        scanner.append(line, to: &text)
        let spaces = text.indices.filter { text[$0] == 0x20 }
        guard spaces.count == 1, spaces[0] > 0, spaces[0] < text.count - 1 else {
            throw TokenizerError.badMerge(
                file: name,
                index: index,
                expected: "two parts with a space between",
                found: "'\(String(decoding: text.prefix(200), as: UTF8.self))'"
            )
        }
        merges.append((Array(text[..<spaces[0]]), Array(text[(spaces[0] + 1)...])))
    }

    private mutating func checkModel() throws(TokenizerError) {
        guard let model else { throw .missing(file: name, field: "model") }
        guard model["type"]?.asString == "BPE" else { throw refuse("model.type", "\"BPE\"", model["type"]) }
        guard hasVocabulary else { throw .missing(file: name, field: "model.vocab") }
        guard hasMerges else { throw .missing(file: name, field: "model.merges") }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            guard let value = model[key], !value.isNull, value.asString != "" else { continue }
            throw refuse("model.\(key)", "null", value)
        }
        for key in ["byte_fallback", "fuse_unk"] {
            guard let value = model[key], !value.isNull, value.asBool != false else { continue }
            throw refuse("model.\(key)", "false", value)
        }
        if let dropout = model["dropout"], !dropout.isNull, dropout.asDouble != 0 {
            throw refuse("model.dropout", "null", dropout)
        }
        if let flag = model["ignore_merges"], !flag.isNull {
            guard let value = flag.asBool else { throw refuse("model.ignore_merges", "true or false", flag) }
            ignoresMerges = value
        }
        if let unknown = model["unk_token"], !unknown.isNull {
            guard let text = unknown.asString else {
                throw refuse("model.unk_token", "a text or null", unknown)
            }
            guard vocabulary.id(Array(text.utf8)) != nil else {
                throw refuse("model.unk_token", "a token of the vocabulary", unknown)
            }
            unknownToken = text
        }
    }

    // MARK: Other parts

    private mutating func readAdded(_ value: JSONValue?) throws(TokenizerError) {
        guard let value, !value.isNull else { return }
        guard let list = value.asArray else { throw refuse("added_tokens", "an array", value) }
        var idTaken: [Int32: [UInt8]] = [:]
        vocabulary.visit { idTaken[$1] = Array($0) }
        for (index, token) in list.enumerated() {
            let part = "added_tokens[\(index)]"
            guard let content = token["content"]?.asString else {
                throw refuse("\(part).content", "a text", token["content"])
            }
            guard !content.isEmpty else {
                throw refuse("\(part).content", "a text of at least one character", token["content"])
            }
            guard case .integer(let id)? = token["id"], id >= 0, id < Self.idLimit else {
                throw refuse("\(part).id", "an id from 0 to \(Self.idLimit - 1)", token["id"])
            }
            let bytes = Array(content.utf8)
            if let other = idTaken[Int32(id)], other != bytes {
                throw .badID(
                    file: name,
                    token: content,
                    found: "\(id), which '\(String(decoding: other, as: UTF8.self))' has",
                    expected: "an id of its own"
                )
            }
            idTaken[Int32(id)] = bytes
            var flags: [String: Bool] = [:]
            for key in ["special", "normalized", "lstrip", "rstrip", "single_word"] {
                guard let flag = token[key] else { continue }
                guard let value = flag.asBool else { throw refuse("\(part).\(key)", "true or false", flag) }
                flags[key] = value
            }
            added.append(
                AddedToken(
                    id: Int32(id),
                    text: bytes,
                    isSpecial: flags["special"] ?? false,
                    isNormalized: flags["normalized"] ?? true,
                    stripsLeft: flags["lstrip"] ?? false,
                    stripsRight: flags["rstrip"] ?? false,
                    isSingleWord: flags["single_word"] ?? false
                )
            )
        }
    }

    /// Makes texts special tokens as `add_special_tokens` of transformers does.
    private mutating func ensureSpecial(_ texts: [String]) {
        var next: Int32 = 0
        vocabulary.visit { next = max(next, $1 + 1) }
        for token in added { next = max(next, token.id + 1) }
        for text in texts {
            let bytes = Array(text.utf8)
            if let place = added.firstIndex(where: { $0.text == bytes }) {
                added[place].isSpecial = true
                continue
            }
            let id = vocabulary.id(bytes) ?? next
            if id == next { next += 1 }
            added.append(
                AddedToken(
                    id: id,
                    text: bytes,
                    isSpecial: true,
                    isNormalized: false,
                    stripsLeft: false,
                    stripsRight: false,
                    isSingleWord: false
                )
            )
        }
    }

    private func readNormalizer(_ value: JSONValue?) throws(TokenizerError) {
        guard let value, !value.isNull else { return }
        guard value["type"]?.asString == "Sequence", let parts = value["normalizers"]?.asArray, parts.isEmpty
        else {
            throw refuse("normalizer", "null or an empty Sequence", value["type"] ?? value)
        }
    }

    private mutating func readPreTokenizer(_ value: JSONValue?) throws(TokenizerError) {
        guard let value, !value.isNull else { return }
        let part = "pre_tokenizer"
        switch value["type"]?.asString {
        case "Sequence":
            guard let parts = value["pretokenizers"]?.asArray else {
                throw refuse("\(part).pretokenizers", "an array", value["pretokenizers"])
            }
            for part in parts { try readPreTokenizer(part) }
        case "Split":
            guard value["behavior"]?.asString == "Isolated" else {
                throw refuse("\(part).behavior", "\"Isolated\"", value["behavior"])
            }
            guard value["invert"]?.asBool ?? false == false else {
                throw refuse("\(part).invert", "false", value["invert"])
            }
            if let pattern = value["pattern"]?["Regex"]?.asString {
                if let known = PreTokenizer.known(pattern) {
                    preTokenizer.steps.append(known)
                } else {
                    preTokenizer.steps.append(.pattern(try CompiledPattern(pattern, file: name)))
                }
            } else if let text = value["pattern"]?["String"]?.asString, !text.contains("\\E"), !text.isEmpty {
                preTokenizer.steps.append(.pattern(try CompiledPattern("\\Q\(text)\\E", file: name)))
            } else {
                throw refuse("\(part).pattern", "a Regex or a String", value["pattern"])
            }
        case "Digits":
            let individual = value["individual_digits"]?.asBool ?? false
            preTokenizer.steps.append(individual ? .digits : .digitRuns)
        case "ByteLevel":
            guard value["add_prefix_space"]?.asBool ?? true == false else {
                throw refuse("\(part).add_prefix_space", "false", value["add_prefix_space"])
            }
            if value["use_regex"]?.asBool ?? true { preTokenizer.steps.append(.gpt2Words) }
            isByteLevel = true
        default:
            throw refuse(
                "\(part).type",
                "\"Sequence\", \"Split\", \"Digits\" or \"ByteLevel\"",
                value["type"] ?? value
            )
        }
    }

    private mutating func readDecoder(_ value: JSONValue?) throws(TokenizerError) {
        guard let value, !value.isNull else { return }
        switch value["type"]?.asString {
        case "ByteLevel": decodesBytes = true
        case "Sequence":
            guard let parts = value["decoders"]?.asArray,
                parts.allSatisfy({ $0["type"]?.asString == "ByteLevel" })
            else {
                throw refuse("decoder.decoders", "\"ByteLevel\" only", value["decoders"])
            }
            decodesBytes = !parts.isEmpty
        default: throw refuse("decoder.type", "\"ByteLevel\"", value["type"] ?? value)
        }
    }

    private mutating func readPostProcessor(_ value: JSONValue?, part: String) throws(TokenizerError) {
        guard let value, !value.isNull else { return }
        switch value["type"]?.asString {
        case "ByteLevel": break
        case "Sequence":
            guard let parts = value["processors"]?.asArray else {
                throw refuse("\(part).processors", "an array", value["processors"])
            }
            for inner in parts { try readPostProcessor(inner, part: part) }
        case "TemplateProcessing":
            guard let single = value["single"]?.asArray else {
                throw refuse("\(part).single", "an array", value["single"])
            }
            let defined = value["special_tokens"]?.asObject ?? [:]
            _ = try template(value["pair"]?.asArray ?? [], defined, part)
            let (before, after) = try template(single, defined, part)
            prefix += before
            suffix += after
        default:
            throw refuse("\(part).type", "\"TemplateProcessing\" or \"ByteLevel\"", value["type"] ?? value)
        }
    }

    /// The ids before and after the text in a template's pieces.
    private func template(
        _ pieces: [JSONValue],
        _ defined: JSONObject,
        _ part: String
    ) throws(TokenizerError) -> ([Int32], [Int32]) {
        var before: [Int32] = []
        var after: [Int32] = []
        var isBehind = false
        for piece in pieces {
            if piece["Sequence"] != nil {
                isBehind = true
                continue
            }
            guard let token = piece["SpecialToken"]?["id"]?.asString else {
                throw refuse(part, "a Sequence or a SpecialToken", piece)
            }
            guard let ids = defined[token]?["ids"]?.asArray else {
                throw .unsupported(
                    file: name,
                    part: part,
                    expected: "tokens that special_tokens defines",
                    found: "'\(token.excerpt(limit: 40))'"
                )
            }
            for value in ids {
                guard let id = value.asInt, id >= 0, id < Self.idLimit else {
                    throw refuse("\(part).special_tokens", "ids", value)
                }
                if isBehind { after.append(Int32(id)) } else { before.append(Int32(id)) }
            }
        }
        return (before, after)
    }
}
