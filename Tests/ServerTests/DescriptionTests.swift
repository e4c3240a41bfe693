#if Network
import Foundation
import Testing
import VLJSON

@testable import VLServer

@Suite("The OpenAPI description", .serialized)
struct DescriptionTests {
    /// An answer through the socket.
    private struct Answer {
        var status: Int
        var type: String
        var body: String

        init(_ text: String) throws {
            let head = try #require(text.firstMatch(of: /^HTTP\/1.1 (\d+)[^\r]*\r\n((?:.+\r\n)*)\r\n/))
            status = try #require(Int(head.1))
            type = String(head.2.firstMatch(of: /(?i)content-type: ([^;\r]+)/)?.1 ?? "")
            body = String(text[head.range.upperBound...])
        }

        /// The values that a schema is for: one, or one for each event of a stream.
        func values() throws -> [JSONValue] {
            guard type == "text/event-stream" else { return [try JSONValue(parsing: Array(body.utf8))] }
            var events: [JSONValue] = []
            var event = JSONObject()
            for line in body.split(whereSeparator: \.isNewline) {
                for field in ["event", "data"] where line.hasPrefix(field + ": ") {
                    event[field] = .string(String(line.dropFirst(field.count + 2)))
                }
                guard event["data"] != nil else { continue }
                events.append(.object(event))
                event = JSONObject()
            }
            return events
        }
    }

    private static let model = "shapes-vl2"

    private static func server(
        _ change: (inout ServerSettings) -> Void = { _ in }
    ) async throws -> (Loopback, APIDescription) {
        let server = try await Loopback {
            $0.modelNames = [model]
            change(&$0)
        }
        return (server, APIDescription(try await server.json(Loopback.get("/openapi.json"))))
    }

    /// Holds an answer against what is described for its status.
    private static func check(
        _ answer: Answer,
        _ operation: APIDescription.Operation,
        _ description: APIDescription,
        _ what: String
    ) throws {
        let schema = description.responseSchema(operation, status: answer.status, type: answer.type)
        let name = "\(operation.method) \(operation.path), \(what)"
        guard schema != nil else {
            Issue.record("\(name): \(answer.status) with \(answer.type) is not described")
            return
        }
        guard answer.type != "text/plain", answer.type != "text/html" else { return }
        let values = try answer.values()
        #expect(!values.isEmpty, "\(name)")
        for value in values {
            let mistakes = description.mistakes(value, schema, isClosed: true)
            #expect(mistakes.isEmpty, "\(name): \(mistakes.joined(separator: "\n"))")
        }
    }

    @Test("names every path that there is, and no other")
    func routes() throws {
        let description = APIDescription(try ServiceDescription.json(ServerSettings()))
        let described = description.operations.map {
            "\($0.method) \($0.path.replacing(/\{[a-z]+\}/, with: "*"))"
        }
        #expect(described.sorted() == Route.allCases.map(\.rawValue).sorted())
        for operation in description.operations {
            let route = Route(
                rawValue: "\(operation.method) \(operation.path.replacing(/\{[a-z]+\}/, with: "*"))"
            )
            #expect((operation.json["security"] == []) == (route?.needsKey == false), "\(operation.path)")
        }
    }

