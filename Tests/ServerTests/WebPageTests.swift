#if Network
import CVLWeb
import DeepSeekVL
import Foundation
import Logging
import Testing
import VLJSON
import VLServer

@Suite("The web page", .serialized)
struct WebPageTests {
    /// The page's files in the program by their paths.
    private static let embedded: [String: [UInt8]] = {
        var files: [String: [UInt8]] = [:]
        for index in 0..<vl_web_count() {
            let asset = vl_web_asset_at(index)
            files[String(cString: asset.path)] = Array(
                UnsafeBufferPointer(start: asset.bytes, count: asset.count)
            )
        }
        return files
    }()

    @Test("has every file of its folder in the program, byte for byte, and is at most 300 KB in all")
    func files() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
        let folder = root.appendingPathComponent("Sources/CVLWeb/assets")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
            !$0.hasPrefix(".")
        }
        #expect(names.count > 10)
        for name in names {
            let bytes = Array(try Data(contentsOf: folder.appendingPathComponent(name)))
            #expect(Self.embedded[name == "index.html" ? "" : "assets/" + name] == bytes, "\(name)")
        }
        #expect(Self.embedded.values.reduce(0) { $0 + $1.count } <= 300_000)
    }

    @Test("names only files that there are, by addresses that are relative")
    func references() throws {
        let page = String(decoding: try #require(Self.embedded[""]), as: UTF8.self)
        let names = page.matches(of: /(?:src|href)="([^"#]+)"/).map { String($0.1) }
        #expect(names.count >= 4)
        for name in names { #expect(Self.embedded[name] != nil, "\(name)") }
        for (path, bytes) in Self.embedded where path.hasSuffix(".js") {
            let source = String(decoding: bytes, as: UTF8.self)
            for match in source.matches(of: /from "\.\/([^"]+)"/) {
                #expect(Self.embedded["assets/" + match.1] != nil, "\(path): \(match.1)")
            }
        }
    }

    @Test("is served without a key, with a strict policy, and not sent again while it is the same")
    func serving() async throws {
        let server = try await Loopback { $0.keys = ["secret"] }
        defer { server.end() }
        let page = await server.raw(Loopback.get("/"))
        #expect(page.hasPrefix("HTTP/1.1 200"))
        #expect(page.contains("text/html; charset=utf-8"))
        let policy = try #require(page.firstMatch(of: /(?i)content-security-policy: (.*)\r\n/)).1
        #expect(policy.hasPrefix("default-src 'none'; script-src 'self'; style-src 'self'"))
        #expect(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"))
        #expect(page.lowercased().contains("x-content-type-options: nosniff"))
        let tag = try #require(page.firstMatch(of: /(?i)etag: (.*)\r\n/)).1
        #expect(await server.raw(Loopback.get("/", "If-None-Match: \(tag)\r\n")).hasPrefix("HTTP/1.1 304"))
        #expect(await server.raw(Loopback.get("/", "If-None-Match: \"other\"\r\n")).hasPrefix("HTTP/1.1 200"))
        #expect(await server.raw(Loopback.get("/assets/app.js")).contains("text/javascript"))
        for path in ["/assets/", "/assets/none.js", "/assets/../index.html", "/index.html"] {
            #expect(await server.raw(Loopback.get(path)).hasPrefix("HTTP/1.1 404"), "\(path)")
        }
        #expect(await server.raw(Loopback.get("/v1/models")).hasPrefix("HTTP/1.1 401"))
    }

    @Test("is below the path that a proxy leaves in front, with everything else, and may be turned off")
    func rootPath() async throws {
        let below = try await Loopback { $0.rootPath = "/vl" }
        defer { below.end() }
        for path in ["/vl/", "/vl/assets/app.js", "/vl/v1/models", "/vl/health", "/health"] {
            #expect(await below.raw(Loopback.get(path)).hasPrefix("HTTP/1.1 200"), "\(path)")
        }
        #expect(await below.raw(Loopback.get("/vlx/health")).hasPrefix("HTTP/1.1 404"))
        let without = try await Loopback { $0.servesPage = false }
        defer { without.end() }
        #expect(await without.raw(Loopback.get("/")).hasPrefix("HTTP/1.1 404"))
        #expect(await without.raw(Loopback.get("/assets/app.js")).hasPrefix("HTTP/1.1 404"))
    }

    @Test("streams say how far pictures and prompt are, if they are asked to, and only then")
    func progress() async throws {
        let server = try await Loopback()
        defer { server.end() }
        let picture = try Loopback.picture("shapes.png")
        func body(_ options: String) -> String {
            #"{"model":"m","stream":true,"max_tokens":2,"stream_options":{\#(options)},"messages":[{"role":"user","#
                + #""content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,\#(picture)"}},"#
                + #"{"type":"text","text":"What is it?"}]}]}"#
        }
        let request = Loopback.post(
            "/v1/chat/completions",
            body(#""include_usage":true,"include_progress":true"#)
        )
        let chunks = try await server.raw(request).split(whereSeparator: \.isNewline)
            .filter { $0.hasPrefix("data: {") }
            .map { try JSONValue(parsing: Array($0.dropFirst("data: ".count).utf8)) }
        let told = chunks.compactMap { $0["progress"] }
        let pictures = told.filter { $0["phase"]?.asString == "pictures" }
        #expect(pictures.map { $0["done"]?.asInt } == [1] && pictures.map { $0["total"]?.asInt } == [1])
        let prefill = told.filter { $0["phase"]?.asString == "prefill" }
        #expect(prefill.first?["cached_tokens"]?.asInt == 0)
        let prompt = chunks.compactMap { $0["usage"]?["prompt_tokens"]?.asInt }
        #expect(prompt.count == 1 && prefill.last?["done"]?.asInt == prompt.first)
        #expect(prefill.allSatisfy { $0["total"]?.asInt == prompt.first })
        let silent = await server.raw(Loopback.post("/v1/chat/completions", body(#""include_usage":true"#)))
        #expect(silent.contains("[DONE]") && !silent.contains("progress"))
    }

    @Test("is there before a model that is loaded for the first question, and a failure to load is told")
    func lazy() async throws {
        var settings = ServerSettings()
        settings.port = 0
        settings.modelNames = ["m"]
        settings.loadsLazily = true
        let attempts = Attempts()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let server = HTTPServer(settings, logger) { onLayer in
            if await attempts.next() == 1 { throw CancellationError() }
            var options = ServingOptions()
            options.threads = 1
            options.cacheBytes = 16 << 20
            return try await ServingEngine.start(options, onLayer: onLayer)
        }
        let (ports, sink) = AsyncStream<Int>.makeStream()
        let task = Task { try await server.run { sink.yield($0) } }
        defer {
            server.stop()
            task.cancel()
        }
        var iterator = ports.makeAsyncIterator()
        let port = try #require(await iterator.next())
        func ask(_ request: String) async -> String {
            await withCheckedContinuation { continuation in
                Thread.detachNewThread {
                    continuation.resume(returning: Loopback.exchange(port, request) { _ in false })
                }
            }
        }
        #expect(await ask(Loopback.get("/")).hasPrefix("HTTP/1.1 200"))
        #expect(await ask(Loopback.get("/health")).contains(#""status":"unloaded""#))
        #expect(await ask(Loopback.get("/v1/models")).contains(#""loaded":false"#))
        #expect(await ask(Loopback.get("/metrics")).contains("queue_length"))
        let body = #"{"model":"m","max_tokens":2,"messages":[{"role":"user","content":"Count."}]}"#
        let failure = await ask(Loopback.post("/v1/chat/completions", body))
        #expect(failure.hasPrefix("HTTP/1.1 503") && failure.contains("model_not_loaded"))
        #expect(await ask(Loopback.post("/v1/chat/completions", body)).hasPrefix("HTTP/1.1 200"))
        #expect(await ask(Loopback.get("/health")).contains(#""status":"ok""#))
        #expect(await ask(Loopback.get("/v1/models")).contains(#""loaded":true"#))
        #expect(await attempts.count == 2)
    }
}

/// Counts how often a model was loaded.
private actor Attempts {
    private(set) var count = 0

    func next() -> Int {
        count += 1
        return count
    }
}
#endif
