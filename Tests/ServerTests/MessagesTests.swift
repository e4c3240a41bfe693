#if Network
import Testing
import VLJSON
import VLServer

@Suite("Anthropic's messages", .serialized)
struct MessagesTests {
    private let question = #""model":"m","temperature":0.8,"seed":7,"max_tokens":24,"#
    private let asked = #""messages":[{"role":"user","content":"Count."}]"#

    private func ask(_ server: Loopback, _ more: String = "") async throws -> JSONValue {
        try await server.json(Loopback.post("/v1/messages", "{\(question)\(asked)\(more)}"))
    }

    private func request(_ picture: String) -> String {
        let source = #"{"type":"base64","media_type":"image/png","data":"\#(picture)"}"#
        return #"{"model":"m","max_tokens":40,"temperature":0,"messages":[{"role":"user","content":["#
            + #"{"type":"image","source":\#(source)},"#
            + #"{"type":"text","text":"Where is <|ref|>the purple ring<|/ref|>?"}]}]"#
    }

    @Test("are answered as chats are, with Anthropic's members, counts and reasons")
    func whole() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let system = #""system":[{"type":"text","text":"Be brief."}],"#
        let chat = try await server.json(
            Loopback.post(
                "/v1/chat/completions",
                "{\(question)\(asked.replacing("[{", with: #"[{"role":"system","content":"Be brief."},{"#))}"
            )
        )
        let answer = try await server.json(Loopback.post("/v1/messages", "{\(question)\(system)\(asked)}"))
        #expect(answer["type"] == "message" && answer["role"] == "assistant" && answer["model"] == "m")
        let text = try #require(answer["content"]?.asArray?.first?["text"]?.asString)
        #expect(!text.isEmpty)
        #expect(text == chat["choices"]?.asArray?.first?["message"]?["content"]?.asString)
        let tokens = try #require(chat["usage"]?["prompt_tokens"]?.asInt)
        let usage = answer["usage"]
        #expect(
            (usage?["input_tokens"]?.asInt ?? 0) + (usage?["cache_read_input_tokens"]?.asInt ?? 0) == tokens
        )
        #expect(usage?["output_tokens"] == chat["usage"]?["completion_tokens"])
        let isCut = chat["choices"]?.asArray?.first?["finish_reason"] == "length"
        #expect(answer["stop_reason"] == (isCut ? "max_tokens" : "end_turn"))
        #expect(answer["stop_sequence"]?.isNull == true)
        let count = try await server.json(
            Loopback.post("/v1/messages/count_tokens", #"{"model":"m",\#(system)\#(asked)}"#)
        )
        #expect(count["input_tokens"]?.asInt == tokens)
    }

    @Test("end at a stop sequence, and name it")
    func stops() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let text = try #require(try await ask(server)["content"]?.asArray?.first?["text"]?.asString)
        let stop = String(text.dropFirst(1).prefix(1))
        let answer = try await ask(server, #","stop_sequences":["never said","\#(stop)"]"#)
        #expect(answer["stop_reason"] == "stop_sequence" && answer["stop_sequence"]?.asString == stop)
        let cut = try #require(answer["content"]?.asArray?.first?["text"]?.asString)
        #expect(text.hasPrefix(cut) && !cut.contains(stop))
    }

    @Test("stream the events of the interface in their order, and the text of the whole answer")
    func stream() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let whole = try await ask(server)
        let events = try await server.events(
            Loopback.post("/v1/messages", "{\(question)\(asked),\"stream\":true}")
        )
        let types = events.compactMap { $0["type"]?.asString }
        let deltas = events.filter { $0["type"] == "content_block_delta" }
        #expect(types.prefix(3) == ["message_start", "content_block_start", "ping"])
        #expect(types.suffix(3) == ["content_block_stop", "message_delta", "message_stop"])
        #expect(types.count == 6 + deltas.count)
        let joined = deltas.compactMap { $0["delta"]?["text"]?.asString }.joined()
        #expect(joined == whole["content"]?.asArray?.first?["text"]?.asString)
        let end = events[events.count - 2]
        #expect(end["delta"]?["stop_reason"] == whole["stop_reason"])
        #expect(end["usage"]?["output_tokens"] == whole["usage"]?["output_tokens"])
        #expect(events[0]["message"]?["stop_reason"]?.isNull == true)
    }

    @Test("have boxes as data, whole and streamed")
    func boxes() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let body = request(try Loopback.picture("ring-and-cross.png"))
        let whole = try await server.json(Loopback.post("/v1/messages", body + "}"))
        let boxes = try #require(whole["content"]?.asArray?.first?["grounding"]?.asArray)
        #expect(boxes.first?["label"] == "the purple ring")
        let events = try await server.events(Loopback.post("/v1/messages", body + #","stream":true}"#))
        #expect(events.flatMap { $0["delta"]?["grounding"]?.asArray ?? [] } == boxes)
    }

    @Test("refuse what is not served, and name it")
    func refusals() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let cases = [
            ("tools", #""tools":[{"name":"f","input_schema":{}}]"#),
            ("tool_choice", #""tool_choice":{"type":"any"}"#),
            ("thinking", #""thinking":{"type":"enabled","budget_tokens":1024}"#),
            ("container", #""container":"c""#), ("stop_sequences", #""stop_sequences":[""]"#),
            ("stop_sequences", #""stop_sequences":"a""#), ("temperature", #""temperature":3"#),
            ("metadata.user_id", #""metadata":{"user_id":5}"#),
            ("system[0].text", #""system":[{"type":"text"}]"#),
            ("output_config.format.schema", #""output_config":{"format":{"type":"json_schema"}}"#),
            (
                "output_config.format: ",
                #""output_config":{"format":{"type":"json_schema","schema":{"not":{}}}}"#
            ),
        ]
        for (name, field) in cases {
            let body = #"{"model":"m","max_tokens":2,\#(asked),\#(field)}"#
            let answer = await server.raw(Loopback.post("/v1/messages", body))
            #expect(answer.hasPrefix("HTTP/1.1 400") && answer.contains(#""message":"\#(name)"#), "\(answer)")
        }
        let harmless = #""tools":[],"tool_choice":{"type":"auto"},"thinking":{"type":"disabled"},"system":[]"#
        let body = #"{"model":"m","max_tokens":2,\#(asked),\#(harmless)}"#
        #expect(await server.raw(Loopback.post("/v1/messages", body)).hasPrefix("HTTP/1.1 200"))
    }

    @Test("that take too long are an error of the interface, whole and within a stream")
    func timeout() async throws {
        let server = try await Loopback { $0.requestSeconds = 0 }
        defer { server.end() }
        let request = Loopback.post("/v1/messages", "{\(question)\(asked)}")
        #expect(await server.raw(request).hasPrefix("HTTP/1.1 504"))
        #expect(try await server.json(request)["error"]?["type"] == "timeout_error")
        let events = try await server.events(
            Loopback.post("/v1/messages", "{\(question)\(asked),\"stream\":true}")
        )
        #expect(events.last?["type"] == "error" && events.last?["error"]?["type"] == "timeout_error")
    }

    @Test("word every error as Anthropic does, and OpenAI's paths do not")
    func errors() async throws {
        let server = try await Loopback { $0.keys = ["secret"] }
        defer { server.end() }
        let key = "x-api-key: secret\r\n"
        let cases: [(String, String, Int, String)] = [
            ("{}", "", 401, "authentication_error"), ("{", key, 400, "invalid_request_error"),
            (#"{"model":"x"}"#, key, 404, "not_found_error"),
            (#"{"model":"m"}"#, key, 400, "invalid_request_error"),
            (#"{"model":"m",\#(asked)}"#, key, 400, "invalid_request_error"),
        ]
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            // Tokens are counted without a limit of the answer.
            for (body, key, status, type) in path == "/v1/messages" ? cases[...] : cases.dropLast() {
                let answer = await server.raw(Loopback.post(path, body, key))
                #expect(answer.hasPrefix("HTTP/1.1 \(status)"))
                let json = try await server.json(Loopback.post(path, body, key))
                #expect(json["type"] == "error" && json["error"]?["type"]?.asString == type)
                #expect(json["error"]?["message"]?.asString?.isEmpty == false)
                let id = try #require(json["request_id"]?.asString)
                #expect(id.hasPrefix("req_"))
                #expect(answer.lowercased().contains("\r\nrequest-id: req_"))
            }
            #expect(try await server.json(Loopback.get(path, key))["type"] == "error")
        }
        let other = try await server.json(Loopback.post("/v1/responses", "{}"))
        #expect(other["type"] == nil && other["error"]?["code"] == "invalid_api_key")
    }
}
#endif
