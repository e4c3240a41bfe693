import DeepSeekVL
import VLEngine
import VLJSON
import VLModels

/// Builds the answers of `/v1/messages`, whole or event by event.
struct MessagesAnswer: AnswerBuilder {
    private let id: String
    private let model: ServedModel
    /// Texts that the client wants to stop at; the model's own are ends of its turn.
    private let stops: [String]
    private var usage: UsageCount
    private var answer: AnswerSoFar
    private var hasBegun = false

    let framing = StreamFraming.named

    init(_ request: ChatRequest, _ prompt: DeskPrompt, id: String, _ model: ServedModel) {
        self.id = "msg_" + id
        self.model = model
        stops = request.sampling.stop
        usage = UsageCount(prompt: prompt.prompt.ids.count)
        answer = AnswerSoFar(request, prompt, model)
    }

    /// Notes what happened, and gives the events that say so.
    ///
    /// - Throws: `APIError` for an answer that did not come to an end.
    mutating func take(_ index: Int, _ event: ServedEvent) throws(APIError) -> [JSONValue] {
        if case .started(let cached) = event {
            usage.cached = cached
            hasBegun = true
            let block: JSONValue = ["type": "text", "text": ""]
            return [
                ["type": "message_start", "message": message(content: [])],
                ["type": "content_block_start", "index": 0, "content_block": block],
                ["type": "ping"],
            ]
        }
        guard let piece = try answer.take(event) else { return [] }
        usage.completion = answer.tokens
        var events: [JSONValue] = []
        if !piece.text.isEmpty || !piece.grounding.isEmpty {
            var delta: JSONObject = ["type": "text_delta", "text": .string(piece.text)]
            if !piece.grounding.isEmpty { delta["grounding"] = .array(piece.grounding) }
            events.append(["type": "content_block_delta", "index": 0, "delta": .object(delta)])
        }
        guard answer.reason != nil else { return events }
        let delta: JSONValue = ["stop_reason": stopReason, "stop_sequence": stopSequence]
        return events + [
            ["type": "content_block_stop", "index": 0],
            ["type": "message_delta", "delta": delta, "usage": usage.anthropicJSON],
            ["type": "message_stop"],
        ]
    }

    private var stopSequence: JSONValue {
        guard let stop = answer.stopString, stops.contains(stop) else { return .null }
        return .string(stop)
    }

    private var stopReason: JSONValue {
        guard let name = answer.reason?.publicName else { return .null }
        if stopSequence != .null { return "stop_sequence" }
        return name == "length" ? "max_tokens" : "end_turn"
    }

    private func message(content: JSONValue) -> JSONValue {
        [
            "id": .string(id), "type": "message", "role": "assistant", "model": .string(model.name),
            "content": content, "stop_reason": stopReason, "stop_sequence": stopSequence,
            "usage": usage.anthropicJSON,
        ]
    }

    /// What keeps a silent stream open.
    var ping: JSONValue? { hasBegun ? ["type": "ping"] : nil }

    mutating func failure(_ error: APIError) -> [JSONValue] { [ErrorStyle.anthropic.json(error)] }

    /// The whole answer.
    var json: JSONValue {
        var block: JSONObject = ["type": "text", "text": .string(answer.text), "citations": .null]
        for (key, value) in answer.groundingMembers { block[key] = value }
        return message(content: [.object(block)])
    }
}

extension UsageCount {
    /// Anthropic's form, in which tokens that were computed before are no part of the input's.
    var anthropicJSON: JSONValue {
        [
            "input_tokens": .integer(Int64(prompt - cached)), "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": .integer(Int64(cached)), "output_tokens": .integer(Int64(completion)),
        ]
    }
}
