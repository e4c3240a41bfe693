#if Network
import DeepSeekVL
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import Synchronization
import Tracing
import VLEngine
import VLJSON

/// A request's connection and who sent it.
struct GateContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel
    /// The number of the key; nil where none is needed.
    var key: Int?
    var requestID = ""

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
    }
}

/// Lets requests in: hosts, keys, rates, lengths; then finds what answers them.
struct Gate: HTTPResponder {
    typealias Context = GateContext

    let service: Lobby
    let settings: ServerSettings
    let keys: APIKeys
    let rates: Mutexed<RateLimit>?
    /// Open requests of each key.
    let open = Mutexed<[Int: Int]>([:])
    let logger: Logger

    init(_ service: Lobby, _ logger: Logger) {
        self.service = service
        settings = service.settings
        keys = APIKeys(settings.keys)
        rates = settings.requestsPerMinute.map { Mutexed(RateLimit(perMinute: $0)) }
        self.logger = logger
    }

    func respond(to request: Request, context: GateContext) async throws -> Response {
        var context = context
        context.requestID = "req_" + Service.randomID()
        let clock = ContinuousClock()
        let start = clock.now
        service.metrics.begin()
        var response: Response
        var route = "none"
        let found = Result { () throws(APIError) in try find(request) }
        if case .success(let known) = found { route = known.path }
        let spans = RequestSpans("\(request.method) \(route)", request.headers, id: context.requestID)
        var holder: Int?
        do {
            let found = try found.get()
            try admit(request, &context, found)
            if request.method == .options {
                response = Response(status: .noContent)
            } else {
                if found.method == .post { holder = try enter(context) }
                response = try await answer(found, request, context, spans)
            }
        } catch let error as HTTPParserError {
            service.metrics.end()
            leave(holder)
            spans.end(status: nil)
            throw error
        } catch {
            response = refusal(APIError.wrapping(error), ErrorStyle(path: request.uri.path), context)
        }
        // The two interfaces' clients look for it under different names.
        for name in ["x-request-id", "request-id"] {
            if let id = HTTPField.Name(name) { response.headers[id] = context.requestID }
        }
        if let sniff = HTTPField.Name("X-Content-Type-Options") { response.headers[sniff] = "nosniff" }
        addOrigin(request, &response)
        let status = response.status.code
        service.metrics.count(route, status)
        let time = clock.now - start
        // Never what was asked or answered.
        logger.info(
            "request",
            metadata: [
                "id": "\(context.requestID)", "method": "\(request.method)", "route": "\(route)",
                "status": "\(status)", "key": "\(context.key.map(String.init) ?? "-")",
                "ms":
                    "\(Int(Double(time.components.seconds) * 1000 + Double(time.components.attoseconds) / 1e15))",
            ]
        )
        let metrics = service.metrics
        let body = response.body
        let held = holder
        response.body = ResponseBody(contentLength: body.contentLength) { writer in
            // A stream is open until its last byte is written.
            defer {
                metrics.end()
                leave(held)
                spans.end(status: status)
            }
            try await body.write(writer)
        }
        return response
    }

    /// Has a request answered, and all that is done for it noted.
    private func answer(
        _ route: Route,
        _ request: Request,
        _ context: GateContext,
        _ spans: RequestSpans
    ) async throws -> Response {
        guard spans.isRecording else { return try await service.answer(route, request, context) }
        return try await InstrumentationContext.withValue(spans.root.context) {
            try await ServingEngine.$observer.withValue({ spans.observe($0, $1) }) {
                try await service.answer(route, request, context)
            }
        }
    }

    /// Counts a request among those that its key has open.
    ///
    /// - Returns: whose it is, for `leave`; nil where nobody counts.
    private func enter(_ context: GateContext) throws(APIError) -> Int? {
        guard let most = settings.requestsAtOnce else { return nil }
        let key = context.key ?? -1
        let isFull = open.withLock { open in
            guard open[key, default: 0] < most else { return true }
            open[key, default: 0] += 1
            return false
        }
        guard isFull else { return key }
        var error = APIError(429, "too many requests at the same time", code: "too_many_open_requests")
        error.retryAfter = 1
        error.closes = true
        throw error
    }

    private func leave(_ key: Int?) {
        guard let key else { return }
        open.withLock { open in
            let left = open[key, default: 1] - 1
            open[key] = left > 0 ? left : nil
        }
    }

    // MARK: Routes

    private func find(_ request: Request) throws(APIError) -> Route {
        let path = request.uri.path
        let matches = Route.allCases.filter { $0.matches(path) }
        guard !matches.isEmpty else {
            throw APIError(404, "there is nothing at this path", code: "unknown_url")
        }
        if request.method == .options, !settings.origins.isEmpty { return matches[0] }
        let method = request.method == .head ? HTTPRequest.Method.get : request.method
        guard let route = matches.first(where: { $0.method == method }) else {
            var error = APIError(405, "this path takes other methods", code: "method_not_allowed")
            error.allow = Set(matches.map(\.method.rawValue)).sorted().joined(separator: ", ")
            error.closes = true
            throw error
        }
        return route
    }

    // MARK: Admission

