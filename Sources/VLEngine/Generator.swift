import VLModels
import VLTensor

/// Why an answer ended.
package enum FinishReason: String, Sendable {
    /// The model said so: an end token.
    case stop
    /// The limit of new tokens, or the context.
    case length
    /// A stop string.
    case stopString = "stop_string"
    /// The loop guard saw the same tokens again and again.
    case repetition
    /// The caller cancelled.
    case cancelled
}

/// A generated token.
package struct GeneratedToken: Sendable {
    package let id: Int32
    /// Natural logarithm of the probability that the model gave it, before penalties and temperature.
    package let logProbability: Float
}

/// What a sequence is to generate.
package struct GenerationOptions: Sendable {
    package var maxTokens = 512
    package var sampling = SamplingOptions()
    /// Tokens that end the answer.
    package var endTokens: [Int32] = []
    /// Whether the repetition penalty counts the prompt's tokens besides the answer's.
    package var penalizesPrompt = true
    /// Tokens prefilled at a time; nil prefills the whole prompt at once.
    package var chunkSize: Int?
    /// Stops when the answer repeats itself without end.
    package var stopsAtLoops = false

    package init() {}
}

/// How far the work is, for progress bars and streams.
package enum GenerationEvent: Sendable {
    case tilesEncoded(Int, of: Int)
    case tokensPrefilled(Int, of: Int)
    case token(sequence: Int, GeneratedToken)
    case finished(sequence: Int, FinishReason)
}

/// Seconds that the parts of a generation took.
package struct GenerationTimings: Sendable {
    package var vision = 0.0
    package var prefill = 0.0
    package var decode = 0.0
    package var prefilledTokens = 0
    package var decodedTokens = 0

    package init() {}
}

/// A sequence's prompt and what came of it; the engine's unit of work.
package final class Sequence {
    package let prompt: PreparedPrompt
    package let options: GenerationOptions
    package fileprivate(set) var tokens: [GeneratedToken] = []
    package fileprivate(set) var finish: FinishReason?
    /// Prompt tokens whose keys and values were in the cache already.
    package fileprivate(set) var cachedTokens = 0
    fileprivate let cache: KVCache
    fileprivate var sampler: Sampler

    fileprivate init(
        _ prompt: PreparedPrompt,
        _ options: GenerationOptions,
        _ cache: KVCache,
        vocabularySize: Int
    ) {
        self.prompt = prompt
        self.options = options
        self.cache = cache
        sampler = Sampler(
            options.sampling,
            vocabularySize: vocabularySize,
            prompt: options.penalizesPrompt ? prompt.ids : []
        )
        tokens.reserveCapacity(options.maxTokens)
    }
}

