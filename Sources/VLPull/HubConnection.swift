#if Network
import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import VLHub
import VLJSON

/// Requests to the hub: redirections are followed here, so that the token goes to the hub alone.
struct HubConnection: Sendable {
    /// What came back: the last response, and what the hub itself said on the way to it.
    struct Response {
        let url: HubURL
        let response: HTTPClientResponse
        /// The headers of the last response that the hub gave, which tell the commit and the contents' name.
        let hubHeaders: HTTPHeaders
    }

    /// How far a request goes.
    enum Reach {
        /// To the end, on whatever host that is.
        case anywhere
        /// Until the hub points to another host; that response is the last.
        case hub
    }

    let endpoint: HubURL
    let token: String?
    private let client: HTTPClient

    private static let longestChain = 10
    private static let headTimeout = TimeAmount.seconds(60)
    private static let longestMessage = 4096

    /// - Parameter idle: how long nothing may arrive until a connection counts as broken.
    /// - Throws: `PullError.endpoint`.
    init(_ settings: HubSettings, idle: Duration) throws(PullError) {
        guard let endpoint = HubURL(settings.endpoint), !endpoint.path.contains("?") else {
            throw .endpoint(variable: "HF_ENDPOINT", found: settings.endpoint)
        }
        self.endpoint = endpoint
        token = settings.token
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = .seconds(15)
        configuration.timeout.read = .milliseconds(max(idle.components.seconds * 1000, 100))
        // Over HTTP/2, several downloads would share one connection and its small window.
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
        if let text = settings.proxy {
            guard let proxy = HubURL(text.contains("://") ? text : "http://" + text), proxy.scheme == "http"
            else {
                throw .endpoint(variable: "HTTPS_PROXY", found: text)
            }
            configuration.proxy = .server(host: proxy.host, port: proxy.port)
        }
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Ends all connections.
    func close() async {
        // What cannot be ended any more is ended with the program.
        try? await client.shutdown()
    }

    /// The address of the hub's description of a repository at a revision.
    func listing(_ reference: ModelReference) -> HubURL {
        let revision = HubURL.escaped(reference.revision, keepsSlashes: false)
        return endpoint.appending("/api/models/\(reference.repository)/revision/\(revision)?blobs=true")
    }

    /// The address of a file of a commit.
    func file(_ name: String, repository: String, commit: String) -> HubURL {
        endpoint.appending("/\(repository)/resolve/\(commit)/\(HubURL.escaped(name, keepsSlashes: true))")
    }

    // MARK: Requests

    /// Sends a request and follows redirections.
    ///
    /// - Parameter hubHeaders: headers that only the hub gets.
    /// - Throws: `PullError.connection`, `.redirect`, and `.status` for statuses from 400 on.
    func send(
        _ method: HTTPMethod,
        _ url: HubURL,
        headers: [(String, String)] = [],
        hubHeaders: [(String, String)] = [],
        reach: Reach = .anywhere
    ) async throws(PullError) -> Response {
        var url = url
        var known = HTTPHeaders()
        for _ in 0...Self.longestChain {
            let isHub = url.origin == endpoint.origin
            var request = HTTPClientRequest(url: url.description)
            request.method = method
            request.headers.add(name: "User-Agent", value: "deepseek-vl")
            request.headers.add(name: "Accept", value: "*/*")
            // Packed bytes would have another size than the file.
            request.headers.add(name: "Accept-Encoding", value: "identity")
            request.headers.add(contentsOf: headers)
            if isHub {
                request.headers.add(contentsOf: hubHeaders)
                if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
            }
            let response = try await execute(request, url)
            if isHub { known = response.headers }
            let status = Int(response.status.code)
            guard [301, 302, 303, 307, 308].contains(status) else {
                guard (200..<300).contains(status) else {
                    throw await failure(response, url)
                }
                return Response(url: url, response: response, hubHeaders: known)
            }
            let location = response.headers.first(name: "Location") ?? ""
            guard let next = url.following(location) else {
                throw .redirect(
                    place: url.place,
                    reason: "expected a redirection to a plain address, found '\(location.excerpt())'"
                )
            }
            guard url.scheme == "http" || next.scheme == "https" else {
                throw .redirect(
                    place: url.place,
                    reason: "expected a redirection that stays encrypted, found \(next.place)"
                )
            }
            if reach == .hub && next.origin != endpoint.origin {
                return Response(url: url, response: response, hubHeaders: known)
            }
            await drain(response)
            url = next
        }
        throw .redirect(
            place: url.place,
            reason: "expected at most \(Self.longestChain) redirections, found more"
        )
    }

    /// The whole body of a small answer.
    ///
    /// - Throws: also `PullError.answer` for one that is longer than `limit`.
    func read(_ url: HubURL, limit: Int) async throws(PullError) -> [UInt8] {
        let answer = try await send(.GET, url)
        let expected = answer.response.headers.first(name: "Content-Length").flatMap(Int.init)
        if let expected, expected > limit {
            throw .answer(place: url.place, expected: "at most \(limit) bytes", found: "\(expected)")
        }
        var bytes: [UInt8] = []
        do {
            for try await part in answer.response.body {
                guard bytes.count + part.readableBytes <= limit else {
                    throw PullError.answer(
                        place: url.place,
                        expected: "at most \(limit) bytes",
                        found: "more"
                    )
                }
                bytes.append(contentsOf: part.readableBytesView)
            }
        } catch {
            throw Self.broken(error, answer.url)
        }
        return bytes
    }

    private func execute(
        _ request: HTTPClientRequest,
        _ url: HubURL
    ) async throws(PullError) -> HTTPClientResponse {
        do {
            return try await client.execute(request, timeout: Self.headTimeout)
        } catch {
            throw Self.broken(error, url)
        }
    }

    /// Reads what is left of a short body, so that its connection can be used again; gives up on a long one.
    private func drain(_ response: HTTPClientResponse) async {
        _ = try? await response.body.collect(upTo: Self.longestMessage)
    }

    // MARK: Failures

    /// What an error of the client means.
    static func broken(_ error: any Error, _ url: HubURL) -> PullError {
        switch error {
        case let error as PullError: return error
        case is CancellationError: return .cancelled
        case let error as HTTPClientError where error == .cancelled: return .cancelled
        case let error as HTTPClientError:
            return .connection(place: url.origin, reason: words(error.shortDescription))
        case let error as NIOConnectionError:
            let reason = error.connectionErrors.first.map { "\($0.error)" } ?? "no address for this name"
            return .connection(place: url.origin, reason: "cannot connect: \(words(reason))")
        default: return .connection(place: url.origin, reason: words("\(error)"))
        }
    }

    private static func words(_ text: String) -> String {
        "expected an answer, found: " + text.prefix(1).lowercased() + text.dropFirst()
    }

    /// The error of a status from 400 on, with the reason that the server gives.
    private func failure(_ response: HTTPClientResponse, _ url: HubURL) async -> PullError {
        await drain(response)
        let message = response.headers.first(name: "X-Error-Message") ?? ""
        let asked = response.headers.first(name: "Retry-After").flatMap {
            RetryAfter.parse($0, now: RetryAfter.now)
        }
        return .status(
            place: url.place,
            code: Int(response.status.code),
            message: Self.errorCode(response).map { message.isEmpty ? $0 : "\($0): \(message)" } ?? message,
            retryAfter: asked
        )
    }

    private static func errorCode(_ response: HTTPClientResponse) -> String? {
        response.headers.first(name: "X-Error-Code")
    }
}
#endif
