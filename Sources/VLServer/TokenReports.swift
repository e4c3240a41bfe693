import DeepSeekVL
import VLEngine
import VLJSON
import VLText

/// A token, and what is known of its probability.
typealias ReportedToken = (id: Int32, score: GeneratedToken?)

/// Probabilities of tokens in the forms of OpenAI's two endpoints.
struct TokenReports {
    let tokenizer: Tokenizer

    /// A token's text; bytes that are no text alone become U+FFFD.
    func text(_ id: Int32) -> String { String(decoding: tokenizer.bytes(of: id), as: UTF8.self) }

    /// A token's text that tells it from others: bytes that are no text alone as `bytes:\xe4\xbd`.
    func name(_ id: Int32) -> String {
        let bytes = tokenizer.bytes(of: id)
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        return "bytes:" + bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// JSON knows no infinity: what cannot happen gets OpenAI's lowest number.
    func number(_ value: Float) -> JSONValue { .number(value.isFinite ? Double(value) : -9999) }

    /// An entry of a chat answer's `logprobs.content`.
    func entry(_ token: GeneratedToken) -> JSONValue {
        func part(_ id: Int32, _ value: Float) -> JSONObject {
            [
                "token": .string(text(id)), "logprob": number(value),
                "bytes": .array(tokenizer.bytes(of: id).map { .integer(Int64($0)) }),
            ]
        }
        var entry = part(token.id, token.logProbability)
        entry["top_logprobs"] = .array(token.best.map { .object(part($0.id, $0.logProbability)) })
        return .object(entry)
    }

    /// The `logprobs` of a completion.
    ///
    /// - Parameters:
    ///   - tokens: with their probabilities, nil for a prompt's first one, which nothing precedes.
    ///   - offset: characters before the first one.
    func lists(_ tokens: [ReportedToken], offset: Int = 0) -> JSONValue {
        var texts: [JSONValue] = []
        var values: [JSONValue] = []
        var tops: [JSONValue] = []
        var offsets: [JSONValue] = []
        var place = offset
        for (id, score) in tokens {
            texts.append(.string(name(id)))
            values.append(score.map { number($0.logProbability) } ?? .null)
            var best = JSONObject()
            // Of tokens with the same text the most probable one counts.
            for item in score?.best ?? [] where best[name(item.id)] == nil {
                best[name(item.id)] = number(item.logProbability)
            }
            tops.append(score == nil ? .null : .object(best))
            offsets.append(.integer(Int64(place)))
            place += text(id).unicodeScalars.count
        }
        return [
            "tokens": .array(texts), "token_logprobs": .array(values), "top_logprobs": .array(tops),
            "text_offset": .array(offsets),
        ]
    }
}

extension FinishReason {
    /// OpenAI's word; nil for an answer that did not come to an end.
    var publicName: String? {
        switch self {
        case .stop, .stopString, .repetition: "stop"
        case .length, .constraint: "length"
        case .cancelled: nil
        }
    }
}

/// Tokens of a request and its answers.
struct UsageCount: Sendable {
    var prompt = 0
    var images = 0
    var cached = 0
    var completion = 0

    var json: JSONValue {
        [
            "prompt_tokens": .integer(Int64(prompt)), "completion_tokens": .integer(Int64(completion)),
            "total_tokens": .integer(Int64(prompt + completion)),
            "prompt_tokens_details": [
                "cached_tokens": .integer(Int64(cached)), "image_tokens": .integer(Int64(images)),
            ],
        ]
    }
}

/// Boxes as data.
enum GroundingReport {
    /// An object of the array `grounding`.
    ///
    /// The models name no picture: a box lies on the last one, as in the official code.
    static func json(_ box: GroundedBox, _ frames: [Frame]) -> JSONValue? {
        guard let frame = frames.last else { return nil }
        let object = PixelBoxes.object(
            box,
            frames.count - 1,
            frame.width,
            frame.height,
            frame.orientation,
            frame.orientation
        )
        func ints(_ values: [Int]) -> JSONValue { .array(values.map { .integer(Int64($0)) }) }
        return [
            "label": .string(object.label), "image": .integer(Int64(object.image)), "box": ints(object.box),
            "pixels": ints(object.pixels), "stored_pixels": ints(object.storedPixels),
            "confidence": box.confidence.map { .number($0) } ?? .null,
        ]
    }
}
