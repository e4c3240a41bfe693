import DeepSeekVL
import VLEngine
import VLJSON
import VLModels
import VLText

/// Builds the answers of `/v1/completions`, whole or piece by piece.
struct CompletionAnswer: AnswerBuilder {
    private struct Choice {
        var text = ""
        var tokens: [GeneratedToken] = []
        var scores: [GeneratedToken] = []
        var reason: String?
        var offset = 0
        var isEchoed = false
    }

    let id: String
    let created: Int
    let model: ServedModel
    let body: CompletionBody
    /// One for each of the body's prompts.
    let prompts: [DeskPrompt]
    /// Tokens before those that the client sent.
    let hidden: Int
    private let reports: TokenReports
    private(set) var usage = UsageCount()
    private var choices: [Choice]

    init(
        _ body: CompletionBody,
        _ prompts: [DeskPrompt],
        hidden: Int,
        id: String,
        created: Int,
        _ model: ServedModel
    ) {
        self.id = "cmpl-" + id
        self.created = created
        self.model = model
        self.body = body
        self.prompts = prompts
        self.hidden = hidden
        reports = TokenReports(tokenizer: model.tokenizer)
        choices = Array(repeating: Choice(), count: prompts.count * body.sampling.choices)
        usage.prompt = prompts.reduce(0) { $0 + $1.prompt.ids.count - hidden }
    }

    /// Notes what happened, and gives the chunks of a stream that say so.
    ///
    /// - Throws: `APIError` for an answer that did not come to an end.
    mutating func take(_ index: Int, _ event: ServedEvent) throws(APIError) -> [JSONValue] {
        switch event {
        case .started(let cached): if index.isMultiple(of: body.sampling.choices) { usage.cached += cached }
        case .scored(let scores): choices[index].scores += scores
        case .token(let token, let text, let isEnd):
            // The harness of EleutherAI counts on the token behind the prompt, even if it ends the answer.
            if !isEnd || body.bestTokens != nil { choices[index].tokens.append(token) }
            if !isEnd { usage.completion += 1 }
            choices[index].text += text
            let chunks = echoChunks(index)
            guard !text.isEmpty || body.bestTokens != nil else { return chunks }
            return chunks + [chunk(index, text, [(token.id, token)])]
        case .finished(let end):
            guard let reason = end.reason.publicName else { throw .unfinished(end) }
            let chunks = echoChunks(index)
            choices[index].text += end.rest
            choices[index].reason = reason
            return chunks + [chunk(index, end.rest, [], reason: reason)]
        case .accepted, .pictures, .prefilled, .box: break
        }
        return []
    }

    private func head() -> JSONObject {
        [
            "id": .string(id), "object": "text_completion", "created": .integer(Int64(created)),
            "model": .string(model.name), "system_fingerprint": .string(model.fingerprint),
        ]
    }

    /// The chunk of a stream that echoes a choice's prompt, before its first token: then all scores are known.
    private mutating func echoChunks(_ index: Int) -> [JSONValue] {
        guard body.echoes, !choices[index].isEchoed else { return [] }
        choices[index].isEchoed = true
        let (text, tokens) = echo(index)
        return [chunk(index, text, tokens)]
    }

    private mutating func chunk(
        _ index: Int,
        _ text: String,
        _ tokens: [ReportedToken],
        reason: String? = nil
    ) -> JSONValue {
        var chunk = head()
        let lists = reports.lists(tokens, offset: choices[index].offset)
        choices[index].offset += tokens.reduce(0) { $0 + reports.text($1.id).unicodeScalars.count }
        chunk["choices"] = [
            [
                "index": .integer(Int64(index)), "text": .string(text),
                "logprobs": body.bestTokens == nil || tokens.isEmpty ? .null : lists,
                "finish_reason": reason.map { .string($0) } ?? .null,
            ]
        ]
        if body.sampling.includesUsage { chunk["usage"] = .null }
        return .object(chunk)
    }

    /// The last chunk of a stream that reports its usage.
    var ending: [JSONValue] {
        guard body.sampling.includesUsage else { return [] }
        var chunk = head()
        chunk["choices"] = []
        chunk["usage"] = usage.json
        return [.object(chunk)]
    }

    /// What a choice's prompt is echoed as: what the client sent, and its tokens with their scores.
    private func echo(_ index: Int) -> (text: String, tokens: [ReportedToken]) {
        let place = index / body.sampling.choices
        let ids = prompts[place].prompt.ids.dropFirst(hidden)
        let scores = choices[index].scores
        // Nothing comes before the first token, unless it is a begin token that is not told of.
        let unscored = max(0, ids.count - scores.count)
        let first: [ReportedToken] = ids.prefix(unscored).map { ($0, nil) }
        let tokens: [ReportedToken] = first + scores.suffix(ids.count).map { ($0.id, $0) }
        switch body.prompts[place] {
        case .text(let text): return (text, tokens)
        case .tokens: return (model.tokenizer.decode(Array(ids)), tokens)
        }
    }

    /// The whole answer.
    var json: JSONValue {
        var answer = head()
        answer["choices"] = .array(
            choices.enumerated().map { index, choice in
                var tokens: [ReportedToken] = choice.tokens.map { ($0.id, $0) }
                var text = choice.text
                if body.echoes {
                    let (prompt, echoed) = echo(index)
                    text = prompt + text
                    tokens = echoed + tokens
                }
                return [
                    "index": .integer(Int64(index)), "text": .string(text),
                    "logprobs": body.bestTokens == nil ? .null : reports.lists(tokens),
                    "finish_reason": choice.reason.map { .string($0) } ?? .null,
                ]
            }
        )
        answer["usage"] = usage.json
        return .object(answer)
    }
}
