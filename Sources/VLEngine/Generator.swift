import VLGrammar
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
    /// No token of the vocabulary can follow under the constraint.
    case constraint
}

/// A token of an answer, or of a prompt whose tokens are scored.
package struct GeneratedToken: Sendable {
    package let id: Int32
    /// Natural logarithm of the probability that the model gave it, before penalties and temperature.
    package let logProbability: Float
    /// The most probable tokens at its place, best first; none unless asked for.
    package var best: [TokenProbability] = []
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
    /// Most tokens that are guessed at a time from what prompt and answer hold, by `PromptLookup`; 0 guesses none.
    ///
    /// The answer is the same.
    package var promptLookup = 0
    /// Stops when the answer repeats itself without end.
    package var stopsAtLoops = false
    /// How many of the most probable tokens are reported at each place; 0 reports none.
    package var bestTokens = 0
    /// The first token of the prompt that is scored, with all that follow it; nil scores none.
    ///
    /// Nothing comes before token 0, so that it has no score.
    package var scoredFrom: Int?
    /// What the answer has to be; nil for anything.
    ///
    /// Probabilities of tokens are reported as the model gave them, without regard to it.
    package var constraint: TokenConstraint?

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
    /// Tiles that went through the vision tower.
    package var encodedTiles = 0
    /// Tokens of prompts that were computed; those that a cache held already are not counted.
    package var prefilledTokens = 0
    package var decodedTokens = 0
    /// Tokens that were guessed, and those of them that came true.
    package var guessedTokens = 0
    package var acceptedTokens = 0

    package init() {}
}

