import VLEngine
import VLText

/// One answer that a server is asked for.
package struct ServedRequest: Sendable {
    package var batch: BatchRequest
    /// Texts that end the answer.
    package var stop: [String]

    package init(_ batch: BatchRequest, stop: [String]) {
        self.batch = batch
        self.stop = stop
    }
}

/// What happens to one of the answers that were asked for.
package enum ServedEvent: Sendable {
    /// All that were asked for together are in the queue.
    case accepted
    /// It began; so many tokens of its prompt were computed for another one before.
    case started(cachedTokens: Int)
    /// So many of its pictures are encoded, or were found encoded.
    case pictures(Int, of: Int)
    case prefilled(Int, of: Int)
    /// Probabilities of the prompt's tokens, in their order.
    case scored([GeneratedToken])
    /// A token and the text that is certain with it; an end token is no part of the answer.
    case token(GeneratedToken, text: String, isEnd: Bool)
    /// A box was closed.
    case box(GroundedBox)
    case finished(ServedEnd)
}

/// Answers that are being given, together.
package struct ServedAnswers: Sendable {
    /// Which answer, and what happened to it.
    ///
    /// Throws `BatchRefusal`; `CancellationError` when the engine stops.
    package let events: AsyncThrowingStream<(answer: Int, event: ServedEvent), any Error>
    /// Ends them all within a step; the events end with them.
    package let cancel: @Sendable () -> Void
}

/// How an answer ended.
package struct ServedEnd: Sendable {
    package var reason: FinishReason
    /// The stop string that cut the text; nil for none.
    package var stopString: String?
    /// Text that was held back until now.
    package var rest: String
    /// Whether its time was over.
    package var isExpired: Bool
    /// All boxes of the answer.
    package var boxes: [GroundedBox]
    package var problems: [String]
    /// Tokens of the answer.
    package var tokens: Int
}

/// Counts of values below bounds, as monitoring systems read them.
package struct Histogram: Sendable {
    /// Upper bounds in seconds; above the last one there is one bucket more.
    package let bounds: [Double]
    /// Values in each bucket.
    package private(set) var counts: [Int]
    package private(set) var sum = 0.0

    package init(_ bounds: [Double]) {
        self.bounds = bounds
        counts = [Int](repeating: 0, count: bounds.count + 1)
    }

    /// All values.
    package var count: Int { counts.reduce(0, +) }

    /// Takes a value.
    package mutating func add(_ value: Double) {
        counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
        sum += value
    }
}

/// What an engine did and does.
package struct ServingStatistics: Sendable {
    package var batch = BatchStatistics()
    package var firstToken = Histogram([0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300])
    package var betweenTokens = Histogram([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5])
    package var finished: [String: Int] = [:]
    package var expired = 0
    package var refused: [String: Int] = [:]
    /// When the last step ended; nil before the first.
    package var lastStep: ContinuousClock.Instant?
    /// Whether a step is being computed.
    package var isBusy = false

    package init() {}
}
