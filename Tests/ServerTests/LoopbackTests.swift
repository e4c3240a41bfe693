#if Network
import DeepSeekVL
import Foundation
import Logging
import Synchronization
import Testing
import VLEngine
import VLJSON
import VLModels
import VLServer
import VLTestSupport
import VLText

/// A server of the bundled model on a port of its own, which a test speaks to through a socket.
final class Loopback: Sendable {
    let engine: ServingEngine
    let port: Int
    private let task: Task<Void, any Error>

    init(_ change: (inout ServerSettings) -> Void = { _ in }) async throws {
        var options = ServingOptions()
        options.threads = 2
        options.cacheBytes = 32 << 20
        engine = try await ServingEngine.start(options)
        var settings = ServerSettings()
        settings.port = 0
        settings.modelNames = ["m"]
        change(&settings)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let server = HTTPServer(engine, settings, logger)
        let (ports, sink) = AsyncStream<Int>.makeStream()
        task = Task { try await server.run { sink.yield($0) } }
        var iterator = ports.makeAsyncIterator()
        port = try #require(await iterator.next())
    }

    func end() {
        engine.stop()
        task.cancel()
    }

    /// Sends a request and gives what came until the server closed, or until `isEnough`.
    func raw(_ text: String, isEnough: @escaping @Sendable (String) -> Bool = { _ in false }) async -> String
    {
        let port = port
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(returning: Self.exchange(port, text, isEnough))
            }
        }
    }

    static func exchange(_ port: Int, _ text: String, _ isEnough: (String) -> Bool) -> String {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let isOpen = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isOpen else { return "" }
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { break }
            sent += count
        }
        var answer: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(socket, &part, part.count, 0)
            guard count > 0 else { break }
            answer += part[..<count]
            if isEnough(String(decoding: answer, as: UTF8.self)) { break }
        }
        return String(decoding: answer, as: UTF8.self)
    }

    static func post(_ path: String, _ body: String, _ header: String = "") -> String {
        "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            + header + "Content-Length: \(body.utf8.count)\r\n\r\n" + body
    }

    static func get(_ path: String, _ header: String = "") -> String {
        "GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\(header)\r\n"
    }

    /// The JSON of an answer.
    func json(_ request: String) async throws -> JSONValue {
        let answer = await raw(request)
        let body = try #require(answer.range(of: "\r\n\r\n")).upperBound
        return try JSONValue(parsing: Array(answer[body...].utf8))
    }

    /// The events of a stream; the names of those that have one are their types.
    func events(_ request: String) async throws -> [JSONValue] {
        var events: [JSONValue] = []
        var name: Substring?
        for line in await raw(request).split(whereSeparator: \.isNewline) {
            if line.hasPrefix("event: ") { name = line.dropFirst("event: ".count) }
            guard line.hasPrefix("data: {") else { continue }
            let event = try JSONValue(parsing: Array(line.dropFirst("data: ".count).utf8))
            if let name { #expect(event["type"]?.asString == String(name)) }
            name = nil
            events.append(event)
        }
        return events
    }

    /// A picture of the examples, in base64.
    static func picture(_ name: String) throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
        return try Data(contentsOf: root.appendingPathComponent("Examples").appendingPathComponent(name))
            .base64EncodedString()
    }
}

