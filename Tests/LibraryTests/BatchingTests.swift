import DeepSeekVL
import Testing
import VLEngine
import VLImage
import VLModels
import VLTensor
import VLTestSupport
import VLText

/// What came of a request.
private struct Outcome: Equatable {
    var tokens: [Int32] = []
    /// Bits of the tokens' log-probabilities, the prompt's first.
    var bits: [UInt32] = []
    var cached = 0
    var reason: FinishReason?
}

/// A model whose requests a test runs together.
private final class Bench {
    let host: ModelHost
    let runner: BatchRunner
    var outcomes: [Int: Outcome] = [:]
    var now = ContinuousClock.now

    init(
        _ model: String?,
        _ compute: Compute = .float32,
        cacheBytes: Int = 64 << 20,
        sharesPrefixes: Bool = false,
        rows: Int = 32
    ) throws {
        host = try ModelHost(
            model.map { fixture("models/checkpoints/\($0)") },
            threads: 2,
            compute: compute
        )
        var options = ServingOptions()
        options.cacheBytes = cacheBytes
        options.sharesPrefixes = sharesPrefixes
        options.stepRows = rows
        runner = host.batchRunner(options)
    }

    func request(
        _ text: String,
        picture: String? = nil,
        tokens: Int = 12,
        salt: String = "",
        _ change: (inout GenerationOptions) -> Void = { _ in }
    ) throws -> BatchRequest {
        let pictures = try picture.map { [try PictureSource.read(fixture("../../Examples/\($0)"))] } ?? []
        let form: ConversationInput.Form =
            host.loaded.vision == nil
            ? .prompt(text, appliesTemplate: false, system: "") : .question(text, system: nil)
        let input = ConversationInput(form: form, pictures: pictures)
        let prompt = try host.prepare(input, tiling: .auto, exif: .apply)
        var options = GenerationOptions()
        options.maxTokens = tokens
        options.endTokens = host.loaded.endTokens
        change(&options)
        return BatchRequest(prompt, options, salt: SHA256.digest(salt.utf8))
    }

    @discardableResult
    func step(_ onToken: (Int) -> Void = { _ in }) -> Bool {
        runner.step(now: now) { id, event in
            switch event {
            case .started(let cached): outcomes[id, default: Outcome()].cached = cached
            case .scored(let scores):
                outcomes[id, default: Outcome()].bits += scores.map(\.logProbability.bitPattern)
            case .token(let token, _):
                outcomes[id, default: Outcome()].tokens.append(token.id)
                outcomes[id, default: Outcome()].bits.append(token.logProbability.bitPattern)
                onToken(id)
            case .finished(let reason): outcomes[id, default: Outcome()].reason = reason
            case .prefilled, .expired: break
            }
        }
    }

    func runAll() { while step() {} }

    func alone(_ request: BatchRequest) throws -> Outcome {
        let id = try runner.submit(request)
        runAll()
        var outcome = try #require(outcomes[id])
        outcome.cached = 0
        return outcome
    }
}

@Suite("Requests that share steps", .serialized)
struct BatchingTests {
    private static let texts = [
        "Where is the green cross?", "a", "How many shapes are there, and of which colours are they all?",
        "The quick brown fox jumps over the lazy dog, then it sleeps for a long time.",
    ]

    /// The needle among others that come and go at other steps; the bits of its log-probabilities must stay.
    @Test(
        "answer bit for bit as alone, whatever shares their steps, with chunks of any size",
        arguments: [nil, "vl2-mha", "vl2-mla-full", "llm-linear"],
        [Compute.float32, .auto]
    )
    func batchInvariance(model: String?, compute: Compute) throws {
        for rows in [32, 7] {
            let bench = try Bench(model, compute, rows: rows)
            let picture = bench.host.loaded.vision == nil ? nil : "rings.png"
            func requests() throws -> [BatchRequest] {
                try Self.texts.enumerated().map { index, text in
                    try bench.request(text, picture: index == 2 ? picture : nil, tokens: 6 + 3 * index) {
                        $0.sampling.temperature = index == 1 ? 0.9 : 0
                        $0.sampling.topP = 0.95
                        $0.sampling.seed = UInt64(index)
                        $0.sampling.repetitionPenalty = index == 3 ? 1.2 : 1
                        $0.scoredFrom = index == 3 ? 0 : nil
                        $0.bestTokens = index == 3 ? 2 : 0
                    }
                }
            }
            let alone = try requests().map { try bench.alone($0) }
            var ids: [Int] = []
            for request in try requests() {
                ids.append(try bench.runner.submit(request))
                // They do not begin together.
                bench.step()
                bench.step()
            }
            bench.runAll()
            for (id, wanted) in zip(ids, alone) {
                #expect(bench.outcomes[id] == wanted)
                #expect(!wanted.tokens.isEmpty)
            }
            #expect(bench.runner.statistics.blocksInUse == 0)
        }
    }

    @Test("answer as the library answers one after the other", arguments: [nil, "vl2-mha", "llm-linear"])
    func parity(model: String?) throws {
        let bench = try Bench(model)
        let picture = bench.host.loaded.vision == nil ? nil : "shapes.png"
        let request = try bench.request(Self.texts[0], picture: picture)
        let found = try bench.alone(request).tokens
        var parameters = Parameters()
        parameters.maxTokens = 12
        let hosted = HostedRequest(prompt: request.prompt, pictures: [])
        let answer = try #require(try bench.host.answer([hosted], parameters).first)
        let ends = answer.answer.finishReason == "stop" ? found.dropLast() : found[...]
        #expect(ends.map { Int($0) } == answer.answer.tokens)
    }

