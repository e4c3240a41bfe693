import DeepSeekVL
import VLEngine
import VLJSON
import VLText

/// How the events of a stream are written.
enum StreamFraming: Sendable {
    /// Data alone, and `[DONE]` at the end.
    case data
    /// Each event under the name that is its `type`; the last one is the end.
    case named
}

/// What builds the answer of an endpoint from what happens.
protocol AnswerBuilder: Sendable {
    /// Notes what happened, and gives the chunks of a stream that say so.
    mutating func take(_ index: Int, _ event: ServedEvent) throws(APIError) -> [JSONValue]
    /// The last chunks of a stream.
    var ending: [JSONValue] { get }
    /// The chunks that end the stream of an answer that failed.
    mutating func failure(_ error: APIError) -> [JSONValue]
    /// A chunk for a client that has heard nothing for a while; nil for a comment.
    var ping: JSONValue? { get }
    /// The whole answer.
    var json: JSONValue { get }
    var framing: StreamFraming { get }
}

extension AnswerBuilder {
    var ending: [JSONValue] { [] }
    var ping: JSONValue? { nil }
    var framing: StreamFraming { .data }

    mutating func failure(_ error: APIError) -> [JSONValue] { [ErrorStyle.openAI.json(error)] }
}

/// What answers say of the model.
struct ServedModel: Sendable {
    var name: String
    var fingerprint: String
    var tokenizer: Tokenizer
}
