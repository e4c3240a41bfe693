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
    private let load:
        @Sendable (_ onLayer: @escaping @Sendable (Int, Int) -> Void) async throws -> ServingEngine

    /// A lobby whose model is loaded when the first request needs it.
    init(
        _ settings: ServerSettings,
        now: Int,
        load:
            @escaping @Sendable (_ onLayer: @escaping @Sendable (Int, Int) -> Void) async throws ->
            ServingEngine
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
            throw APIError(503, "the model cannot be loaded: \(error)", code: "model_not_loaded")
        }
    }

    /// Answers what can be said without the model; nil for everything else.
    func answer(_ route: Route) -> Response? {
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
        default: return nil
        }
    }

    /// Ends the engine, if there is one.
    func stop() { ready?.engine.stop() }
}
#endif