    @Test("has the very fields that are read, and answers that fit: shown by sending its examples")
    func examples() async throws {
        let read = Mutexed<Set<String>>([])
        let note: @Sendable (String) -> Void = { name in
            read.withLock { _ = $0.insert(name.replacing(/\[\d+\]/, with: "[]")) }
        }
        try await Fields.$onRead.withValue(note) {
            let (server, description) = try await Self.server()
            defer { server.end() }
            let operations = description.operations.filter { $0.method == "POST" }
            #expect(operations.count >= 5)
            for operation in operations {
                read.withLock { $0 = [] }
                #expect(!operation.examples.isEmpty, "\(operation.path)")
                for (name, body) in operation.examples {
                    let mistakes = description.mistakes(body, operation.requestSchema, isClosed: false)
                    #expect(mistakes.isEmpty, "\(operation.path), \(name): \(mistakes)")
                    let text = String(decoding: JSONWriter.encode(body), as: UTF8.self)
                    let answer = try Answer(await server.raw(Loopback.post(operation.path, text)))
                    #expect(answer.status == 200, "\(operation.path), \(name): \(answer.body)")
                    try Self.check(answer, operation, description, name)
                }
                let described = description.fields(operation.requestSchema)
                let found = read.withLock { $0 }
                #expect(
                    described == found,
                    "\(operation.path): \(described.symmetricDifference(found).sorted()) are described or read only"
                )
            }
        }
    }

    @Test("fits what can be read without a body")
    func reading() async throws {
        let (server, description) = try await Self.server()
        defer { server.end() }
        for operation in description.operations where operation.method == "GET" {
            let path = operation.path.replacing("{model}", with: Self.model)
                .replacing("{path}", with: "app.js")
            let answer = try Answer(await server.raw(Loopback.get(path)))
            #expect(answer.status == 200, "\(path)")
            if path.hasPrefix("/assets/") {
                #expect(answer.type == "text/javascript")
            } else {
                try Self.check(answer, operation, description, "as it is")
            }
        }
    }

    @Test("fits what is said of requests that are wrong")
    func errors() async throws {
        let (server, description) = try await Self.server { $0.keys = ["secret"] }
        defer { server.end() }
        let key = "Authorization: Bearer secret\r\n"
        for operation in description.operations where operation.json["security"] != [] {
            let path = operation.path.replacing("{model}", with: "another")
            func check(_ status: Int, _ request: String) async throws {
                let answer = try Answer(await server.raw(request))
                #expect(answer.status == status, "\(path): \(answer.body)")
                try Self.check(answer, operation, description, "\(status)")
            }
            let request = { (header: String) in
                operation.method == "POST" ? Loopback.post(path, "{", header) : Loopback.get(path, header)
            }
            try await check(401, request(""))
            try await check(421, request(key).replacing("Host: localhost", with: "Host: other.example"))
            if operation.method == "POST" {
                try await check(400, request(key))
                try await check(415, request(key).replacing("application/json", with: "text/plain"))
                try await check(413, request(key).replacing("Length: 1", with: "Length: 99999999999"))
            } else if operation.path.contains("{model}") {
                try await check(404, request(key))
            }
        }
    }

    @Test("forbids a text and a conversation in one request for tokens, and so does the server")
    func oneOrTheOther() async throws {
        let (server, description) = try await Self.server()
        defer { server.end() }
        let operation = try #require(description.operations.first { $0.path == "/tokenize" })
        let both: JSONValue = ["prompt": "a", "messages": [["role": "user", "content": "a"]]]
        #expect(!description.mistakes(both, operation.requestSchema, isClosed: false).isEmpty)
        // The text went before the conversation, which nobody looked at.
        let body = String(decoding: JSONWriter.encode(both), as: UTF8.self)
        let answer = try Answer(await server.raw(Loopback.post("/tokenize", body)))
        #expect(answer.status == 400 && answer.body.contains(#""param":"messages""#))
        try Self.check(answer, operation, description, "both")
    }

    @Test("says where its paths begin, whether they need a key, and whether the page is there")
    func settings() async throws {
        let (open, usual) = try await Self.server()
        defer { open.end() }
        #expect(usual.root["servers"] == [["url": "/"]])
        #expect(usual.root["security"] == [])
        let (other, description) = try await Self.server {
            $0.keys = ["secret"]
            $0.rootPath = "/vl"
            $0.servesPage = false
        }
        defer { other.end() }
        #expect(description.root["servers"] == [["url": "/vl"]])
        #expect(description.root["security"] == [["bearer": []], ["apiKey": []]])
        let paths = try #require(description.root["paths"]?.asObject)
        #expect(paths["/"] == nil && paths["/assets/{path}"] == nil && paths["/health"] != nil)
        let below = try await other.json(Loopback.get("/vl/openapi.json"))
        #expect(below == description.root)
    }
}
#endif
