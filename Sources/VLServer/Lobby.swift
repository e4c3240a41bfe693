#if Network
import DeepSeekVL
import Hummingbird
import VLEngine
import VLJSON

/// Where requests wait for the model: it is there from the beginning, or loaded for the first request that needs it.
final class Lobby: Sendable {
    private enum State: Sendable {
        case absent
        case loading(Task<Service, any Error>)
        case ready(Service)
    }

    let settings: ServerSettings
    let metrics = ServerMetrics()
    let isDraining = Mutexed(false)
    private let started: Int
    private let state: Mutexed<State>
    private let progress = Mutexed((done: 0, total: 0))
    private let load: HTTPServer.Load

    /// A lobby whose model is loaded when the first request needs it.
    init(
        _ settings: ServerSettings,
        now: Int,
        load: @escaping HTTPServer.Load
    ) {
        self.settings = settings
        self.load = load
        started = now
        state = Mutexed(.absent)
    }

    /// A lobby with a model.
    init(_ engine: ServingEngine, _ settings: ServerSettings, now: Int) {
        self.settings = settings
        started = now
        load = { _ in engine }
        state = Mutexed(.ready(Service(engine, settings, now: now, metrics: metrics, isDraining: isDraining)))
    }

    /// What answers, if the model is there.
    var ready: Service? {
        state.withLock { state in if case .ready(let service) = state { service } else { nil } }
    }

    /// What answers; the model is loaded if it is not there.
    ///
    /// - Throws: `APIError` if it cannot be loaded; the next request tries again.
    func service() async throws -> Service {
        let task = state.withLock { state in
            switch state {
            case .ready(let service): return Task<Service, any Error> { service }
            case .loading(let task): return task
            case .absent:
                let task = Task<Service, any Error> { [self] in
                    let engine = try await load { done, total in
                        self.progress.withLock { $0 = (done, total) }
                    }
                    return Service(engine, settings, now: started, metrics: metrics, isDraining: isDraining)
                }
                state = .loading(task)
                return task
            }
        }
        do {
            let service = try await task.value
            let isLate = state.withLock { state in
                state = .ready(service)
                return isDraining.withLock { $0 }
            }
            if isLate { service.engine.stop() }
            return service
        } catch {
            state.withLock { state in if case .loading = state { state = .absent } }
            throw APIError(
                503,
                "the model cannot be loaded; the server's messages say why",
                code: "model_not_loaded"
            )
        }
    }

    /// Answers a request that the gate let in.
    func answer(_ route: Route, _ request: Request, _ context: GateContext) async throws -> Response {
        if route.isPage {
            guard settings.servesPage else {
                throw APIError(404, "there is nothing at this path", code: "unknown_url")
            }
            return try WebPage.response(request.uri.path, request)
        }
        if route == .openAPI { return Service.json(try ServiceDescription.json(settings)) }
        if let early = early(route) { return early }
        return try await service().answer(route, request, context)
    }

    /// What can be said without the model; nil for everything else, or if it is there.
    private func early(_ route: Route) -> Response? {
        guard ready == nil else { return nil }
        switch route {
        case .health:
            if isDraining.withLock({ $0 }) { return Service.json(["status": "draining"], status: 503) }
            let isLoading = state.withLock { state in if case .loading = state { true } else { false } }
            guard isLoading else { return Service.json(["status": "unloaded"]) }
            let (done, total) = progress.withLock { $0 }
            return Service.json([
                "status": "loading",
                "progress": ["done": .integer(Int64(done)), "total": .integer(Int64(total))],
            ])
        case .models:
            let list: [JSONValue] = settings.modelNames.map {
                [
                    "id": .string($0), "object": "model", "created": .integer(Int64(started)),
                    "owned_by": "deepseek-vl", "loaded": false,
                ]
            }
            return Service.json(["object": "list", "data": .array(list)])
        case .metrics:
            // Whoever watches the server is not to load its model.
            let page = metrics.text(ServingStatistics(), model: settings.modelNames.first ?? "")
            return Service.text(Array(page.utf8), "text/plain; version=0.0.4; charset=utf-8")
        default: return nil
        }
    }

    /// Ends the engine, if there is one.
    func stop() { ready?.engine.stop() }
}
#endif
