import VLFormats
import VLJSON
import VLModels
import VLText

/// The keys of a GGUF file that hold a `tokenizer.json` (`tokenizer.ggml.*`).
enum TokenizerSection {
    private enum Kind: Int32 {
        case normal = 1
        case control = 3
        case userDefined = 4
        case unused = 5
    }

    /// - Parameters:
    ///   - json: the bytes of `tokenizer.json`.
    ///   - tokenizer: what the model's family makes of it.
    ///   - rows: rows of the embedding, one for each token of the file.
    ///   - needsRule: whether the rule that cuts texts must have a name in GGUF files.
    /// - Throws: `ConvertError.source`, `.inexpressible`.
    static func pairs(
        _ json: [UInt8],
        _ tokenizer: Tokenizer,
        rows: Int,
        begin: Int32,
        ends: [Int32],
        addsBegin: Bool,
        needsRule: Bool
    ) throws(ConvertError) -> [NetworkSection.Pair] {
        let file = "tokenizer.json"
        let value: JSONValue
        do {
            value = try JSONValue(parsing: json)
        } catch {
            throw .source(file: file, expected: "JSON", found: "\(error)")
        }
        guard let vocabulary = value["model"]?["vocab"]?.asObject,
            let merges = value["model"]?["merges"]?.asArray
        else {
            throw .source(file: file, expected: "'model' with 'vocab' and 'merges'", found: "none")
        }
        var tokens: [(text: String, kind: Kind)?] = Array(repeating: nil, count: rows)
        func set(_ text: String, _ id: Int?, _ kind: Kind) throws(ConvertError) {
            guard let id, (0..<rows).contains(id) else {
                throw .source(
                    file: file,
                    expected: "ids below the vocabulary's \(rows)",
                    found: "\(id ?? -1) for '\(text)'"
                )
            }
            tokens[id] = (text, kind)
        }
        for (text, id) in vocabulary { try set(text, id.asInt, .normal) }
        for token in value["added_tokens"]?.asArray ?? [] {
            guard let text = token["content"]?.asString else { continue }
            let id = token["id"]?.asInt
            let isSpecial = id.flatMap { Int32(exactly: $0) }.map(tokenizer.isSpecial) ?? false
            try set(text, id, isSpecial ? .control : .userDefined)
        }
        // As converters fill rows that no token has; readers want one token for each row.
        let filled = tokens.indices.map { tokens[$0] ?? ("[PAD\($0)]", .unused) }
        var pairs: [NetworkSection.Pair] = [("tokenizer.ggml.model", .text("gpt2"))]
        if let rule = tokenizer.preTokenizerName {
            pairs.append(("tokenizer.ggml.pre", .text(rule)))
        } else if needsRule {
            throw .inexpressible(
                file: file,
                what: "pre_tokenizer",
                expected: PreTokenizer.knownNames.joined(separator: ", "),
                found: "another rule"
            )
        }
        pairs += [
            ("tokenizer.ggml.tokens", .texts(filled.map(\.text))),
            ("tokenizer.ggml.token_type", .int32s(filled.map(\.kind.rawValue))),
            (
                "tokenizer.ggml.merges",
                .texts(
                    merges.map {
                        $0.asString ?? $0.asArray?.compactMap(\.asString).joined(separator: " ") ?? ""
                    }
                )
            ),
            ("tokenizer.ggml.bos_token_id", .uint32(UInt32(clamping: begin))),
            ("tokenizer.ggml.add_bos_token", .bool(addsBegin)),
            ("tokenizer.ggml.add_eos_token", .bool(false)),
        ]
        for (id, key) in zip(ends, ["eos", "eot"]) {
            pairs.append(("tokenizer.ggml.\(key)_token_id", .uint32(UInt32(clamping: id))))
        }
        return pairs
    }
}