/// A sequence's prompt and what came of it; the engine's unit of work.
package final class Sequence {
    package let prompt: PreparedPrompt
    package let options: GenerationOptions
    package fileprivate(set) var tokens: [GeneratedToken] = []
    package fileprivate(set) var finish: FinishReason?
    /// The scored tokens of the prompt: those from `scoredFrom` on, but never the first of all.
    package fileprivate(set) var promptScores: [GeneratedToken] = []
    /// Prompt tokens whose keys and values were in the cache already.
    package let cachedTokens: Int
    /// Keys and values of the prompt and the answer, for a sequence that continues this one.
    package let memory: SequenceCache
    fileprivate var content: SequenceContent
    fileprivate let claim: Int
    fileprivate var sampler: Sampler
    fileprivate var lookup: PromptLookup?
    fileprivate let constraint: (any ConstraintState)?

    fileprivate var cache: KVCache { memory.cache }

    /// - Parameter cachedTokens: positions of the prompt that `memory` holds.
    fileprivate init(
        _ prompt: PreparedPrompt,
        _ content: SequenceContent,
        _ options: GenerationOptions,
        _ memory: SequenceCache,
        cachedTokens: Int,
        vocabularySize: Int,
        context: Int
    ) {
        self.prompt = prompt
        self.content = content
        self.options = options
        self.memory = memory
        self.cachedTokens = cachedTokens
        claim = memory.claim(content, keeping: cachedTokens)
        sampler = Sampler(
            options.sampling,
            vocabularySize: vocabularySize,
            prompt: options.penalizesPrompt ? prompt.ids : []
        )
        constraint = options.constraint?.begin(
            maxTokens: min(options.maxTokens, context - prompt.ids.count)
        )
        tokens.reserveCapacity(options.maxTokens)
        if options.promptLookup > 0 {
            lookup = PromptLookup(prompt, limit: options.promptLookup, maxTokens: options.maxTokens)
        }
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
    private let features: ImageFeatureCache?
    package private(set) var timings = GenerationTimings()

    /// - Parameters:
    ///   - features: where encoded pictures are looked for and kept.
    ///   - cacheType: type of the key-value cache; nil lets the model choose (`LanguageModel.cacheType`).
    package init(
        language: any LanguageModel,
        vision: (any VisionEncoder)?,
        run: Run,
        features: ImageFeatureCache? = nil,
        cacheType: DType? = nil
    ) {
        self.language = language
        self.vision = vision
        self.run = run
        self.features = features
        layout = language.cacheLayout(language.cacheType(cacheType, run))
    }

    /// Bytes of the cache for a token.
    package var cacheBytesPerToken: Int { layout.bytesPerToken }

    /// An empty cache for sequences that continue each other.
    package func sequenceCache() -> SequenceCache {
        SequenceCache(layout, maximum: language.maxPositions)
    }

    /// A sequence with memory for its prompt and its answer.
    ///
    /// - Parameter memory: what an earlier sequence left: as much of it as this prompt begins with is not computed
    ///   again, the rest is forgotten. The answer is the same as without.
    /// - Throws: `EngineError.contextTooLong` if the prompt leaves no room for a token; `memory` is untouched then.
    package func sequence(
        _ prompt: PreparedPrompt,
        _ options: GenerationOptions,
        continuing memory: SequenceCache? = nil
    ) throws(EngineError) -> Sequence {
        guard !prompt.ids.isEmpty else { throw .emptyPrompt }
        let context = language.maxPositions
        // A prompt that is only looked at may fill the context.
        guard prompt.ids.count < context || prompt.ids.count == context && options.maxTokens == 0 else {
            throw .contextTooLong(
                tokens: prompt.ids.count,
                context: context,
                imageTokens: prompt.spans.map(\.count)
            )
        }
        for id in prompt.ids where id < 0 || Int(id) >= language.vocabularySize {
            throw .tokenOutOfRange(id: Int(id), vocabulary: language.vocabularySize)
        }
        let content = SequenceContent(prompt)
        var kept = 0
        if let memory {
            precondition(memory.cache.layout == layout, "a cache of another model")
            // The last token is computed in any case, as are those before scored ones: their logits are needed.
            kept = min(memory.content.commonCount(with: content), prompt.ids.count - 1)
            if let scoredFrom = options.scoredFrom { kept = min(kept, max(0, scoredFrom - 1)) }
        }
        let memory = memory ?? sequenceCache()
        memory.cache.reserve(min(context, prompt.ids.count + options.maxTokens))
        return Sequence(
            prompt,
            content,
            options,
            memory,
            cachedTokens: kept,
            vocabularySize: language.vocabularySize,
            context: context
        )
    }

    /// Generates all sequences to their ends; `onEvent` returns false to cancel all that are unfinished.
    package func generate(_ sequences: [Sequence], onEvent: (GenerationEvent) -> Bool) {
        for sequence in sequences {
            precondition(sequence.claim == sequence.memory.claims, "a sequence whose cache another one took")
        }
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
        for sequence in sequences {
            sequence.content.append(sequence.tokens.map(\.id))
            sequence.memory.settle(sequence.content)
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
        let known = sequence.cachedTokens
        let count = prompt.ids.count
        let hidden = language.hiddenSize
        let clock = ContinuousClock()
        var start = clock.now
        // Rows of the tokens that are not in the cache.
        let embeddings = UnsafeMutablePointer<Float>.allocate(capacity: (count - known) * hidden)
        defer { embeddings.deallocate() }
        let all = Matrix(embeddings, rows: count - known, columns: hidden)
        prompt.ids.withUnsafeBufferPointer {
            language.embed(UnsafeBufferPointer(rebasing: $0[known...]), into: all, run)
        }
        guard embedPictures(sequence, into: all, isCancelled, report) else { return }
        run.trace?.record("inputs_embeds", all)
        timings.vision += (clock.now - start).seconds

        start = clock.now
        let chunk = max(1, sequence.options.chunkSize ?? count)
        for first in stride(from: known, to: count, by: chunk) {
            if isCancelled() { return }
            let rows = first..<min(count, first + chunk)
            run.scoped {
                let x = run.workspace.matrix(rows.count, hidden)
                x.pointer.update(from: all[row: rows.lowerBound - known], count: rows.count * hidden)
                let batch = Batch([Segment(rows: 0..<rows.count, cache: sequence.cache, firstPosition: first)]
                )
                language.forward(x, batch, run)
                if let trace = run.trace { trace.record("final_norm", language.finalNorm(x, run)) }
                score(sequence, x, first: first)
                if rows.upperBound == count {
                    let last = language.logits(
                        language.finalNorm(x[rows: rows.count - 1..<rows.count], run),
                        run
                    )
                    run.trace?.record("logits", last)
                    run.trace?.record("generated_logits", last)
                    // Before the first token, so that a progress line is gone when text appears.
                    report(.tokensPrefilled(count, of: count))
                    if !isCancelled() { accept(sequence, index, last[row: 0], report) }
                }
            }
            if rows.upperBound < count { report(.tokensPrefilled(rows.upperBound, of: count)) }
        }
        timings.prefill += (clock.now - start).seconds
        timings.prefilledTokens += count - known
    }

    /// Writes the pictures' embeddings over the rows of their tokens, which begin behind the cached ones.
    ///
    /// - Returns: false if it was cancelled.
    private func embedPictures(
        _ sequence: Sequence,
        into all: Matrix,
        _ isCancelled: () -> Bool,
        _ report: (GenerationEvent) -> Void
    ) -> Bool {
        let prompt = sequence.prompt
        let known = sequence.cachedTokens
        let hidden = all.columns
        let pictures = zip(prompt.spans, sequence.content.places).filter { $0.0.start + $0.0.count > known }
        // A trace wants to see how a picture is encoded.
        let features = run.trace == nil ? features : nil
        let before = timings.encodedTiles
        var seen: Set<ImageKey> = []
        let tiles = pictures.reduce(0) { sum, picture in
            let isNew = features.map { !$0.contains(picture.1.key) && seen.insert(picture.1.key).inserted }
            return isNew ?? true ? sum + prompt.images[picture.0.image].tiles : sum
        }
        for (span, place) in pictures {
            guard let vision, !isCancelled() else { return false }
            var values = features?.features(place.key)
            if values == nil {
                let image = prompt.images[span.image]
                let done = timings.encodedTiles
                let new = [Float](unsafeUninitializedCapacity: span.count * hidden) { buffer, initialized in
                    guard let base = buffer.baseAddress else { return }
                    base.initialize(repeating: 0, count: span.count * hidden)
                    initialized = span.count * hidden
                    vision.embed(image, into: Matrix(base, rows: span.count, columns: hidden), run) { tile in
                        timings.encodedTiles = done + tile
                        report(.tilesEncoded(done + tile - before, of: tiles))
                    }
                }
                features?.store(new, for: place.key)
                values = new
            }
            let skipped = max(0, known - span.start)
            values?.withUnsafeBufferPointer { values in
                guard let base = values.baseAddress else { return }
                all[row: span.start + skipped - known].update(
                    from: base + skipped * hidden,
                    count: (span.count - skipped) * hidden
                )
            }
        }
        return true
    }

    /// Scores the tokens that follow the rows of `x`, positions from `first` on, if the sequence wants that.
    private func score(_ sequence: Sequence, _ x: Matrix, first: Int) {
        guard let scoredFrom = sequence.options.scoredFrom else { return }
        let ids = sequence.prompt.ids
        let end = min(first + x.rows, ids.count - 1)
        // A vocabulary's logits for all rows at once would take more memory than the model.
        let step = 32
        for start in stride(from: max(first, scoredFrom - 1), to: end, by: step) {
            run.scoped {
                let part = start - first..<min(end, start + step) - first
                let logits = language.logits(language.finalNorm(x[rows: part], run), run)
                for row in 0..<part.count {
                    let id = ids[start + row + 1]
                    sequence.promptScores.append(scored(id, logits[row: row], sequence.options.bestTokens))
                }
            }
        }
    }

    /// A token with its probability by `logits`, and the most probable ones.
    private func scored(_ id: Int32, _ logits: UnsafeMutablePointer<Float>, _ best: Int) -> GeneratedToken {
        let count = language.vocabularySize
        let sum = run.logSumExp(logits, count: count)
        let token = GeneratedToken(id: id, logProbability: logits[Int(id)] - sum)
        guard best > 0 else { return token }
        let all = UnsafeBufferPointer(start: logits, count: count)
        return GeneratedToken(
            id: id,
            logProbability: token.logProbability,
            best: TokenProbability.best(best, of: all, logSum: sum)
        )
    }

    // MARK: Decode

    /// One token more for each sequence, and those of its guesses that come true.
    private func decode(
        _ sequences: [Sequence],
        _ indexes: [Int],
        traced trace: Trace?,
        _ report: (GenerationEvent) -> Void
    ) {
        run.scoped {
            let hidden = language.hiddenSize
            var rows = 0
            for sequence in sequences { rows += 1 + guess(sequence) }
            let ids = run.workspace.allocate(Int32.self, rows)
            var row = 0
            for sequence in sequences {
                ids[row] = sequence.tokens.last?.id ?? 0
                row += 1
                for id in sequence.lookup?.guess ?? [] {
                    ids[row] = id
                    row += 1
                }
            }
            let x = run.workspace.matrix(rows, hidden)
            language.embed(UnsafeBufferPointer(start: ids, count: rows), into: x, run)
            row = 0
            let batch = Batch(
                sequences.map { sequence in
                    let first = row
                    row += 1 + (sequence.lookup?.guess.count ?? 0)
                    return Segment(
                        rows: first..<row,
                        cache: sequence.cache,
                        firstPosition: sequence.cache.count
                    )
                }
            )
            run.trace = nil
            language.forward(x, batch, run)
            let logits = language.logits(language.finalNorm(x, run), run)
            run.trace = trace
            for (segment, (sequence, index)) in zip(batch.segments, zip(sequences, indexes)) {
                var row = segment.rows.lowerBound
                while true {
                    if index == 0 { trace?.record("generated_logits", logits[rows: row..<row + 1]) }
                    accept(sequence, index, logits[row: row], report)
                    timings.decodedTokens += 1
                    row += 1
                    // The next row is the one after this token if its guess was right.
                    guard sequence.finish == nil, row < segment.rows.upperBound,
                        ids[row] == sequence.tokens.last?.id
                    else { break }
                }
                let used = row - segment.rows.lowerBound
                sequence.cache.truncate(to: segment.firstPosition + used)
                sequence.lookup?.learn(accepted: used - 1)
                timings.guessedTokens += segment.rows.count - 1
                timings.acceptedTokens += used - 1
            }
        }
    }

    /// Lets a sequence guess; the number of tokens for which its cache has room.
    private func guess(_ sequence: Sequence) -> Int {
        guard sequence.lookup != nil else { return 0 }
        let wanted = sequence.options.maxTokens - sequence.tokens.count - 1
        let room = min(wanted, sequence.cache.capacity - sequence.cache.count - 1)
        sequence.lookup?.look(room: max(0, room))
        return sequence.lookup?.guess.count ?? 0
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
        let all = UnsafeBufferPointer(start: logits, count: language.vocabularySize)
        guard let id = sequence.sampler.next(all, under: sequence.constraint, run) else {
            sequence.finish = .constraint
            report(.finished(sequence: index, .constraint))
            return
        }
        let token = scored(id, logits, sequence.options.bestTokens)
        if sequence.options.endTokens.contains(id) {
            sequence.finish = .stop
        } else {
            sequence.tokens.append(token)
            sequence.lookup?.append(id)
            report(.token(sequence: index, token))
            if sequence.finish == nil {
                if sequence.constraint?.isOver == true {
                    sequence.finish = .stop
                } else if sequence.tokens.count >= sequence.options.maxTokens
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
