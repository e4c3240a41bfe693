#if Network
import DeepSeekVL
import HTTPTypes
import Synchronization
import Tracing
import VLEngine

/// The spans of one request: one for all of it, and one each for the time in the queue, the prompt and the answer.
///
/// They go to the tracer that the program around the server has bootstrapped; without one nothing is kept.
final class RequestSpans: Sendable {
    private struct State {
        var accepted: DefaultTracerClock.Timestamp?
        /// What an answer is at now.
        var open: [Int: any Span] = [:]
        var isEnded = false
    }

    let root: any Span
    private let state = Mutex(State())

    /// - Parameter name: the method and path of a route, never what a client sent.
    init(_ name: String, _ headers: HTTPFields, id: String) {
        var context = InstrumentationContext.current ?? .topLevel
        InstrumentationSystem.instrument.extract(headers, into: &context, using: HeaderExtractor())
        root = startSpan(name, context: context, ofKind: .server)
        root.attributes["request.id"] = id
    }

    /// Whether anybody keeps spans.
    var isRecording: Bool { root.isRecording }

    /// Notes what happens to an answer; called by the thread that computes it.
    func observe(_ answer: Int, _ event: ServedEvent) {
        state.withLock { state in
            guard !state.isEnded else { return }
            switch event {
            case .accepted: state.accepted = DefaultTracerClock.now
            case .started(let cached):
                open("queue", answer, at: state.accepted ?? DefaultTracerClock.now, &state)
                change(answer, to: "prefill", &state)
                state.open[answer]?.attributes["tokens.cached"] = cached
            case .token:
                if state.open[answer]?.operationName == "prefill" { change(answer, to: "decode", &state) }
            case .finished(let end):
                if state.open[answer] == nil {
                    open("queue", answer, at: state.accepted ?? DefaultTracerClock.now, &state)
                }
                state.open[answer]?.attributes["tokens.completion"] = end.tokens
                state.open[answer]?.attributes["finish_reason"] = end.reason.rawValue
                change(answer, to: nil, &state)
            case .prefilled, .pictures, .scored, .box: break
            }
        }
    }

    /// Ends everything.
    func end(status: Int?) {
        let left = state.withLock { state in
            defer {
                state.isEnded = true
                state.open = [:]
            }
            return state.isEnded ? nil : Array(state.open.values)
        }
        guard let left else { return }
        for span in left { span.end() }
        if let status {
            root.attributes["http.response.status_code"] = status
            if status >= 500 { root.setStatus(SpanStatus(code: .error)) }
        }
        root.end()
    }

    private func open(
        _ name: String,
        _ answer: Int,
        at time: DefaultTracerClock.Timestamp,
        _ state: inout State
    ) {
        let span = startSpan(name, context: root.context, at: time)
        span.attributes["answer"] = answer
        state.open[answer] = span
    }

    private func change(_ answer: Int, to name: String?, _ state: inout State) {
        state.open.removeValue(forKey: answer)?.end()
        if let name { open(name, answer, at: DefaultTracerClock.now, &state) }
    }
}

/// Finds what a caller's tracer sent along.
private struct HeaderExtractor: Extractor {
    func extract(key: String, from carrier: HTTPFields) -> String? {
        HTTPField.Name(key).flatMap { carrier[$0] }
    }
}
#endif
