#if Network
import DeepSeekVL
import Dispatch
import Foundation
import Logging

/// A whole run of a server: loads a model, listens, and ends on a signal when what runs has ended.
package enum Serving {
    /// What a run tells of itself.
    package enum Event: Sendable {
        case loading(Int, of: Int)
        case loaded(ServingEngine)
        case listening(host: String, port: Int)
        case draining(open: Int)
    }

    /// Serves until SIGTERM or SIGINT.
    ///
    /// - Throws: `DeepSeekVLError`, `ServerError`.
    package static func run(
        _ options: ServingOptions,
        _ settings: ServerSettings,
        logLevel: Logger.Level,
        onEvent: @escaping @Sendable (Event) -> Void
    ) async throws {
        // A client that is gone is no reason to end.
        signal(SIGPIPE, SIG_IGN)
        var logger = Logger(label: "deepseek-vl") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = logLevel
        let engine = try await ServingEngine.start(options) { onEvent(.loading($0, of: $1)) }
        onEvent(.loaded(engine))
        let server = HTTPServer(engine, settings, logger)
        let listening = Task {
            try await server.run { onEvent(.listening(host: settings.host, port: $0)) }
        }
        let signals = Signals([SIGTERM, SIGINT])
        let ending = Task {
            await signals.wait()
            onEvent(.draining(open: server.openCount))
            await server.drain()
            engine.stop()
            listening.cancel()
        }
        defer {
            ending.cancel()
            engine.stop()
        }
        do {
            try await listening.value
        } catch is CancellationError {
            // This is how it ends.
        }
    }
}

/// Waits for signals of the system.
private final class Signals: Sendable {
    private let stream: AsyncStream<Void>

    init(_ numbers: [Int32]) {
        let (stream, sink) = AsyncStream<Void>.makeStream()
        self.stream = stream
        let sources = numbers.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { sink.yield() }
            source.resume()
            return Held(source)
        }
        sink.onTermination = { _ in withExtendedLifetime(sources) {} }
    }

    func wait() async {
        for await _ in stream { return }
    }

    /// Keeps a source alive.
    private final class Held: Sendable {
        nonisolated(unsafe) private let source: any DispatchSourceSignal

        init(_ source: any DispatchSourceSignal) { self.source = source }
    }
}
#endif