@Suite("The server through a socket", .serialized)
struct LoopbackTests {
    @Test("streams the text that it gives in one piece, and ends with [DONE]")
    func streaming() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let body =
            #""model":"m","temperature":0.8,"seed":7,"max_tokens":24,"messages":[{"role":"user","content":"Count."}]"#
        let whole = try await server.json(Loopback.post("/v1/chat/completions", "{\(body)}"))
        let text = try #require(whole["choices"]?.asArray?.first?["message"]?["content"]?.asString)
        #expect(!text.isEmpty)
        let stream = await server.raw(Loopback.post("/v1/chat/completions", "{\(body),\"stream\":true}"))
        #expect(stream.contains("text/event-stream") && stream.contains("data: [DONE]\n\n"))
        var joined = ""
        for line in stream.split(whereSeparator: \.isNewline) where line.hasPrefix("data: {") {
            let chunk = try JSONValue(parsing: Array(line.dropFirst("data: ".count).utf8))
            joined += chunk["choices"]?.asArray?.first?["delta"]?["content"]?.asString ?? ""
        }
        #expect(joined == text)
    }

    @Test(
        "echoes and scores prompts of token ids: one entry a token, the first without a value, and one token more"
    )
    func scoring() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let body =
            #"{"model":"m","prompt":[[5,6,7,8],[9,10]],"max_tokens":1,"logprobs":1,"echo":true,"temperature":0}"#
        let answer = try await server.json(Loopback.post("/v1/completions", body))
        let choices = try #require(answer["choices"]?.asArray)
        #expect(choices.map { $0["logprobs"]?["token_logprobs"]?.asArray?.count } == [5, 3])
        for choice in choices {
            let values = try #require(choice["logprobs"]?["token_logprobs"]?.asArray)
            #expect(values[0].isNull && values.dropFirst().allSatisfy { ($0.asDouble ?? 1) <= 0 })
            let tops = try #require(choice["logprobs"]?["top_logprobs"]?.asArray)
            // The token was the most probable one, so both numbers are the same.
            let best = try #require(tops.last?.asObject).compactMap { $0.value.asDouble }
            #expect(best == [values.last?.asDouble])
        }
    }

    @Test(
        "streams an echoed prompt with its scores: together the chunks are the whole answer",
        arguments: [1, 0]
    )
    func echoedStream(maxTokens: Int) async throws {
        let server = try await Loopback()
        defer { server.end() }
        let body =
            #""model":"m","prompt":["one two","three"],"n":2,"max_tokens":\#(maxTokens),"logprobs":2,"#
            + #""echo":true,"temperature":0"#
        let whole = try await server.json(Loopback.post("/v1/completions", "{\(body)}"))
        let chunks = try await server.events(Loopback.post("/v1/completions", "{\(body),\"stream\":true}"))
        let choices = try #require(whole["choices"]?.asArray)
        #expect(choices.count == 4)
        for choice in choices {
            let own = chunks.compactMap { $0["choices"]?.asArray?.first }.filter {
                $0["index"] == choice["index"]
            }
            #expect(own.compactMap { $0["text"]?.asString }.joined() == choice["text"]?.asString)
            for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                let joined = own.flatMap { $0["logprobs"]?[list]?.asArray ?? [] }
                #expect(.array(joined) == choice["logprobs"]?[list], "\(list)")
            }
            #expect(own.last?["finish_reason"] == choice["finish_reason"])
        }
    }

    @Test("plans n answers as one prompt and n ends")
    func plan() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let text = String(repeating: "one two three ", count: 60)
        func cost(_ n: Int) async throws -> JSONValue {
            let body =
                #"{"n":\#(n),"max_tokens":100,"messages":[{"role":"user","content":"\#(text)"}]}"#
            return try await server.json(Loopback.post("/v1/plan", body))
        }
        let one = try await cost(1)
        let three = try await cost(3)
        let tokens = try #require(one["prompt_tokens"]?.asInt)
        #expect(tokens > 64 && three["n"]?.asInt == 3)
        let blocks = (tokens + 100 + 63) / 64
        let ends = blocks - (tokens - 1) / 64
        #expect(one["cache_bytes"]?.asInt == blocks * server.engine.blockBytes)
        #expect(three["cache_bytes"]?.asInt == (blocks + 2 * ends) * server.engine.blockBytes)
    }

    @Test("refuses a request with two hosts, or with none")
    func hosts() async throws {
        let server = try await Loopback()
        defer { server.end() }
        #expect(await server.raw(Loopback.get("/health")).hasPrefix("HTTP/1.1 200"))
        for second in ["localhost", "evil.example"] {
            let answer = await server.raw(Loopback.get("/health", "Host: \(second)\r\n"))
            #expect(answer.hasPrefix("HTTP/1.1 400") && answer.contains("invalid_host"))
        }
        let none = await server.raw("GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        #expect(none.hasPrefix("HTTP/1.1 400"))
    }

    @Test("opens to a known key only, but for /health")
    func keys() async throws {
        let server = try await Loopback { $0.keys = ["secret"] }
        defer { server.end() }
        for path in ["/v1/models", "/v1/models/m", "/metrics", "/tokenizer_info"] {
            #expect(await server.raw(Loopback.get(path)).hasPrefix("HTTP/1.1 401"))
            #expect(
                await server.raw(Loopback.get(path, "Authorization: Bearer wrong\r\n")).hasPrefix(
                    "HTTP/1.1 401"
                )
            )
            #expect(
                await server.raw(Loopback.get(path, "Authorization: Bearer secret\r\n")).hasPrefix(
                    "HTTP/1.1 200"
                )
            )
        }
        let paths = [
            "/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/messages/count_tokens",
            "/v1/responses", "/v1/plan", "/tokenize", "/detokenize",
        ]
        for path in paths {
            #expect(await server.raw(Loopback.post(path, "{}")).hasPrefix("HTTP/1.1 401"))
        }
        #expect(await server.raw(Loopback.get("/health")).hasPrefix("HTTP/1.1 200"))
    }

    @Test("frees everything when a client goes while its answer is streamed")
    func departure() async throws {
        let server = try await Loopback { $0.defaultMaxTokens = 1900 }
        defer { server.end() }
        // No end token is likely enough against this bias, so that only the departure ends the answer.
        let ends = server.engine.loaded.endTokens.map { "\"\($0)\":-100" }.joined(separator: ",")
        let body =
            #"{"model":"m","stream":true,"logit_bias":{"# + ends
            + #"},"messages":[{"role":"user","content":"Count."}]}"#
        _ = await server.raw(Loopback.post("/v1/chat/completions", body)) { $0.contains("content\":") }
        var isFree = false
        for _ in 0..<400 where !isFree {
            try await Task.sleep(for: .milliseconds(10))
            let statistics = server.engine.statistics
            isFree = statistics.batch.running == 0 && statistics.batch.blocksReserved == 0
        }
        #expect(isFree)
        #expect(server.engine.statistics.finished["cancelled"] == 1)
    }
}

