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
        logsJSON: Bool = false,
        onEvent: @escaping @Sendable (Event) -> Void
    ) async throws {
        // A client that is gone is no reason to end.
        signal(SIGPIPE, SIG_IGN)
        var logger = Logger(label: "deepseek-vl") { label -> any LogHandler in
            logsJSON ? JSONLogHandler() : StreamLogHandler.standardError(label: label)
        }
        logger.logLevel = logLevel
        let told = logger
        let load: HTTPServer.Load = { onLayer in
            do {
                let engine = try await ServingEngine.start(options) {
                    onLayer($0, $1)
                    onEvent(.loading($0, of: $1))
                }
                onEvent(.loaded(engine))
                return engine
            } catch {
                // Clients are not told what lies where on this machine.
                if settings.loadsLazily { told.error("the model cannot be loaded: \(error)") }
                throw error
            }
        }
        let server =
            settings.loadsLazily
            ? HTTPServer(settings, logger, load: load)
            : HTTPServer(try await load { _, _ in }, settings, logger)
        let listening = Task {
            try await server.run { onEvent(.listening(host: settings.host, port: $0)) }
        }
        let signals = Signals([SIGTERM, SIGINT])
        let ending = Task {
            await signals.wait()
            onEvent(.draining(open: server.openCount))
            await server.drain()
            server.stop()
            listening.cancel()
        }
        defer {
            ending.cancel()
            server.stop()
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
