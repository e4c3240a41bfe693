#if Network
import InMemoryTracing
import Testing
import Tracing

@Suite("Spans of a request", .serialized)
struct SpanTests {
    private static let tracer: InMemoryTracer = {
        let tracer = InMemoryTracer()
        InstrumentationSystem.bootstrap(tracer)
        return tracer
    }()

    @Test(
        "are one for all of it, and in it those of the prompt, the queue, the rows and the answer, without contents"
    )
    func children() async throws {
        let tracer = Self.tracer
        let server = try await Loopback()
        defer { server.end() }
        let body =
            #"{"model":"m","max_tokens":6,"stream":true,"messages":[{"role":"user","content":"zebra"}]}"#
        let answer = await server.raw(Loopback.post("/v1/chat/completions", body))
        #expect(answer.contains("[DONE]"))
        var spans: [FinishedInMemorySpan] = []
        for _ in 0..<200 where !spans.contains(where: { $0.operationName.hasPrefix("POST") }) {
            try await Task.sleep(for: .milliseconds(10))
            spans = tracer.finishedSpans
        }
        let root = try #require(spans.first { $0.operationName == "POST /v1/chat/completions" })
        let children = spans.filter { $0.parentSpanID == root.spanID }
        #expect(Set(children.map(\.operationName)).isSuperset(of: ["prompt", "queue", "prefill", "decode"]))
        #expect(children.allSatisfy { $0.traceID == root.traceID })
        func look(_ key: String, _ value: SpanAttribute) { #expect(!"\(key) \(value)".contains("zebra")) }
        for span in [root] + children { span.attributes.forEach(look) }
        let times = ["queue", "prefill", "decode"].compactMap { name in
            children.first { $0.operationName == name }
        }
        for (one, next) in zip(times, times.dropFirst()) {
            #expect(
                one.endInstant.nanosecondsSinceEpoch <= next.startInstant.nanosecondsSinceEpoch + 1_000_000
            )
        }
    }
}
#endif
