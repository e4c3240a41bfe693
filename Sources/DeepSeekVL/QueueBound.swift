import Dispatch
import Synchronization

/// A value that only one queue touches, so that others may hold it.
final class QueueBound<Value>: @unchecked Sendable {
    // @unchecked Sendable: the value is touched on the queue only, for which no type speaks on every platform.
    private let value: Value
    private let queue: DispatchQueue

    /// - Parameter value: nobody else keeps it.
    init(_ value: Value, _ queue: DispatchQueue) {
        self.value = value
        self.queue = queue
    }

    /// Runs on the queue, after all that was asked for before, and waits for what it gives.
    func run<Result: Sendable>(_ body: @escaping @Sendable (Value) -> Result) async -> Result {
        await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: body(self.value)) }
        }
    }

    /// Runs on the queue, after all that was asked for before, and waits for what it gives or throws.
    func attempt<Result: Sendable>(
        _ body: @escaping @Sendable (Value) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            queue.async {
                do {
                    continuation.resume(returning: try body(self.value))
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    /// Runs on the queue; what it hands to its argument comes out of the sequence.
    ///
    /// - Parameter body: its argument says whether anybody still listens.
    func stream<Event: Sendable>(
        _ body: @escaping @Sendable (Value, (Event) -> Bool) throws -> Void
    ) -> AsyncThrowingStream<Event, any Error> {
        AsyncThrowingStream { continuation in
            let cancelled = Cancellation()
            continuation.onTermination = { _ in cancelled.cancel() }
            queue.async {
                do {
                    if !cancelled.isCancelled {
                        try body(self.value) { event in
                            continuation.yield(event)
                            return !cancelled.isCancelled
                        }
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }

    /// Another value of the same queue, made from this one there.
    func bound<Other>(_ make: @escaping @Sendable (Value) throws -> Other) async throws -> QueueBound<Other> {
        try await withCheckedThrowingContinuation { continuation in
            queue.async {
                do {
                    continuation.resume(returning: QueueBound<Other>(try make(self.value), self.queue))
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }
}

/// A flag that one thread sets and another looks at between steps.
private final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)

    var isCancelled: Bool { flag.load(ordering: .relaxed) }

    func cancel() { flag.store(true, ordering: .relaxed) }
}