/// Runs sequences through a model: encodes pictures, prefills in chunks, then decodes all sequences together.
///
/// Synchronous, confined to one thread. A sequence's tokens do not depend on what shares its steps.
package final class Generator {
    private let language: any LanguageModel
    private let vision: (any VisionEncoder)?
    package let run: Run
    private let layout: CacheLayout
    package private(set) var timings = GenerationTimings()

    /// - Parameter cacheType: type of the key-value cache; nil means float32 for the reference path and bfloat16 else.
    package init(
        language: any LanguageModel,
        vision: (any VisionEncoder)?,
        run: Run,
        cacheType: DType? = nil
    ) {
        self.language = language
        self.vision = vision
        self.run = run
        layout = language.cacheLayout(cacheType ?? (run.compute == .float32 ? .float32 : .bfloat16))
    }

    /// Bytes of the cache for a token.
    package var cacheBytesPerToken: Int { layout.bytesPerToken }

    /// A sequence with memory for its prompt and its answer.
    ///
    /// - Throws: `EngineError.contextTooLong` if the prompt leaves no room for a token.
    package func sequence(
        _ prompt: PreparedPrompt,
        _ options: GenerationOptions
    ) throws(EngineError) -> Sequence {
        guard !prompt.ids.isEmpty else { throw .emptyPrompt }
        let context = language.maxPositions
        guard prompt.ids.count < context else {
            throw .contextTooLong(
                tokens: prompt.ids.count,
                context: context,
                imageTokens: prompt.spans.map(\.count)
            )
        }
        for id in prompt.ids where id < 0 || Int(id) >= language.vocabularySize {
            throw .tokenOutOfRange(id: Int(id), vocabulary: language.vocabularySize)
        }
        let maximum = min(context, prompt.ids.count + options.maxTokens)
        let cache = KVCache(layout, maximum: maximum)
        cache.reserve(maximum)
        return Sequence(prompt, options, cache, vocabularySize: language.vocabularySize)
    }

    /// Generates all sequences to their ends; `onEvent` returns false to cancel all that are unfinished.
    package func generate(_ sequences: [Sequence], onEvent: (GenerationEvent) -> Bool) {
        var cancelled = false
        func report(_ event: GenerationEvent) {
            if !onEvent(event) { cancelled = true }
        }
        let trace = run.trace
        for (index, sequence) in sequences.enumerated() {
            // A trace shows the first sequence only.
            run.trace = index == 0 ? trace : nil
            if !cancelled {
                prefill(sequence, index, isCancelled: { cancelled }, report)
            }
        }
        run.trace = trace
        let clock = ContinuousClock()
        let start = clock.now
        var active = sequences.indices.filter { sequences[$0].finish == nil }
        while !active.isEmpty && !cancelled {
            decode(active.map { sequences[$0] }, active, traced: trace, report)
            active.removeAll { sequences[$0].finish != nil }
        }
        timings.decode += (clock.now - start).seconds
        for (index, sequence) in sequences.enumerated() where sequence.finish == nil {
            sequence.finish = .cancelled
            report(.finished(sequence: index, .cancelled))
        }
    }

    // MARK: Prefill

    private func prefill(
        _ sequence: Sequence,
        _ index: Int,
        isCancelled: () -> Bool,
        _ report: (GenerationEvent) -> Void
    ) {
        let prompt = sequence.prompt
        let count = prompt.ids.count
        let hidden = language.hiddenSize
        let clock = ContinuousClock()
        var start = clock.now
        let embeddings = UnsafeMutablePointer<Float>.allocate(capacity: count * hidden)
        defer { embeddings.deallocate() }
        let all = Matrix(embeddings, rows: count, columns: hidden)
        prompt.ids.withUnsafeBufferPointer { language.embed($0, into: all, run) }
        let tiles = prompt.images.reduce(0) { $0 + $1.tiles }
        var tilesDone = 0
        for span in prompt.spans {
            guard let vision, !isCancelled() else { return }
            let image = prompt.images[span.image]
            vision.embed(image, into: all[rows: span.start..<span.start + span.count], run) { done in
                report(.tilesEncoded(tilesDone + done, of: tiles))
            }
            tilesDone += image.tiles
        }
        run.trace?.record("inputs_embeds", all)
        timings.vision += (clock.now - start).seconds

        start = clock.now
        let chunk = max(1, sequence.options.chunkSize ?? count)
        for first in stride(from: 0, to: count, by: chunk) {
            if isCancelled() { return }
            let rows = first..<min(count, first + chunk)
            run.scoped {
                let x = run.workspace.matrix(rows.count, hidden)
                x.pointer.update(from: all[row: rows.lowerBound], count: rows.count * hidden)
                let batch = Batch([Segment(rows: 0..<rows.count, cache: sequence.cache, firstPosition: first)]
                )
                language.forward(x, batch, run)
                if let trace = run.trace { trace.record("final_norm", language.finalNorm(x, run)) }
                if rows.upperBound == count {
                    let last = language.logits(
                        language.finalNorm(x[rows: rows.count - 1..<rows.count], run),
                        run
                    )
                    run.trace?.record("logits", last)
                    run.trace?.record("generated_logits", last)
                    accept(sequence, index, last[row: 0], report)
                }
            }
            report(.tokensPrefilled(rows.upperBound, of: count))
        }
        timings.prefill += (clock.now - start).seconds
        timings.prefilledTokens += count
    }

    // MARK: Decode

    /// One token more for each sequence.
    private func decode(
        _ sequences: [Sequence],
        _ indexes: [Int],
        traced trace: Trace?,
        _ report: (GenerationEvent) -> Void
    ) {
        run.scoped {
            let hidden = language.hiddenSize
            let ids = run.workspace.allocate(Int32.self, sequences.count)
            for (row, sequence) in sequences.enumerated() { ids[row] = sequence.tokens.last?.id ?? 0 }
            let x = run.workspace.matrix(sequences.count, hidden)
            language.embed(UnsafeBufferPointer(start: ids, count: sequences.count), into: x, run)
            let batch = Batch(
                sequences.enumerated().map { row, sequence in
                    Segment(rows: row..<row + 1, cache: sequence.cache, firstPosition: sequence.cache.count)
                }
            )
            run.trace = nil
            language.forward(x, batch, run)
            let logits = language.logits(language.finalNorm(x, run), run)
            run.trace = trace
            for (row, sequence) in sequences.enumerated() {
                if indexes[row] == 0 { trace?.record("generated_logits", logits[rows: row..<row + 1]) }
                accept(sequence, indexes[row], logits[row: row], report)
            }
            timings.decodedTokens += sequences.count
        }
    }

    /// Samples a token from `logits` and decides whether the sequence goes on.
    private func accept(
        _ sequence: Sequence,
        _ index: Int,
        _ logits: UnsafeMutablePointer<Float>,
        _ report: (GenerationEvent) -> Void
    ) {
        guard sequence.options.maxTokens > 0 else {
            sequence.finish = .length
            report(.finished(sequence: index, .length))
            return
        }
        let count = language.vocabularySize
        let id = sequence.sampler.next(UnsafeBufferPointer(start: logits, count: count))
        let token = GeneratedToken(
            id: id,
            logProbability: logits[Int(id)] - run.logSumExp(logits, count: count)
        )
        if sequence.options.endTokens.contains(id) {
            sequence.finish = .stop
        } else {
            sequence.tokens.append(token)
            report(.token(sequence: index, token))
            if sequence.finish == nil {
                if sequence.tokens.count >= sequence.options.maxTokens
                    || sequence.prompt.ids.count + sequence.tokens.count >= language.maxPositions
                {
                    sequence.finish = .length
                } else if sequence.options.stopsAtLoops && LoopGuard.isLooping(sequence.tokens) {
                    sequence.finish = .repetition
                }
            }
        }
        if let finish = sequence.finish { report(.finished(sequence: index, finish)) }
    }

    /// Ends a sequence from outside: a stop string was found in its text.
    package func finish(_ sequence: Sequence, _ reason: FinishReason) {
        sequence.finish = reason
    }
}

/// Notices an answer that repeats itself: greedy decoding of small or quantized models may never leave such a circle.
enum LoopGuard {
    /// Longest circle that is looked for, in tokens.
    static let longestPeriod = 64
    /// Tokens that a circle must have filled before it counts.
    static let shortestRun = 96

    /// Whether the end of `tokens` is one piece over and over: at least four times and at least `shortestRun` tokens.
    static func isLooping(_ tokens: [GeneratedToken]) -> Bool {
        for period in 1...longestPeriod {
            let run = max(4 * period, shortestRun)
            guard tokens.count >= run else { continue }
            let start = tokens.count - run
            if (start + period..<tokens.count).allSatisfy({ tokens[$0].id == tokens[$0 - period].id }) {
                return true
            }
        }
        return false
    }
}
