import VLJSON

extension PreTokenizer {
    /// What a `tokenizer.json` says of a rule that GGUF files name.
    package struct Described: Sendable {
        /// The value of `pre_tokenizer`.
        package let rule: JSONValue
        /// Whether a piece that is a token stays whole (`ignore_merges`).
        package let ignoresMerges: Bool
    }

    /// The rule of a name as a `tokenizer.json` has it; nil if there is none of that name.
    ///
    /// - Throws: `TokenizerError.badPattern` never for the names of the table.
    package static func described(_ name: String, file: String) throws(TokenizerError) -> Described? {
        guard let rule = try named(name, file: file) else { return nil }
        var parts: [JSONValue] = []
        func split(_ pattern: String) {
            parts.append(
                [
                    "type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated",
                    "invert": false,
                ]
            )
        }
        var isByteLevel = false
        func byteLevel(usesPattern: Bool) {
            isByteLevel = true
            parts.append(
                [
                    "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                    "use_regex": .bool(usesPattern),
                ]
            )
        }
        for step in rule.steps {
            switch step {
            case .lineBreaks: split("[\r\n]")
            case .spacedRun(.cased): split(casedPattern)
            case .spacedRun(.llmPunctuation): split(llmPunctuationPattern)
            case .spacedRun(.letter): split("\\s?\\p{L}+")
            case .spacedRun: split("\\s?\\p{P}+")
            case .run(.v3Ideograph): split(v3Ideographs)
            case .run: split(llmIdeographPattern)
            case .trailingSpace: split("\\s+$")
            case .digits: parts.append(["type": "Digits", "individual_digits": true])
            case .digitRuns: parts.append(["type": "Digits", "individual_digits": false])
            case .numbersOfThree: split("\\p{N}{1,3}")
            case .v3Words: split(v3WordsPattern)
            case .gpt2Words: byteLevel(usesPattern: true)
            case .pattern(let pattern): split(pattern.source)
            }
        }
        if !isByteLevel { byteLevel(usesPattern: false) }
        return Described(
            rule: ["type": "Sequence", "pretokenizers": .array(parts)],
            ignoresMerges: rule.ignoresMerges
        )
    }

    /// DeepSeek-LLM's pattern of letters with two cases, its ranges in order.
    private static var casedPattern: String {
        let table = CharacterTable.shared
        var text = "\\s?["
        var first: UInt32?
        func add(_ point: UInt32) { text.unicodeScalars.append(Unicode.Scalar(point) ?? "A") }
        for point in UInt32(0)...0x1ffff {
            if table[point].contains(.cased) {
                if first == nil { first = point }
            } else if let start = first {
                add(start)
                if point - start > 2 { text += "-" }
                if point - start > 1 { add(point - 1) }
                first = nil
            }
        }
        return text + "]+"
    }
}
