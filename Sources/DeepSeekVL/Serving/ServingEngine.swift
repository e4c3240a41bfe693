import Dispatch
import Synchronization
import VLEngine
import VLModels
import VLTensor
import VLText

/// How a serving engine is set up.
package struct ServingOptions: Sendable {
    /// A checkpoint's folder, or a name of the hub; nil for the default model.
    package var model: String?
    /// A GGUF file with the vision tower of a model whose own file has none; nil to look beside it.
    package var vision: String?
    package var threads: Int?
    package var compute = Compute.auto
    package var weights = WeightPolicy()
    package var cacheType: DType?
    /// Bytes of keys and values of all requests.
    package var cacheBytes = 2 << 30
    /// Bytes of encoded pictures that are kept.
    package var featureBytes = 256 << 20
    /// Folder of encoded pictures that are kept beyond a run; nil for none.
    package var featureFolder: String?
    /// Bytes of that folder.
    package var featureFolderBytes = 4 << 30
    /// Rows of a step.
    package var stepRows = 128
    /// Requests that run at the same time.
    package var running = 64
    /// Requests that wait.
    package var waiting = 256
    package var sharesPrefixes = true

    package init() {}
}

/// A loaded model that answers any number of requests at the same time, on a thread of its own.
package final class ServingEngine: Sendable {
    /// What a listener of several answers gets: which one, and what happened to it.
    package typealias Events = AsyncThrowingStream<(answer: Int, event: ServedEvent), any Error>

    /// Told of everything that happens to the answers that the present task asks for, by the thread that computes them.
    @TaskLocal package static var observer: (@Sendable (Int, ServedEvent) -> Void)?

    private struct Submission: Sendable {
        let group: Int
        let requests: [ServedRequest]
        let sharesPrompt: Bool
        let sink: Events.Continuation
        let observer: (@Sendable (Int, ServedEvent) -> Void)?
        let time: ContinuousClock.Instant
    }

    private struct Mail: Sendable {
        var submissions: [Submission] = []
        var cancelled: [Int] = []
        var groups = 0
        var isStopping = false
        var hasStopped = false
        var statistics = ServingStatistics()
    }

    package let loaded: LoadedModel
    /// What answers can be made to be; for `GenerationOptions.constraint`.
    package let constraints: ModelConstraints
    package let options: ServingOptions
    package let loadSeconds: Double
    package let cacheBytesPerToken: Int
    package let blockBytes: Int
    private let mail = Mutex(Mail())
    private let wake = DispatchSemaphore(value: 0)
    private let done = DispatchSemaphore(value: 0)

    private init(_ host: ModelHost, _ runner: BatchRunner, _ options: ServingOptions) {
        loaded = host.loaded
        constraints = host.constraints
        loadSeconds = host.loadSeconds
        self.options = options
        cacheBytesPerToken = runner.cacheBytesPerToken
        blockBytes = runner.blockBytes
        let statistics = runner.statistics
        mail.withLock { $0.statistics.batch = statistics }
    }

    /// Loads a model and begins to wait for requests.
    ///
    /// - Throws: `DeepSeekVLError`.
    package static func start(
        _ options: ServingOptions,
        onLayer: @escaping @Sendable (Int, Int) -> Void = { _, _ in }
    ) async throws -> ServingEngine {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue(label: "DeepSeekVL.serving").async {
                do {
                    let host = try ModelHost(
                        options.model,
                        vision: options.vision,
                        threads: options.threads,
                        compute: options.compute,
                        weights: options.weights,
                        cacheType: options.cacheType,
                        featureBytes: options.featureBytes,
                        onLayer: onLayer
                    )
                    let runner = try host.batchRunner(options)
                    let engine = ServingEngine(host, runner, options)
                    continuation.resume(returning: engine)
                    engine.loop(runner)
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    /// What was done so far.
    package var statistics: ServingStatistics { mail.withLock { $0.statistics } }

    /// Asks for answers; they come out of the sequence together, and ending the iteration cancels them.
    ///
    /// - Parameter sharesPrompt: whether all have the same prompt, so that it is computed once.
    package func answers(_ requests: [ServedRequest], sharesPrompt: Bool = false) -> ServedAnswers {
        let (stream, sink) = Events.makeStream()
        let group = mail.withLock { mail -> Int? in
            if mail.isStopping { return nil }
            mail.groups += 1
            mail.submissions.append(
                Submission(
                    group: mail.groups,
                    requests: requests,
                    sharesPrompt: sharesPrompt,
                    sink: sink,
                    observer: Self.observer,
                    time: .now
                )
            )
            return mail.groups
        }
        guard let group else {
            sink.finish(throwing: CancellationError())
            return ServedAnswers(events: stream, cancel: {})
        }
        let cancel = { @Sendable [self] in
            mail.withLock { $0.cancelled.append(group) }
            wake.signal()
        }
        sink.onTermination = { reason in if case .cancelled = reason { cancel() } }
        wake.signal()
        return ServedAnswers(events: stream, cancel: cancel)
    }

    /// Takes no more requests; the thread ends when those that run have ended.
    package func stop() {
        mail.withLock { $0.isStopping = true }
        wake.signal()
    }

    /// Waits until the thread has ended.
    package func waitUntilStopped() async {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async { [self] in
                done.wait()
                done.signal()
                continuation.resume()
            }
        }
    }

    // MARK: The thread

    private func loop(_ runner: BatchRunner) {
        var desk = AnswerDesk(loaded.tokenizer)
        let clock = ContinuousClock()
        while true {
            let (submissions, cancelled, isStopping) = mail.withLock { mail in
                defer {
                    mail.submissions = []
                    mail.cancelled = []
                }
                return (mail.submissions, mail.cancelled, mail.isStopping)
            }
            for submission in submissions {
                if let refusal = desk.open(
                    submission.group,
                    submission.requests,
                    sharesPrompt: submission.sharesPrompt,
                    Listener(submission.sink, submission.observer),
                    submission.time,
                    runner
                ) {
                    mail.withLock { $0.statistics.refused[refusal.name, default: 0] += 1 }
                }
            }
            for group in cancelled { desk.cancel(group, runner) }
            mail.withLock { $0.statistics.isBusy = true }
            let isBusy = runner.step(now: clock.now) { id, event in desk.report(id, event, clock.now, runner)
            }
            let batch = runner.statistics
            let news = desk.takeNews()
            let hasMail = mail.withLock { mail in
                mail.statistics.batch = batch
                mail.statistics.isBusy = false
                mail.statistics.lastStep = clock.now
                news.add(to: &mail.statistics)
                return !mail.submissions.isEmpty || !mail.cancelled.isEmpty
            }
            if isBusy || hasMail { continue }
            if isStopping { break }
            wake.wait()
        }
        mail.withLock { $0.hasStopped = true }
        done.signal()
    }
}

extension BatchRefusal {
    /// A word for counts.
    package var name: String {
        switch self {
        case .request: "request"
        case .neverFits: "never_fits"
        case .queueFull: "queue_full"
        }
    }
}

extension ModelHost {
    /// A runner over the model that answers many requests together.
    ///
    /// - Throws: `DeepSeekVLError` if the folder for encoded pictures cannot be used.
    package func batchRunner(_ options: ServingOptions) throws(DeepSeekVLError) -> BatchRunner {
        var store: FeatureFolder?
        if let folder = options.featureFolder {
            let way = "\(run.compute) \(run.instructionSet) \(options.weights)"
            store = try FeatureFolder(
                folder,
                budget: options.featureFolderBytes,
                model: ModelFingerprint.digest(path, way: way)
            )
        }
        return BatchRunner(
            language: loaded.language,
            vision: loaded.vision,
            run: run,
            features: features,
            featureStore: store,
            cacheType: options.cacheType,
            cacheBytes: options.cacheBytes,
            sharesPrefixes: options.sharesPrefixes
        ) {
            $0.rows = options.stepRows
            $0.running = options.running
            $0.waiting = options.waiting
        }
    }
}