    @Test("share what they begin with, pictures included, and answer as if they shared nothing")
    func prefixes() throws {
        let cold = try Bench(nil)
        let warm = try Bench(nil, sharesPrefixes: true)
        for (text, picture) in [
            ("Where is the green cross?", "shapes.png"), ("Where is the red ring?", "shapes.png"),
            ("Where is the green cross?", "rings.png"), ("Where is the green cross?", "shapes.png"),
        ] {
            let wanted = try cold.alone(cold.request(text, picture: picture))
            #expect(try warm.alone(warm.request(text, picture: picture)) == wanted)
        }
        let cached = warm.outcomes.sorted { $0.key < $1.key }.map(\.value.cached)
        #expect(cached[0] == 0)
        #expect(cached[1] > 0 && cached[1].isMultiple(of: 64))
        // The same text about another picture has the same tokens: only the picture tells them apart.
        #expect(cached[2] < cached[1])
        #expect(cached[3] >= cached[1])
        #expect(warm.runner.statistics.blocksReserved == 0)
    }

    @Test("share nothing with requests under another salt")
    func salts() throws {
        let bench = try Bench(nil, sharesPrefixes: true)
        for salt in ["a", "b", "a"] {
            _ = try bench.alone(bench.request("What?", picture: "shapes.png", salt: salt))
        }
        let cached = bench.outcomes.sorted { $0.key < $1.key }.map(\.value.cached)
        #expect(cached[0] == 0 && cached[1] == 0 && cached[2] > 0)
    }

    @Test("wait for room, and end with every block free, when the cache holds two of them")
    func smallCache() throws {
        let probe = try Bench("llm-linear")
        let bench = try Bench("llm-linear", cacheBytes: 2 * probe.runner.blockBytes, sharesPrefixes: true)
        var ids: [Int] = []
        let wanted = try probe.alone(probe.request("abc", tokens: 20))
        for _ in 0..<6 { ids.append(try bench.runner.submit(bench.request("abc", tokens: 20))) }
        var most = 0
        while bench.step() { most = max(most, bench.runner.statistics.blocksInUse) }
        #expect(most <= 2)
        for id in ids { #expect(bench.outcomes[id]?.tokens == wanted.tokens) }
        let statistics = bench.runner.statistics
        #expect(statistics.blocksInUse == statistics.blocksCached && statistics.blocksReserved == 0)
        #expect(throws: BatchRefusal.self) {
            _ = try bench.runner.submit(bench.request("abc", tokens: 200))
        }
    }

    @Test("that are cancelled or too late give back their blocks with the next step, and harm nobody")
    func cancellation() throws {
        let bench = try Bench("llm-linear")
        let wanted = try bench.alone(bench.request(Self.texts[3], tokens: 16))
        let kept = try bench.runner.submit(bench.request(Self.texts[3], tokens: 16))
        var late = try bench.request(Self.texts[0], tokens: 100)
        late.deadline = bench.now + .seconds(5)
        let lateID = try bench.runner.submit(late)
        let gone = try bench.runner.submit(bench.request(Self.texts[2], tokens: 100))
        for _ in 0..<3 { bench.step() }
        bench.runner.end(gone, .cancelled)
        bench.now += .seconds(6)
        bench.step()
        #expect(bench.outcomes[gone]?.reason == .cancelled && bench.outcomes[lateID]?.reason == .cancelled)
        #expect(bench.runner.statistics.running == 1)
        bench.runAll()
        #expect(bench.outcomes[kept] == wanted)
        #expect(bench.runner.statistics.blocksInUse == 0)
    }
}

@Suite("A serving engine")
struct ServingEngineTests {
    @Test("gives several answers of one prompt, whose prompt is computed once, and cancels with its listener")
    func engine() async throws {
        var options = ServingOptions()
        options.model = fixture("models/checkpoints/llm-linear")
        options.threads = 2
        options.cacheBytes = 16 << 20
        let engine = try await ServingEngine.start(options)
        let ids = try engine.loaded.tokenizer.encode(String(repeating: "one two three ", count: 30))
        let prompt = PreparedPrompt(text: "", ids: Array(ids.prefix(100)), spans: [], images: [])
        var generation = GenerationOptions()
        generation.maxTokens = 5
        let request = ServedRequest(BatchRequest(prompt, generation), stop: [])
        var ends: [Int: Int] = [:]
        var cached: [Int: Int] = [:]
        var texts = ["", "", ""]
        for try await (answer, event) in engine.answers([request, request, request], sharesPrompt: true)
            .events
        {
            switch event {
            case .started(let count): cached[answer] = count
            case .token(_, let text, _): texts[answer] += text
            case .finished(let end):
                texts[answer] += end.rest
                ends[answer] = end.tokens
            default: break
            }
        }
        #expect(ends == [0: 5, 1: 5, 2: 5])
        #expect(cached == [0: 0, 1: 64, 2: 64])
        #expect(texts[0] == texts[1] && texts[1] == texts[2])

        generation.maxTokens = 20
        let long = ServedRequest(BatchRequest(prompt, generation), stop: [])
        for try await (_, event) in engine.answers([long]).events {
            if case .token = event { break }
        }
        engine.stop()
        await engine.waitUntilStopped()
        let statistics = engine.statistics
        #expect(statistics.batch.running == 0 && statistics.batch.blocksReserved == 0)
        #expect(statistics.firstToken.count == 4)
        await #expect(throws: CancellationError.self) {
            for try await _ in engine.answers([long]).events {}
        }
    }
}
