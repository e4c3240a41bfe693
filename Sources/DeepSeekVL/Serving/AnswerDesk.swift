import VLEngine
import VLTensor
import VLText

/// What happened since it was asked last, for the statistics.
struct ServingNews {
    var firstToken: [Double] = []
    var betweenTokens: [Double] = []
    var finished: [String: Int] = [:]
    var expired = 0

    func add(to statistics: inout ServingStatistics) {
        for value in firstToken { statistics.firstToken.add(value) }
        for value in betweenTokens { statistics.betweenTokens.add(value) }
        statistics.finished.merge(finished) { $0 + $1 }
        statistics.expired += expired
    }
}

/// Who is told what happens to answers.
struct Listener {
    private let sink: ServingEngine.Events.Continuation
    private let observer: (@Sendable (Int, ServedEvent) -> Void)?

    init(_ sink: ServingEngine.Events.Continuation, _ observer: (@Sendable (Int, ServedEvent) -> Void)?) {
        self.sink = sink
        self.observer = observer
    }

    func send(_ answer: Int, _ event: ServedEvent) {
        observer?(answer, event)
        sink.yield((answer, event))
    }

    func finish(throwing error: (any Error)? = nil) { sink.finish(throwing: error) }
}

/// Turns tokens into text for those who listen; lives on the engine's thread.
struct AnswerDesk {
    private struct Answer {
        let group: Int
        let index: Int
        var text: AnswerText
        var boxes = GroundingParser()
        var tokens = 0
        var isExpired = false
        let begin: ContinuousClock.Instant
        var last: ContinuousClock.Instant?
    }

    private struct Group {
        let listener: Listener
        var open: Set<Int>
    }

    private let tokenizer: Tokenizer
    private var answers: [Int: Answer] = [:]
    private var groups: [Int: Group] = [:]
    private var news = ServingNews()

    init(_ tokenizer: Tokenizer) { self.tokenizer = tokenizer }

    /// What happened since this was asked last.
    mutating func takeNews() -> ServingNews {
        defer { news = ServingNews() }
        return news
    }

    /// Submits all answers of a group, or none.
    ///
    /// - Returns: why none was taken; the listener has been told.
    mutating func open(
        _ group: Int,
        _ requests: [ServedRequest],
        sharesPrompt: Bool,
        _ listener: Listener,
        _ time: ContinuousClock.Instant,
        _ runner: BatchRunner
    ) -> BatchRefusal? {
        var ids: [Int] = []
        for (index, request) in requests.enumerated() {
            var batch = request.batch
            if sharesPrompt { batch.after = ids.first }
            do throws(BatchRefusal) {
                let id = try runner.submit(batch)
                ids.append(id)
                answers[id] = Answer(
                    group: group,
                    index: index,
                    text: AnswerText(tokenizer, stop: request.stop),
                    begin: time
                )
            } catch {
                for id in ids {
                    answers[id] = nil
                    runner.end(id, .cancelled)
                }
                listener.finish(throwing: error)
                return error
            }
        }
        groups[group] = Group(listener: listener, open: Set(ids))
        listener.send(0, .accepted)
        if ids.isEmpty { listener.finish() }
        return nil
    }

    /// Ends all answers of a group whose listener has gone.
    mutating func cancel(_ group: Int, _ runner: BatchRunner) {
        for id in groups[group]?.open ?? [] { runner.end(id, .cancelled) }
    }

    /// Passes on what happened to an answer.
    mutating func report(
        _ id: Int,
        _ event: BatchEvent,
        _ now: ContinuousClock.Instant,
        _ runner: BatchRunner
    ) {
        guard var answer = answers[id], let group = groups[answer.group] else { return }
        func send(_ event: ServedEvent) { group.listener.send(answer.index, event) }
        switch event {
        case .started(let cached): send(.started(cachedTokens: cached))
        case .pictures(let done, let total): send(.pictures(done, of: total))
        case .prefilled(let done, let total): send(.prefilled(done, of: total))
        case .scored(let scores): send(.scored(scores))
        case .expired:
            answer.isExpired = true
            news.expired += 1
        case .token(let token, let isEnd):
            if let last = answer.last {
                news.betweenTokens.append((now - last).seconds)
            } else {
                news.firstToken.append((now - answer.begin).seconds)
            }
            answer.last = now
            if isEnd {
                send(.token(token, text: "", isEnd: true))
            } else {
                answer.tokens += 1
                let text = answer.text.push(token)
                let new = answer.boxes.push(
                    tokenizer.bytes(of: token.id),
                    logProbability: token.logProbability
                )
                send(.token(token, text: text, isEnd: false))
                if answer.text.isStopped {
                    runner.end(id, .stopString)
                } else {
                    for box in answer.boxes.boxes[new] { send(.box(box)) }
                }
            }
        case .finished(let reason):
            let rest = answer.text.finish()
            let parser = GroundingParser(answer.text.visibleBytes, tokens: answer.text.tokenEnds)
            send(
                .finished(
                    ServedEnd(
                        reason: reason,
                        stopString: answer.text.stopString,
                        rest: rest,
                        isExpired: answer.isExpired,
                        boxes: parser.boxes,
                        problems: parser.problems.map(\.description),
                        tokens: answer.tokens
                    )
                )
            )
            news.finished[reason.rawValue, default: 0] += 1
            answers[id] = nil
            groups[answer.group]?.open.remove(id)
            if groups[answer.group]?.open.isEmpty == true {
                groups[answer.group] = nil
                group.listener.finish()
            }
            return
        }
        answers[id] = answer
    }
}
