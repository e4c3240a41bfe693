import DeepSeekVL
import VLEngine
import VLJSON
import VLModels

/// Builds the answers of `/v1/chat/completions`, whole or piece by piece.
struct ChatAnswer: AnswerBuilder {
    private let id: String
    private let created: Int
    private let model: ServedModel
    private let request: ChatRequest
    private var usage: UsageCount
    private var choices: [AnswerSoFar]

    init(_ request: ChatRequest, _ prompt: DeskPrompt, id: String, created: Int, _ model: ServedModel) {
        self.id = "chatcmpl-" + id
        self.created = created
        self.model = model
        self.request = request
        usage = UsageCount(prompt: prompt.prompt.ids.count, images: prompt.prompt.imageTokens)
        choices = Array(repeating: AnswerSoFar(request, prompt, model), count: request.sampling.choices)
    }

    /// Notes what happened, and gives the chunks of a stream that say so.
    ///
    /// - Throws: `APIError` for an answer that did not come to an end.
    mutating func take(_ index: Int, _ event: ServedEvent) throws(APIError) -> [JSONValue] {
        switch event {
        case .accepted: return choices.indices.map { chunk($0, ["role": "assistant", "content": ""]) }
        case .started(let cached):
            if index == 0 { usage.cached = cached }
            return progress(index, "prefill", done: cached, of: usage.prompt, cached: cached)
        case .pictures(let done, let total): return progress(index, "pictures", done: done, of: total)
        case .prefilled(let done, let total): return progress(index, "prefill", done: done, of: total)
        case .token, .box, .scored, .finished: break
        }
        let before = choices[index].tokens
        guard let piece = try choices[index].take(event) else { return [] }
        usage.completion += choices[index].tokens - before
        var chunks: [JSONValue] = []
        if !piece.text.isEmpty || piece.probabilities != nil {
            chunks.append(chunk(index, ["content": .string(piece.text)], probabilities: piece.probabilities))
        }
        if !piece.grounding.isEmpty { chunks.append(chunk(index, ["grounding": .array(piece.grounding)])) }
        if let reason = choices[index].reason?.publicName { chunks.append(chunk(index, [:], reason: reason)) }
        return chunks
    }

    /// A chunk without a choice that says how far the prompt is, if the client wants to know.
    private func progress(
        _ index: Int,
        _ phase: String,
        done: Int,
        of total: Int,
        cached: Int? = nil
    ) -> [JSONValue] {
        guard request.sampling.includesProgress else { return [] }
        var progress: JSONObject = [
            "index": .integer(Int64(index)), "phase": .string(phase), "done": .integer(Int64(done)),
            "total": .integer(Int64(total)),
        ]
        if let cached { progress["cached_tokens"] = .integer(Int64(cached)) }
        var chunk = head("chat.completion.chunk")
        chunk["choices"] = []
        chunk["progress"] = .object(progress)
        if request.sampling.includesUsage { chunk["usage"] = .null }
        return [.object(chunk)]
    }

    private func head(_ object: String) -> JSONObject {
        [
            "id": .string(id), "object": .string(object), "created": .integer(Int64(created)),
            "model": .string(model.name), "system_fingerprint": .string(model.fingerprint),
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
        if request.sampling.includesUsage { chunk["usage"] = .null }
        return .object(chunk)
    }

    /// The last chunk of a stream that reports its usage.
    var ending: [JSONValue] {
        guard request.sampling.includesUsage else { return [] }
        var chunk = head("chat.completion.chunk")
        chunk["choices"] = []
        chunk["usage"] = usage.json
        return [.object(chunk)]
    }

    /// The whole answer.
    var json: JSONValue {
        var answer = head("chat.completion")
        answer["choices"] = .array(
            choices.enumerated().map { index, choice in
                var message: JSONObject = [
                    "role": "assistant", "content": .string(choice.text), "refusal": .null,
                ]
                for (key, value) in choice.groundingMembers { message[key] = value }
                return [
                    "index": .integer(Int64(index)), "message": .object(message),
                    "logprobs": request.reportsProbabilities
                        ? ["content": .array(choice.probabilities), "refusal": .null] : .null,
                    "finish_reason": choice.reason?.publicName.map { .string($0) } ?? .null,
                ]
            }
        )
        answer["usage"] = usage.json
        return .object(answer)
    }
}