    private func admit(_ request: Request, _ context: inout GateContext, _ route: Route) throws(APIError) {
        try checkHost(request)
        if let origin = request.headers[.origin], !settings.origins.isEmpty, !allows(origin) {
            throw APIError(403, "pages of this origin may not ask here", code: "origin_not_allowed")
        }
        if request.method == .options { return }
        if !keys.isOpen, route.needsKey {
            let shown = try shownKey(request)
            guard let number = keys.number(shown) else {
                var error = APIError(401, "this API key is not known here", code: "invalid_api_key")
                error.closes = true
                throw error
            }
            context.key = number
        }
        if route.method == .post, let wait = rates?.withLock({ $0.take(context.key ?? -1, .now) }) {
            var error = APIError(429, "too many requests in a minute", code: "rate_limit_exceeded")
            error.retryAfter = wait
            error.closes = true
            throw error
        }
    }

    private func shownKey(_ request: Request) throws(APIError) -> String {
        let fields = request.headers[values: .authorization]
        if fields.count == 1, fields[0].lowercased().hasPrefix("bearer ") {
            return String(fields[0].dropFirst("bearer ".count))
        }
        if fields.isEmpty, let name = HTTPField.Name("x-api-key"), let key = request.headers[name] {
            return key
        }
        var error = APIError(401, "expected one header 'Authorization: Bearer KEY'", code: "invalid_api_key")
        error.closes = true
        throw error
    }

    /// A page of the web whose name points to this machine must not speak to a server that listens for this machine.
    private func checkHost(_ request: Request) throws(APIError) {
        // The HTTP library takes the first one for the request's authority, and leaves others among the fields.
        guard let authority = request.head.authority, !authority.isEmpty,
            !request.headers.contains(where: { $0.name.canonicalName == "host" })
        else {
            throw APIError(400, "expected one header 'Host'", code: "invalid_host")
        }
        guard settings.isLoopback else { return }
        let name = Self.name(authority)
        let known = ["localhost", "127.0.0.1", "[::1]", "::1"] + settings.allowedHosts
        guard known.contains(name.lowercased()) else {
            throw APIError(
                421,
                "this server does not go by that name (see --allow-host)",
                code: "invalid_host"
            )
        }
    }

    /// A host without its port.
    private static func name(_ authority: String) -> String {
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            return String(authority[...end])
        }
        return String(authority.prefix { $0 != ":" })
    }

    private func allows(_ origin: String) -> Bool {
        settings.origins.contains("*") || settings.origins.contains(origin)
    }

    private func addOrigin(_ request: Request, _ response: inout Response) {
        guard let origin = request.headers[.origin], allows(origin) else { return }
        response.headers[.accessControlAllowOrigin] = settings.origins.contains("*") ? "*" : origin
        response.headers[.vary] = "Origin"
        if request.method == .options {
            response.headers[.accessControlAllowMethods] = "GET, POST, OPTIONS"
            response.headers[.accessControlAllowHeaders] =
                "authorization, content-type, x-api-key, anthropic-version, anthropic-beta"
            response.headers[.accessControlMaxAge] = "600"
        }
    }

    // MARK: Refusals

    private func refusal(_ error: APIError, _ style: ErrorStyle, _ context: GateContext) -> Response {
        var response = Service.json(
            style.json(error, requestID: context.requestID),
            status: error.status
        )
        if let seconds = error.retryAfter { response.headers[.retryAfter] = "\(seconds)" }
        if let allow = error.allow { response.headers[.allow] = allow }
        guard error.closes else { return response }
        // The rest of the request is not read: the connection has no further use.
        response.headers[.connection] = "close"
        let body = response.body
        let channel = context.channel
        response.body = ResponseBody(contentLength: body.contentLength) { writer in
            try await body.write(writer)
            channel.close(mode: .output, promise: nil)
            channel.eventLoop.scheduleTask(in: .seconds(1)) { channel.close(promise: nil) }
        }
        return response
    }
}

/// A value behind a lock, to be shared.
final class Mutexed<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    func withLock<Result: Sendable>(_ body: (inout sending Value) -> sending Result) -> Result {
        value.withLock(body)
    }
}

/// What can be asked for; what is not listed here does not exist.
enum Route: String, CaseIterable {
    case chat = "POST /v1/chat/completions"
    case completions = "POST /v1/completions"
    case messages = "POST /v1/messages"
    case countTokens = "POST /v1/messages/count_tokens"
    case responses = "POST /v1/responses"
    case models = "GET /v1/models"
    case model = "GET /v1/models/*"
    case plan = "POST /v1/plan"
    case tokenize = "POST /tokenize"
    case detokenize = "POST /detokenize"
    case tokenizerInfo = "GET /tokenizer_info"
    case health = "GET /health"
    case metrics = "GET /metrics"
    case openAPI = "GET /openapi.json"
    case page = "GET /"
    case assets = "GET /assets/*"

    var method: HTTPRequest.Method { rawValue.hasPrefix("POST") ? .post : .get }
    var path: String { String(rawValue.drop { $0 != "/" }) }
    /// Whether it is a file of the web page, which tells nothing itself; what it asks for is asked with a key.
    var isPage: Bool { self == .page || self == .assets }
    /// Whether it is shut to those without a key; what the service is like may be known to everybody.
    var needsKey: Bool { self != .health && self != .openAPI && !isPage }

    func matches(_ wanted: String) -> Bool {
        let path = path
        guard path.hasSuffix("*") else { return wanted == path }
        let start = path.dropLast()
        return wanted.hasPrefix(start) && wanted.utf8.count > start.utf8.count
    }
}
#endif
