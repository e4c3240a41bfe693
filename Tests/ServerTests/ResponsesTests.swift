#if Network
import Testing
import VLJSON
import VLServer

@Suite("OpenAI's responses", .serialized)
struct ResponsesTests {
    private let question = #""model":"m","temperature":0.8,"seed":7,"max_output_tokens":24"#

    private func text(_ response: JSONValue?) -> String? {
        response?["output"]?.asArray?.first?["content"]?.asArray?.first?["text"]?.asString
    }

    @Test("are answered as chats are, for a text and for a list of messages")
    func whole() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let messages =
            #"[{"role":"system","content":"Be brief."},{"role":"user","content":"One."},"#
            + #"{"role":"assistant","content":"Two."},{"role":"user","content":"Count."}]"#
        let body = #"{"model":"m","temperature":0.8,"seed":7,"max_tokens":24,"messages":\#(messages)}"#
        let chat = try await server.json(Loopback.post("/v1/chat/completions", body))
        let said = try #require(chat["choices"]?.asArray?.first?["message"]?["content"]?.asString)
        let items =
            #"[{"role":"user","content":[{"type":"input_text","text":"One."}]},"#
            + #"{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":"#
            + #"[{"type":"output_text","text":"Two.","annotations":[]}]},{"role":"user","content":"Count."}]"#
        let answer = try await server.json(
            Loopback.post(
                "/v1/responses",
                #"{\#(question),"instructions":"Be brief.","input":\#(items),"metadata":{"a":"b"}}"#
            )
        )
        #expect(!said.isEmpty && text(answer) == said)
        #expect(answer["object"] == "response" && answer["store"] == false && answer["error"]?.isNull == true)
        #expect(answer["instructions"] == "Be brief." && answer["metadata"] == ["a": "b"])
        #expect(answer["temperature"]?.asDouble == 0.8 && answer["max_output_tokens"] == 24)
        let usage = answer["usage"]
        #expect(usage?["input_tokens"] == chat["usage"]?["prompt_tokens"])
        #expect(usage?["output_tokens"] == chat["usage"]?["completion_tokens"])
        #expect(usage?["total_tokens"] == chat["usage"]?["total_tokens"])
        let isCut = chat["choices"]?.asArray?.first?["finish_reason"] == "length"
        #expect(answer["status"] == (isCut ? "incomplete" : "completed"))
        let plain = try await server.json(Loopback.post("/v1/responses", #"{\#(question),"input":"Count."}"#))
        #expect(text(plain)?.isEmpty == false)
    }

    @Test("that are cut are incomplete, and say why")
    func cut() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let body = #"{"model":"m","temperature":0,"max_output_tokens":1,"input":"Count."}"#
        let answer = try await server.json(Loopback.post("/v1/responses", body))
        #expect(answer["status"] == "incomplete")
        #expect(answer["incomplete_details"]?["reason"] == "max_output_tokens")
        #expect(answer["output"]?.asArray?.first?["status"] == "incomplete")
        let events = try await server.events(
            Loopback.post("/v1/responses", body.dropLast() + #","stream":true}"#)
        )
        #expect(events.last?["type"] == "response.incomplete")
    }

    @Test("stream the events of the interface with their numbers, and the whole answer at the end")
    func stream() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let include = #""include":["message.output_text.logprobs"],"top_logprobs":2"#
        let body = #"{\#(question),"input":"Count.",\#(include)"#
        let whole = try await server.json(Loopback.post("/v1/responses", body + "}"))
        let events = try await server.events(Loopback.post("/v1/responses", body + #","stream":true}"#))
        #expect(events.map { $0["sequence_number"]?.asInt } == Array(0..<events.count))
        let types = events.compactMap { $0["type"]?.asString?.replacing("response.", with: "") }
        let deltas = events.filter { $0["type"] == "response.output_text.delta" }
        #expect(types.prefix(4) == ["created", "in_progress", "output_item.added", "content_part.added"])
        let ends = ["output_text.done", "content_part.done", "output_item.done"]
        #expect(types.dropLast().suffix(3) == ends[...])
        #expect(types.last == whole["status"]?.asString && types.count == 8 + deltas.count)
        let joined = deltas.compactMap { $0["delta"]?.asString }.joined()
        #expect(!joined.isEmpty && joined == text(whole) && joined == text(events.last?["response"]))
        let part = whole["output"]?.asArray?.first?["content"]?.asArray?.first
        let entries = try #require(part?["logprobs"]?.asArray)
        #expect(entries.count == whole["usage"]?["output_tokens"]?.asInt)
        #expect(entries.allSatisfy { $0["top_logprobs"]?.asArray?.count == 2 })
        #expect(deltas.flatMap { $0["logprobs"]?.asArray ?? [] } == entries)
        #expect(events.last?["response"]?["usage"]?["output_tokens"] == whole["usage"]?["output_tokens"])
        let ids = Set(events.compactMap { $0["item_id"]?.asString })
        #expect(ids.count == 1 && events[2]["item"]?["id"]?.asString == ids.first)
    }

    @Test("have boxes as data, whole and streamed")
    func boxes() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let url = "data:image/png;base64," + (try Loopback.picture("ring-and-cross.png"))
        let body =
            #"{"model":"m","temperature":0,"input":[{"role":"user","content":["#
            + #"{"type":"input_image","detail":"auto","image_url":"\#(url)"},"#
            + #"{"type":"input_text","text":"Where is <|ref|>the purple ring<|/ref|>?"}]}]"#
        let whole = try await server.json(Loopback.post("/v1/responses", body + "}"))
        let part = whole["output"]?.asArray?.first?["content"]?.asArray?.first
        let boxes = try #require(part?["grounding"]?.asArray)
        #expect(boxes.first?["label"] == "the purple ring")
        #expect((whole["usage"]?["input_tokens_details"]?["image_tokens"]?.asInt ?? 0) > 0)
        let events = try await server.events(Loopback.post("/v1/responses", body + #","stream":true}"#))
        let deltas = events.filter { $0["type"] == "response.output_text.delta" }
        #expect(deltas.flatMap { $0["grounding"]?.asArray ?? [] } == boxes)
    }

    @Test("that take too long have failed, which a stream says in its last event")
    func timeout() async throws {
        let server = try await Loopback { $0.requestSeconds = 0 }
        defer { server.end() }
        let body = #"{\#(question),"input":"Count.""#
        #expect(await server.raw(Loopback.post("/v1/responses", body + "}")).hasPrefix("HTTP/1.1 504"))
        let events = try await server.events(Loopback.post("/v1/responses", body + #","stream":true}"#))
        #expect(events.first?["type"] == "response.created")
        #expect(
            events.last?["type"] == "response.failed"
                && events.last?["sequence_number"]?.asInt == events.count - 1
        )
        let response = events.last?["response"]
        #expect(response?["status"] == "failed" && response?["error"]?["code"] == "server_error")
    }

    @Test("hold to a schema")
    func schema() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let schema =
            #"{"type":"object","properties":{"a":{"enum":["x","y"]}},"required":["a"],"additionalProperties":false}"#
        let format = #"{"type":"json_schema","name":"n","strict":true,"schema":\#(schema)}"#
        let body = #"{"model":"m","input":"Count.","text":{"format":\#(format)}}"#
        let answer = try await server.json(Loopback.post("/v1/responses", body))
        let value = try JSONValue(parsing: Array((text(answer) ?? "").utf8))
        #expect(value == ["a": "x"] || value == ["a": "y"])
        #expect(answer["text"]?["format"]?["name"] == "n")
    }

    @Test("refuse what is not served, and name it")
    func refusals() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let cases = [
            ("previous_response_id", #""resp_1""#), ("conversation", #""conv_1""#), ("store", "true"),
            ("background", "true"), ("tools", #"[{"type":"web_search"}]"#), ("tool_choice", #""required""#),
            ("truncation", #""auto""#), ("reasoning", #"{"effort":"high"}"#), ("prompt", #"{"id":"p"}"#),
            ("include", #"["file_search_call.results"]"#), ("top_logprobs", "3"), ("metadata", #"{"a":5}"#),
            ("text.verbosity", #"{"verbosity":"low"}"#),
            ("text.format.name", #"{"format":{"type":"json_schema","schema":{}}}"#),
            ("text.format", #"{"format":{"type":"json_schema","name":"n","schema":{"not":{}}}}"#),
            ("max_output_tokens", "0"), ("max_output_tokens", "1000000"),
            ("stream_options.include_obfuscation", #"{"include_obfuscation":true}"#),
            ("input[0].type", #"[{"type":"function_call_output","call_id":"c","output":"o"}]"#),
            ("input[0].role", #"[{"role":"tool","content":"a"}]"#),
            (
                "input[0].content[0].type",
                #"[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]"#
            ),
            ("input", "[]"), ("input", "null"), ("input", #""""#),
        ]
        for (name, value) in cases {
            let field = String(name.prefix { $0 != "." && $0 != "[" })
            let input = field == "input" ? "" : #","input":"a""#
            let body = #"{"model":"m","\#(field)":\#(value)\#(input)}"#
            let answer = await server.raw(Loopback.post("/v1/responses", body))
            #expect(answer.hasPrefix("HTTP/1.1 400") && answer.contains(#""param":"\#(name)""#), "\(answer)")
        }
        let harmless =
            #""store":false,"tools":[],"tool_choice":"auto","reasoning":{"effort":null},"truncation":"disabled""#
        let body = #"{"model":"m","input":"a","max_output_tokens":2,\#(harmless)}"#
        #expect(await server.raw(Loopback.post("/v1/responses", body)).hasPrefix("HTTP/1.1 200"))
    }
}
#endif
