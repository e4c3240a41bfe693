import DeepSeekVL
import VLEngine
import VLJSON
import VLModels
import VLText

/// Builds the answers of `/v1/chat/completions`, whole or piece by piece.
struct ChatAnswer: AnswerBuilder {
    private struct Choice {
        var text = ""
        var probabilities: [JSONValue] = []
        var grounding: [JSONValue] = []
        var problems: [String] = []
        var reason: String?
    }

    let id: String
    let created: Int
    let model: String
    let fingerprint: String
    let body: ChatBody
    let prompt: DeskPrompt
    let reports: TokenReports
    private(set) var usage: UsageCount
    private var choices: [Choice]

    init(_ body: ChatBody, _ prompt: DeskPrompt, id: String, created: Int, _ model: ServedModel) {
        self.id = "chatcmpl-" + id
        self.created = created
        self.model = model.name
        fingerprint = model.fingerprint
        self.body = body
        self.prompt = prompt
        reports = TokenReports(tokenizer: model.tokenizer)
        usage = UsageCount(prompt: prompt.prompt.ids.count, images: prompt.prompt.imageTokens)
        choices = Array(repeating: Choice(), count: body.sampling.choices)
    }

    /// Notes what happened, and gives the chunks of a stream that say so.
    ///
    /// - Throws: `APIError` for an answer that did not come to an end.
    mutating func take(_ index: Int, _ event: ServedEvent) throws(APIError) -> [JSONValue] {
        switch event {
        case .accepted: return choices.indices.map { chunk($0, ["role": "assistant", "content": ""]) }
        case .started(let cached):
            if index == 0 { usage.cached = cached }
            return []
        case .token(let token, let text, let isEnd):
            guard !isEnd else { return [] }
            usage.completion += 1
            choices[index].text += text
            var entries: [JSONValue]?
            if body.reportsProbabilities {
                let entry = reports.entry(token)
                choices[index].probabilities.append(entry)
                entries = [entry]
            }
            guard !text.isEmpty || entries != nil else { return [] }
            return [chunk(index, ["content": .string(text)], probabilities: entries)]
        case .box(let box):
            guard let json = GroundingReport.json(box, prompt.frames) else { return [] }
            return [chunk(index, ["grounding": [json]])]
        case .finished(let end):
            guard let reason = end.reason.publicName else { throw .unfinished(end) }
            choices[index].text += end.rest
            choices[index].reason = reason
            choices[index].grounding = end.boxes.compactMap { GroundingReport.json($0, prompt.frames) }
            choices[index].problems = end.problems
            var chunks: [JSONValue] = []
            if !end.rest.isEmpty { chunks.append(chunk(index, ["content": .string(end.rest)])) }
            return chunks + [chunk(index, [:], reason: reason)]
        case .prefilled, .scored: return []
        }
    }

    private func head(_ object: String) -> JSONObject {
        [
            "id": .string(id), "object": .string(object), "created": .integer(Int64(created)),
            "model": .string(model), "system_fingerprint": .string(fingerprint),
        ]
    }

    private func chunk(
        _ index: Int,
        _ delta: JSONObject,
        probabilities: [JSONValue]? = nil,
        reason: String? = nil
    ) -> JSONValue {
        var chunk = head("chat.completion.chunk")
        chunk["choices"] = [
            [
                "index": .integer(Int64(index)), "delta": .object(delta),
                "logprobs": probabilities.map { ["content": .array($0), "refusal": .null] } ?? .null,
                "finish_reason": reason.map { .string($0) } ?? .null,
            ]
        ]
        if body.sampling.includesUsage { chunk["usage"] = .null }
        return .object(chunk)
    }

    /// The last chunk of a stream that reports its usage.
    var usageChunk: JSONValue? {
        guard body.sampling.includesUsage else { return nil }
        var chunk = head("chat.completion.chunk")
        chunk["choices"] = []
        chunk["usage"] = usage.json
        return .object(chunk)
    }

    /// The whole answer.
    var json: JSONValue {
        var answer = head("chat.completion")
        answer["choices"] = .array(
            choices.enumerated().map { index, choice in
                var message: JSONObject = [
                    "role": "assistant", "content": .string(choice.text), "refusal": .null,
                ]
                if !prompt.frames.isEmpty {
                    message["grounding"] = .array(choice.grounding)
                    if !choice.problems.isEmpty {
                        message["grounding_problems"] = .array(choice.problems.map { .string($0) })
                    }
                }
                return [
                    "index": .integer(Int64(index)), "message": .object(message),
                    "logprobs": body.reportsProbabilities
                        ? ["content": .array(choice.probabilities), "refusal": .null] : .null,
                    "finish_reason": choice.reason.map { .string($0) } ?? .null,
                ]
            }
        )
        answer["usage"] = usage.json
        return .object(answer)
    }
}

extension APIError {
    /// An answer that did not come to its end.
    static func unfinished(_ end: ServedEnd) -> APIError {
        end.isExpired
            ? APIError(504, "the answer took longer than this server allows", code: "timeout")
            : APIError(503, "the request was cancelled", code: "cancelled")
    }
}

/// What answers say of the model.
struct ServedModel: Sendable {
    var name: String
    var fingerprint: String
    var tokenizer: Tokenizer
}
