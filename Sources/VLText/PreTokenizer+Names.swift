/// The rules that GGUF files name (`tokenizer.ggml.pre`).
///
/// The DeepSeek rules are those of the official tokenizer files; where llama.cpp deviates (it keeps runs of digits
/// together for deepseek-llm) the vocabularies hold nothing that the difference could change.
extension PreTokenizer {
    /// A rule with a name.
    struct Named {
        let names: [String]
        let steps: [Step]
        /// Whether a piece that is a token stays whole, whatever the merges say.
        var ignoresMerges = false
    }

    /// Names that are known, one for each rule.
    package static let knownNames = [
        "default", "gpt-2", "smollm", "deepseek-llm", "deepseek-coder", "deepseek-v3", "llama-bpe", "qwen2",
    ]

    /// The rule of a name; nil if there is none.
    ///
    /// - Throws: `TokenizerError.badPattern` never for the names of the table.
    static func named(_ name: String, file: String) throws(TokenizerError) -> Named? {
        switch name {
        case "gpt-2", "gpt2": return Named(names: ["gpt-2", "gpt2"], steps: [.gpt2Words])
        case "smollm": return Named(names: ["smollm"], steps: [.digits, .gpt2Words])
        case "deepseek-llm":
            return Named(
                names: ["deepseek-llm"],
                steps: [
                    .lineBreaks, .spacedRun(.cased), .spacedRun(.llmPunctuation), .trailingSpace,
                    .run(.llmIdeograph), .digits,
                ]
            )
        case "deepseek-coder":
            return Named(
                names: ["deepseek-coder"],
                steps: [
                    .lineBreaks, .spacedRun(.letter), .spacedRun(.punctuation), .run(.llmIdeograph), .digits,
                ]
            )
        case "deepseek-v3":
            return Named(names: ["deepseek-v3"], steps: [.numbersOfThree, .run(.v3Ideograph), .v3Words])
        case "llama-bpe", "llama3", "llama-v3":
            return Named(
                names: ["llama-bpe", "llama3", "llama-v3"],
                steps: [.pattern(try CompiledPattern(words(digits: "{1,3}"), file: file))],
                ignoresMerges: true
            )
        case "qwen2":
            return Named(
                names: ["qwen2"],
                steps: [.pattern(try CompiledPattern(words(digits: ""), file: file))]
            )
        case "default":
            return Named(
                names: ["default"],
                steps: [
                    .pattern(try CompiledPattern("[\\p{P}\\$\\+<=>\\^~\\|]+", file: file)), .gpt2Words,
                    .digitRuns, .pattern(try CompiledPattern("[0-9][0-9][0-9]", file: file)),
                ]
            )
        default: return nil
        }
    }

    /// The pattern of Llama 3 and, with single digits, of Qwen 2.
    private static func words(digits: String) -> String {
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}\(digits)| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
            + "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    }

    /// The name of this rule in GGUF files; nil for one without a name there.
    package var knownName: String? {
        let own = steps.map(\.label)
        for name in Self.knownNames {
            do throws(TokenizerError) {
                guard let rule = try Self.named(name, file: "") else { continue }
                if rule.steps.map(\.label) == own { return name }
            } catch {
                continue
            }
        }
        return nil
    }
}

extension PreTokenizer.Step {
    /// What distinguishes a step from others, for comparisons.
    var label: String {
        switch self {
        case .lineBreaks: "line breaks"
        case .spacedRun(let kinds): "spaced run \(kinds.rawValue)"
        case .run(let kinds): "run \(kinds.rawValue)"
        case .trailingSpace: "trailing space"
        case .digits: "digits"
        case .digitRuns: "digit runs"
        case .numbersOfThree: "numbers of three"
        case .v3Words: "v3 words"
        case .gpt2Words: "gpt2 words"
        case .pattern(let pattern): "pattern \(pattern.source)"
        }
    }
}
