#if Network
import DeepSeekVL
import Foundation
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOCore
import NIOSSL

extension Service {
    /// Seconds since 1970.
    var now: Int { Int(Date().timeIntervalSince1970) }
}

/// Why a server does not start.
package enum ServerError: Error, CustomStringConvertible {
    /// Certificate or key cannot be used.
    case tls(String)
    /// The address cannot be listened at.
    case address(host: String, port: Int, reason: String)

    package var description: String {
        switch self {
        case .tls(let reason): "TLS: expected a certificate and its key as PEM files: \(reason)"
        case .address(let host, let port, let reason):
            "\(host):\(port): expected an address to listen at: \(reason)"
        }
    }
}

/// The HTTP server around an engine.
package final class HTTPServer: Sendable {
    private let service: Service
    private let logger: Logger

    package init(_ engine: ServingEngine, _ settings: ServerSettings, _ logger: Logger) {
        service = Service(engine, settings, now: Int(Date().timeIntervalSince1970))
        self.logger = logger
    }

    /// Requests that are being served.
    package var openCount: Int { service.metrics.openCount }

    /// Listens until the task is cancelled.
    ///
    /// - Parameter onRunning: gets the port that is listened at.
    /// - Throws: `ServerError`.
    package func run(onRunning: @escaping @Sendable (Int) -> Void) async throws {
        let settings = service.settings
        var base = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [DepartureHandler()],
                idleTimeout: .seconds(Int64(settings.idleSeconds))
            )
        )
        if let certificate = settings.certificate, let key = settings.privateKey {
            do {
                let chain = try NIOSSLCertificate.fromPEMFile(certificate).map {
                    NIOSSLCertificateSource.certificate($0)
                }
                let configuration = TLSConfiguration.makeServerConfiguration(
                    certificateChain: chain,
                    privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
                )
                base = try .tls(base, tlsConfiguration: configuration)
            } catch {
                throw ServerError.tls("\(error)")
            }
        }
        var quiet = logger
        // What it calls errors at an end is how an end looks; failures to listen are thrown.
        quiet.logLevel = .critical
        let app = Application(
            responder: Gate(service, logger),
            server: base,
            configuration: .init(
                address: .hostname(settings.host, port: settings.port),
                availableConnectionsDelegate: .maximum(settings.maxConnections, logger: quiet)
            ),
            onServerRunning: { onRunning($0.localAddress?.port ?? settings.port) },
            logger: quiet
        )
        do {
            try await app.runService(gracefulShutdownSignals: [])
        } catch let error as IOError {
            throw ServerError.address(host: settings.host, port: settings.port, reason: "\(error)")
        }
    }

    /// Takes no more requests, and waits until those that are open have ended, but not for ever.
    package func drain() async {
        service.isDraining.withLock { $0 = true }
        let end = ContinuousClock.now + .seconds(service.settings.graceSeconds)
        while openCount > 0, ContinuousClock.now < end {
            try? await Task.sleep(for: .milliseconds(50))
        }
    }
}
#endif
