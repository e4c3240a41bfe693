import DeepSeekVL
import VLEngine
import VLJSON
import VLModels

/// Builds the answers of `/v1/responses`, whole or event by event.
struct ResponsesAnswer: AnswerBuilder {
    private enum Status: String {
        case inProgress = "in_progress"
        case completed, incomplete, failed
    }

    private let id: String
    private let created: Int
    private let model: ServedModel
    private let echo: JSONObject
    private var usage: UsageCount
    private var answer: AnswerSoFar
    /// Events so far.
    private var count: Int64 = 0

    let framing = StreamFraming.named

    init(_ body: ResponsesBody, _ prompt: DeskPrompt, id: String, created: Int, _ model: ServedModel) {
        self.id = id
        self.created = created
        self.model = model
        echo = body.echo
        usage = UsageCount(prompt: prompt.prompt.ids.count, images: prompt.prompt.imageTokens)
        answer = AnswerSoFar(body.request, prompt, model)
    }

    /// Notes what happened, and gives the events that say so.
    ///
    /// - Throws: `APIError` for an answer that did not come to an end.
    mutating func take(_ index: Int, _ event: ServedEvent) throws(APIError) -> [JSONValue] {
        switch event {
        case .accepted: return [self.event("created", ["response": response(.inProgress)])]
        case .started(let cached):
            usage.cached = cached
            return [
                self.event("in_progress", ["response": response(.inProgress)]),
                self.event("output_item.added", ["output_index": 0, "item": item(.inProgress, parts: [])]),
                self.event("content_part.added", place(["part": part])),
            ]
        case .token, .box, .scored, .pictures, .prefilled, .finished: break
        }
        guard let piece = try answer.take(event) else { return [] }
        usage.completion = answer.tokens
        var events: [JSONValue] = []
        if !piece.text.isEmpty || piece.probabilities != nil || !piece.grounding.isEmpty {
            var delta = place([
                "delta": .string(piece.text), "logprobs": .array(piece.probabilities ?? []),
            ])
            if !piece.grounding.isEmpty { delta["grounding"] = .array(piece.grounding) }
            events.append(self.event("output_text.delta", delta))
        }
        return answer.reason == nil ? events : events + end()
    }

    /// The events that end a stream.
    private mutating func end() -> [JSONValue] {
        let text = place(["text": .string(answer.text), "logprobs": .array(answer.probabilities)])
        return [
            event("output_text.done", text),
            event("content_part.done", place(["part": part])),
            event("output_item.done", ["output_index": 0, "item": item(status, parts: [part])]),
            event(status.rawValue, ["response": response(status)]),
        ]
    }

    mutating func failure(_ error: APIError) -> [JSONValue] {
        // The code is the only one of OpenAI's list that says nothing of the request.
        let reason: JSONValue = ["code": "server_error", "message": .string(error.message)]
        return [event("failed", ["response": response(.failed, error: reason)])]
    }

    private mutating func event(_ name: String, _ members: JSONObject) -> JSONValue {
        var event: JSONObject = ["type": .string("response." + name), "sequence_number": .integer(count)]
        for (key, value) in members { event[key] = value }
        count += 1
        return .object(event)
    }

    /// Members that say which part of the response an event is about.
    private func place(_ members: JSONObject) -> JSONObject {
        var all: JSONObject = ["item_id": .string("msg_" + id), "output_index": 0, "content_index": 0]
        for (key, value) in members { all[key] = value }
        return all
    }

    // MARK: Objects

    private var status: Status { answer.reason?.publicName == "length" ? .incomplete : .completed }

    private var part: JSONValue {
        var part: JSONObject = [
            "type": "output_text", "text": .string(answer.text), "annotations": [],
            "logprobs": .array(answer.probabilities),
        ]
        for (key, value) in answer.groundingMembers { part[key] = value }
        return .object(part)
    }

    private func item(_ status: Status, parts: [JSONValue]) -> JSONValue {
        [
            "type": "message", "id": .string("msg_" + id), "status": .string(status.rawValue),
            "role": "assistant", "content": .array(parts),
        ]
    }

    private func response(_ status: Status, error: JSONValue = .null) -> JSONValue {
        let isOver = status == .completed || status == .incomplete
        var response: JSONObject = [
            "id": .string("resp_" + id), "object": "response", "created_at": .integer(Int64(created)),
            "status": .string(status.rawValue), "background": false, "error": error,
            "incomplete_details": status == .incomplete ? ["reason": "max_output_tokens"] : .null,
            "model": .string(model.name), "output": isOver ? [item(status, parts: [part])] : [],
            "previous_response_id": .null, "reasoning": ["effort": .null, "summary": .null],
            "store": false, "tools": [], "truncation": "disabled",
            "usage": isOver ? usage.responsesJSON : .null,
        ]
        for (key, value) in echo { response[key] = value }
        return .object(response)
    }

    /// The whole answer.
    var json: JSONValue { response(status) }
}

extension UsageCount {
    /// The form of OpenAI's responses.
    var responsesJSON: JSONValue {
        [
            "input_tokens": .integer(Int64(prompt)),
            "input_tokens_details": [
                "cached_tokens": .integer(Int64(cached)), "cache_write_tokens": 0,
                "image_tokens": .integer(Int64(images)),
            ],
            "output_tokens": .integer(Int64(completion)),
            "output_tokens_details": ["reasoning_tokens": 0],
            "total_tokens": .integer(Int64(prompt + completion)),
        ]
    }
}
