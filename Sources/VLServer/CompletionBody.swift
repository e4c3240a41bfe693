import VLJSON

/// The body of `POST /v1/completions`.
struct CompletionBody: Sendable {
    enum Prompt: Sendable {
        case text(String)
        case tokens([Int32])
    }

    var prompts: [Prompt]
    var sampling: SamplingBody
    /// Longest answer; 0 only looks at the prompt.
    var maxTokens: Int
    var echoes: Bool
    /// How many of the most probable tokens are reported at each place; nil reports no probabilities.
    var bestTokens: Int?

    init(_ fields: Fields, _ desk: PromptDesk) throws(APIError) {
        prompts = try Self.prompts(fields, desk)
        sampling = try SamplingBody(openAI: fields, desk, mostStops: 64)
        echoes = try fields.bool("echo") ?? false
        maxTokens = try fields.int("max_tokens", 0...(1 << 53)) ?? 16
        guard maxTokens > 0 || echoes else {
            throw .field("max_tokens", expected: "at least 1, or echo: true", found: "0")
        }
        bestTokens = try fields.int("logprobs", 0...5)
        if let best = try fields.int("best_of", 1...16), best != sampling.choices {
            throw .unsupported("best_of", "another number than n")
        }
        try fields.refuse("suffix", unless: { $0 == "" })
        guard prompts.count * sampling.choices <= desk.settings.maxPrompts else {
            throw .field(
                "prompt",
                expected: "at most \(desk.settings.maxPrompts) answers (prompts times n)",
                found: "\(prompts.count * sampling.choices)"
            )
        }
    }

    private static func prompts(_ fields: Fields, _ desk: PromptDesk) throws(APIError) -> [Prompt] {
        let expected = "a text, a list of texts, a list of token ids, or a list of these"
        guard let value = fields.value("prompt") else {
            throw .field("prompt", expected: expected, found: "none")
        }
        func wrong(_ found: String) -> APIError { .field("prompt", expected: expected, found: found) }
        func text(_ text: String) throws(APIError) -> Prompt {
            guard !text.isEmpty else { throw wrong("an empty text") }
            return .text(text)
        }
        if let single = value.asString { return [try text(single)] }
        guard let list = value.asArray, let first = list.first else { throw wrong(value.summary) }
        if first.asInt != nil { return [.tokens(try tokens(value, desk))] }
        guard list.count <= desk.settings.maxPrompts else {
            throw .field(
                "prompt",
                expected: "at most \(desk.settings.maxPrompts) prompts",
                found: "\(list.count)"
            )
        }
        var prompts: [Prompt] = []
        for item in list {
            if let single = item.asString, first.asString != nil {
                prompts.append(try text(single))
            } else if item.asArray != nil, first.asArray != nil {
                prompts.append(.tokens(try tokens(item, desk)))
            } else {
                throw wrong("an element that is \(item.summary)")
            }
        }
        return prompts
    }

    /// Token ids of a list, each of them in the vocabulary.
    static func tokens(
        _ value: JSONValue,
        _ desk: PromptDesk,
        param: String = "prompt"
    ) throws(APIError) -> [Int32] {
        guard let list = value.asArray, !list.isEmpty else {
            throw .field(param, expected: "at least one token", found: value.summary)
        }
        var ids: [Int32] = []
        ids.reserveCapacity(list.count)
        for item in list {
            guard let id = item.asInt, id >= 0, id < desk.vocabularySize else {
                throw .field(param, expected: "token ids below \(desk.vocabularySize)", found: item.summary)
            }
            ids.append(Int32(id))
        }
        return ids
    }
}