@Suite("Guarded texts")
struct GuardedTextTests {
    @Test("have the tokens of their characters, none of them special, and no place for a picture")
    func special() throws {
        let loaded = try ModelHost(nil, threads: 1).loaded
        var tokenizer = loaded.tokenizer
        let special = tokenizer.added.filter(\.isSpecial).map { String(decoding: $0.text, as: UTF8.self) }
        #expect(special.count >= 5)
        let guarding = GuardedText(tokenizer, tags: ["<image>"], allowed: ["<|ref|>"])
        tokenizer.removesGuards = true
        let doubled = special.map { "a \($0)\($0) b" }
        let nested = ["<<|User|>", "<|User<|User|>|>"]
        let texts = (special + doubled + nested).filter { !$0.contains("<|ref|>") }
        for text in texts {
            let guarded = guarding.guarded(text)
            #expect(!guarded.contains("<image>"))
            let ids = try tokenizer.encode(guarded)
            #expect(!ids.contains { tokenizer.isSpecial($0) })
            #expect(ids == (try loaded.tokenizer.encode(text, parsesSpecial: false)))
            #expect(tokenizer.decode(ids) == text)
        }
        let allowed = try tokenizer.encode(guarding.guarded("a <|ref|>b"))
        #expect(allowed == (try loaded.tokenizer.encode("a <|ref|>b")))
        // A mark of the text's own guards nothing and stays a character.
        let mark = String(decoding: [0xEF, 0xB7, 0x90] as [UInt8], as: UTF8.self)
        #expect(tokenizer.decode(try tokenizer.encode(guarding.guarded("x\(mark)y"))) == "x\u{FFFD}y")
    }
}
#endif
