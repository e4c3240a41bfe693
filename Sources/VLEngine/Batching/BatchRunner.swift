import VLGrammar
import VLModels
import VLTensor

/// Runs any number of requests over one set of weights: each step computes parts of prompts and a token for every
/// request that answers, together.
///
/// Synchronous, confined to one thread. A request's tokens do not depend on what shares its steps.
package final class BatchRunner {
    /// A request that waits or runs.
    private final class Slot {
        let request: BatchRequest
        var content: PrefixContent
        var cache: KVCache?
        var sampler: Sampler
        let constraint: (any ConstraintState)?
        var tokens: [GeneratedToken] = []
        var finish: FinishReason?
        /// Embeddings of the pictures behind the cached positions, by their place among the spans.
        var features: [Int: [Float]] = [:]
        /// The next of the prompt's spans whose picture is wanted.
        var nextSpan = 0
        /// Rows whose scores of the token behind them have been reported.
        var scoredRows = 0
        /// Whether it began once: what is put back begins again.
        var hasBegun = false

        init(_ request: BatchRequest, vocabularySize: Int, context: Int) {
            self.request = request
            content = PrefixContent(request.prompt, pictures: request.pictures, salt: request.salt)
            constraint = request.options.constraint?.begin(
                maxTokens: min(request.options.maxTokens, context - request.prompt.ids.count)
            )
            sampler = Sampler(
                request.options.sampling,
                vocabularySize: vocabularySize,
                prompt: request.options.penalizesPrompt ? request.prompt.ids : []
            )
        }
    }

    private let language: any LanguageModel
    private let vision: (any VisionEncoder)?
    private let run: Run
    private let layout: CacheLayout
    private let features: ImageFeatureCache
    private let pool: BlockPool
    private let prefixes = PrefixCache()
    /// Where encoded pictures are kept beyond memory.
    private let featureStore: (any FeatureStore)?
    /// The picture that is being encoded, a part a step.
    private var encoding: (digest: SHA256.Digest, work: PictureEncoding)?
    /// Operations that a step spends on a picture: about what a step full of rows takes.
    private let pictureFlops: Double
    private let sharesPrefixes: Bool
    private var scheduler: Scheduler
    private var slots: [Int: Slot] = [:]
    private var ids = 0
    private var counts = BatchStatistics()

    /// - Parameters:
    ///   - features: where encoded pictures are looked for and kept.
    ///   - featureStore: where they are kept beyond that.
    ///   - cacheType: type of the key-value cache; nil lets the model choose (`LanguageModel.cacheType`).
    ///   - cacheBytes: budget of the key-value cache.
    ///   - sharesPrefixes: whether requests use what others with the same beginning computed.
    package init(
        language: any LanguageModel,
        vision: (any VisionEncoder)?,
        run: Run,
        features: ImageFeatureCache,
        featureStore: (any FeatureStore)? = nil,
        cacheType: DType? = nil,
        cacheBytes: Int,
        sharesPrefixes: Bool = true,
        limits: (inout Scheduler.Limits) -> Void = { _ in }
    ) {
        self.language = language
        self.vision = vision
        self.run = run
        self.features = features
        self.featureStore = featureStore
        self.sharesPrefixes = sharesPrefixes
        layout = language.cacheLayout(language.cacheType(cacheType, run))
        pool = BlockPool(layout, budget: cacheBytes)
        var bounds = Scheduler.Limits(blocks: pool.limit)
        limits(&bounds)
        bounds.blockPositions = KVCache.blockPositions
        pictureFlops = 2 * Double(language.activeParameters) * Double(bounds.rows)
        scheduler = Scheduler(bounds)
        pool.onShortage = { [unowned prefixes] in prefixes.evict() }
    }

    /// Bytes of the cache for a token.
    package var cacheBytesPerToken: Int { layout.bytesPerToken }
    /// Bytes of a cache block.
    package var blockBytes: Int { pool.blockBytes }
    /// Whether nothing waits and nothing runs.
    package var isIdle: Bool { scheduler.isIdle }

    /// What was done so far.
    package var statistics: BatchStatistics {
        var counts = counts
        counts.waiting = scheduler.waitingCount
        counts.running = scheduler.runningCount
        counts.blocksInUse = pool.inUse
        counts.blocksReserved = scheduler.reservedBlocks
        counts.blocksCached = prefixes.count
        counts.blockLimit = pool.limit
        counts.blockBytes = pool.blockBytes
        counts.pictureHits = features.hits
        counts.pictureMisses = features.misses
        counts.featureBytes = features.byteCount
        return counts
    }

    // MARK: Coming and going

    /// Blocks that a request may need in all.
    private func blocks(_ prompt: Int, _ maxTokens: Int) -> Int {
        let positions = min(language.maxPositions, prompt + maxTokens)
        return (positions + KVCache.blockPositions - 1) / KVCache.blockPositions
    }

    /// Takes a request into the queue.
    ///
    /// - Returns: its number.
    /// - Throws: `BatchRefusal`.
    package func submit(_ request: BatchRequest) throws(BatchRefusal) -> Int {
        do throws(EngineError) {
            try request.prompt.check(for: language, maxTokens: request.options.maxTokens)
        } catch {
            throw .request(error)
        }
        let id = ids + 1
        let count = request.prompt.ids.count
        let job = Scheduler.Job(
            id: id,
            priority: request.priority,
            promptRows: count,
            blocks: blocks(count, request.options.maxTokens),
            after: request.after
        )
        do throws(Scheduler.Refusal) {
            try scheduler.submit(job)
        } catch {
            switch error {
            case .neverFits(let blocks, let limit):
                throw .neverFits(needed: blocks * pool.blockBytes, budget: limit * pool.blockBytes)
            case .queueFull(let limit): throw .queueFull(limit)
            }
        }
        ids = id
        slots[id] = Slot(
            request,
            vocabularySize: language.vocabularySize,
            context: language.maxPositions
        )
        return id
    }

    /// Ends a request from outside: it is cancelled, or a stop string was found in its text.
    ///
    /// Its blocks are free before the next step.
    package func end(_ id: Int, _ reason: FinishReason) {
        // Within a step the request is still listed; it is removed when the step is over.
        if let slot = slots[id], slot.finish == nil { slot.finish = reason }
    }

    // MARK: Steps

    /// Computes one step, if there is anything to do.
    ///
    /// - Parameters:
    ///   - now: the time, for requests with a deadline.
    ///   - report: told what happened to which request; may call `end`.
    /// - Returns: false if nothing waits and nothing runs.
    package func step(now: ContinuousClock.Instant, _ report: (Int, BatchEvent) -> Void) -> Bool {
        for (id, slot) in slots where slot.finish == nil {
            if let deadline = slot.request.deadline, deadline <= now {
                report(id, .expired)
                slot.finish = .cancelled
            }
        }
        sweep(report)
        guard !scheduler.isIdle else { return false }
        for id in scheduler.grow() { putBack(id) }
        admit(report)
        encodePictures(report)
        let step = scheduler.next()
        if !step.isEmpty { compute(step, report) }
        scheduler.advance(step)
        sweep(report)
        return !scheduler.isIdle
    }

    /// Lets go of requests that have ended.
    private func sweep(_ report: (Int, BatchEvent) -> Void) {
        for (id, slot) in slots.filter({ $0.value.finish != nil }).sorted(by: { $0.key < $1.key }) {
            guard let finish = slot.finish else { continue }
            if sharesPrefixes, let cache = slot.cache {
                prefixes.publish(&slot.content, cache.blocks, count: cache.count / KVCache.blockPositions)
            }
            scheduler.remove(id)
            slots[id] = nil
            report(id, .finished(finish))
        }
    }

    /// Lets go of what a request has that must begin again; what it computed is kept for it as long as there is room.
    private func putBack(_ id: Int) {
        guard let slot = slots[id], let cache = slot.cache else { return }
        if sharesPrefixes {
            prefixes.publish(&slot.content, cache.blocks, count: cache.count / KVCache.blockPositions)
        }
        slot.cache = nil
        slot.features = [:]
        counts.preempted += 1
    }

    private func admit(_ report: (Int, BatchEvent) -> Void) {
        var shared: [Int: [CacheBlock]] = [:]
        func prefix(_ id: Int) -> [Int] {
            guard sharesPrefixes, let slot = slots[id] else { return [] }
            // The last token is computed in any case, as are those before scored ones: their logits are needed.
            var most = slot.content.ids.count - 1
            if let scoredFrom = slot.request.options.scoredFrom,
                slot.scoredRows < slot.request.prompt.ids.count - 1
            {
                most = min(most, max(0, scoredFrom - 1, slot.scoredRows))
            }
            let found = prefixes.match(&slot.content, most: most / KVCache.blockPositions)
            shared[id] = found.map(\.block)
            return found.map(\.number)
        }
        let admitted = scheduler.admit(
            isReady: { isReady($0, cached: shared[$0]?.count ?? 0) },
            prefix: prefix
        )
        for id in admitted {
            guard let slot = slots[id] else { continue }
            let cache = KVCache(layout, maximum: language.maxPositions, pool: pool)
            cache.adopt(shared[id] ?? [])
            slot.cache = cache
            guard !slot.hasBegun else { continue }
            slot.hasBegun = true
            counts.cachedTokens += cache.count
            report(id, .started(cachedTokens: cache.count))
        }
    }

    // MARK: Pictures

    private func isReady(_ id: Int, cached: Int) -> Bool {
        guard let slot = slots[id] else { return true }
        let positions = cached * KVCache.blockPositions
        let spans = slot.request.prompt.spans
        slot.nextSpan = spans.firstIndex { $0.start + $0.count > positions } ?? spans.count
        return slot.nextSpan == spans.count
    }

    /// Finds pictures among those that were encoded before, and encodes parts of others: as much as a step full of rows
    /// costs, since answers wait for it.
    private func encodePictures(_ report: (Int, BatchEvent) -> Void) {
        var left = pictureFlops
        while left > 0, let (id, slot) = nextForPicture() {
            guard slot.nextSpan < slot.request.prompt.spans.count, let vision else {
                scheduler.setReady(id)
                continue
            }
            let span = slot.request.prompt.spans[slot.nextSpan]
            let image = slot.request.prompt.images[span.image]
            let digest = slot.request.pictures[span.image]
            if encoding?.digest != digest {
                if let known = known(digest, values: span.count * language.hiddenSize) {
                    place(known, id, slot, report)
                    continue
                }
                encoding = (digest, vision.encoding(image))
            }
            guard let work = encoding?.work else { return }
            let before = work.flopsLeft
            guard work.advance(run, flops: left) else { return }
            left -= max(before, 1)
            encoding = nil
            let made = work.features
            let values = Array(UnsafeBufferPointer(start: made.pointer, count: made.rows * made.columns))
            counts.encodedTiles += image.tiles
            features.store(values, for: ImageKey(digest))
            featureStore?.save(values, for: digest)
            place(values, id, slot, report)
        }
    }

    /// The request whose picture is encoded next: the one that goes on, then in turn the first one and the one that wants
    /// the fewest tiles, so that neither few nor many pictures wait without end.
    private func nextForPicture() -> (Int, Slot)? {
        let ids = scheduler.idsForPictures
        func wanted(_ slot: Slot) -> [ImageSpan] { Array(slot.request.prompt.spans[slot.nextSpan...]) }
        func tiles(_ id: Int) -> Int {
            guard let slot = slots[id] else { return 0 }
            return wanted(slot).reduce(0) { $0 + slot.request.prompt.images[$1.image].tiles }
        }
        if let encoding {
            for id in ids {
                guard let slot = slots[id], let span = wanted(slot).first else { continue }
                if slot.request.pictures[span.image] == encoding.digest { return (id, slot) }
            }
            // Nobody waits for it any more.
            self.encoding = nil
        }
        let isShortest = counts.placedPictures % 2 == 1
        let chosen = isShortest ? ids.min { tiles($0) < tiles($1) } : ids.first
        guard let chosen, let slot = slots[chosen] else { return nil }
        return (chosen, slot)
    }

    /// A picture's embeddings, if they are kept anywhere.
    private func known(_ digest: SHA256.Digest, values: Int) -> [Float]? {
        if let known = features.features(ImageKey(digest)) { return known }
        guard let stored = featureStore?.load(digest, count: values) else { return nil }
        features.store(stored, for: ImageKey(digest))
        counts.storedPictures += 1
        return stored
    }

    /// Gives a request the embeddings of the picture that it wants next.
    private func place(
        _ values: [Float],
        _ id: Int,
        _ slot: Slot,
        _ report: (Int, BatchEvent) -> Void
    ) {
        let count = slot.request.prompt.spans.count
        slot.features[slot.nextSpan] = values
        slot.nextSpan += 1
        counts.placedPictures += 1
        report(id, .pictures(slot.nextSpan, of: count))
        if slot.nextSpan == count { scheduler.setReady(id) }
    }

    // MARK: Rows

    private func compute(_ step: Scheduler.Step, _ report: (Int, BatchEvent) -> Void) {
        run.scoped {
            let x = run.workspace.matrix(step.rows, language.hiddenSize)
            let ids = run.workspace.allocate(Int32.self, step.rows)
            var segments: [Segment] = []
            var row = 0
            for chunk in step.chunks {
                guard let slot = slots[chunk.id], let cache = slot.cache else { continue }
                for (offset, position) in chunk.rows.enumerated() {
                    // Those of an answer, too, for one that was put back.
                    ids[row + offset] = slot.content.ids[position]
                }
                segments.append(
                    Segment(
                        rows: row..<row + chunk.rows.count,
                        cache: cache,
                        firstPosition: chunk.rows.lowerBound
                    )
                )
                row += chunk.rows.count
            }
            for id in step.decoding {
                guard let slot = slots[id], let cache = slot.cache else { continue }
                ids[row] = slot.tokens.last?.id ?? 0
                segments.append(Segment(rows: row..<row + 1, cache: cache, firstPosition: cache.count))
                row += 1
            }
            precondition(row == step.rows, "a step with rows of requests that are gone")
            language.embed(UnsafeBufferPointer(start: ids, count: row), into: x, run)
            for (chunk, segment) in zip(step.chunks, segments) { placePictures(chunk, x[rows: segment.rows]) }
            language.forward(x, Batch(segments), run)
            counts.steps += 1
            counts.rows += row
            counts.promptTokens += row - step.decoding.count
            counts.decodedTokens += step.decoding.count

            var last: [(row: Int, id: Int)] = []
            for (chunk, segment) in zip(step.chunks, segments) {
                guard let slot = slots[chunk.id] else { continue }
                score(chunk, slot, x[rows: segment.rows], report)
                let count = slot.content.ids.count
                if slot.tokens.isEmpty { report(chunk.id, .prefilled(chunk.rows.upperBound, of: count)) }
                if chunk.rows.upperBound == count {
                    last.append((segment.rows.upperBound - 1, chunk.id))
                    slot.features = [:]
                    share(slot)
                }
            }
            let first = row - step.decoding.count
            last += step.decoding.enumerated().map { (first + $0, $1) }
            choose(last, x, report)
        }
    }

    /// Keeps a prompt's full blocks for others.
    private func share(_ slot: Slot) {
        guard sharesPrefixes, let cache = slot.cache else { return }
        let full = slot.request.prompt.ids.count / KVCache.blockPositions
        prefixes.publish(&slot.content, cache.blocks, count: full)
    }

    /// Writes pictures' embeddings over the rows of their tokens.
    private func placePictures(_ chunk: Scheduler.Chunk, _ x: Matrix) {
        guard let slot = slots[chunk.id] else { return }
        for (place, span) in slot.request.prompt.spans.enumerated() {
            let first = max(span.start, chunk.rows.lowerBound)
            let end = min(span.start + span.count, chunk.rows.upperBound)
            guard first < end else { continue }
            slot.features[place]?.withUnsafeBufferPointer { values in
                guard let base = values.baseAddress else { return }
                x[row: first - chunk.rows.lowerBound].update(
                    from: base + (first - span.start) * x.columns,
                    count: (end - first) * x.columns
                )
            }
        }
    }

    /// Scores the prompt's tokens that follow a chunk's rows, if the request wants that.
    private func score(
        _ chunk: Scheduler.Chunk,
        _ slot: Slot,
        _ x: Matrix,
        _ report: (Int, BatchEvent) -> Void
    ) {
        guard let scoredFrom = slot.request.options.scoredFrom else { return }
        let ids = slot.request.prompt.ids
        let end = min(chunk.rows.upperBound, ids.count - 1)
        let first = chunk.rows.lowerBound
        let start = max(first, scoredFrom - 1, slot.scoredRows)
        guard start < end else { return }
        slot.scoredRows = end
        var scores: [GeneratedToken] = []
        // A vocabulary's logits for all rows at once would take more memory than the model.
        let size = 32
        for start in stride(from: start, to: end, by: size) {
            run.scoped {
                let part = start - first..<min(end, start + size) - first
                let logits = language.logits(language.finalNorm(x[rows: part], run), run)
                for row in 0..<part.count {
                    scores.append(scored(ids[start + row + 1], logits[row: row], slot.request.options))
                }
            }
        }
        if !scores.isEmpty { report(chunk.id, .scored(scores)) }
    }

    /// Chooses the next token of requests from their rows' logits, some at a time.
    private func choose(_ rows: [(row: Int, id: Int)], _ x: Matrix, _ report: (Int, BatchEvent) -> Void) {
        let size = 32
        for start in stride(from: 0, to: rows.count, by: size) {
            run.scoped {
                let part = rows[start..<min(rows.count, start + size)]
                let picked = run.workspace.matrix(part.count, x.columns)
                for (place, item) in part.enumerated() {
                    picked[row: place].update(from: x[row: item.row], count: x.columns)
                }
                let logits = language.logits(language.finalNorm(picked, run), run)
                for (place, item) in part.enumerated() {
                    if let slot = slots[item.id], slot.finish == nil {
                        accept(item.id, slot, logits[row: place], report)
                    }
                }
            }
        }
    }

    /// A token with its probability by `logits`, and the most probable ones.
    private func scored(
        _ id: Int32,
        _ logits: UnsafeMutablePointer<Float>,
        _ options: GenerationOptions
    ) -> GeneratedToken {
        let count = language.vocabularySize
        let sum = run.logSumExp(logits, count: count)
        var token = GeneratedToken(id: id, logProbability: logits[Int(id)] - sum)
        if options.bestTokens > 0 {
            let all = UnsafeBufferPointer(start: logits, count: count)
            token.best = TokenProbability.best(options.bestTokens, of: all, logSum: sum)
        }
        return token
    }

    /// Chooses a token from `logits` and decides whether the request goes on.
    private func accept(
        _ id: Int,
        _ slot: Slot,
        _ logits: UnsafeMutablePointer<Float>,
        _ report: (Int, BatchEvent) -> Void
    ) {
        let options = slot.request.options
        guard options.maxTokens > 0 else {
            slot.finish = .length
            return
        }
        let all = UnsafeBufferPointer(start: logits, count: language.vocabularySize)
        guard let chosen = slot.sampler.next(all, under: slot.constraint, run) else {
            slot.finish = .constraint
            return
        }
        let token = scored(chosen, logits, options)
        if options.endTokens.contains(chosen) {
            report(id, .token(token, isEnd: true))
            if slot.finish == nil { slot.finish = .stop }
            return
        }
        slot.tokens.append(token)
        slot.content.append(chosen)
        report(id, .token(token, isEnd: false))
        guard slot.finish == nil else { return }
        if slot.constraint?.isOver == true {
            slot.finish = .stop
        } else if slot.tokens.count >= options.maxTokens
            || slot.request.prompt.ids.count + slot.tokens.count >= language.maxPositions
        {
            slot.finish = .length
        } else if options.stopsAtLoops && LoopGuard.isLooping(slot.tokens) {
            slot.finish = .repetition
        }
    }
}

extension PreparedPrompt {
    /// Checks that a model can take this prompt and answer it.
    ///
    /// - Throws: `EngineError`.
    package func check(for language: any LanguageModel, maxTokens: Int) throws(EngineError) {
        guard !ids.isEmpty else { throw .emptyPrompt }
        let context = language.maxPositions
        // A prompt that is only looked at may fill the context.
        guard ids.count < context || ids.count == context && maxTokens == 0 else {
            throw .contextTooLong(tokens: ids.count, context: context, imageTokens: spans.map(\.count))
        }
        for id in ids where id < 0 || Int(id) >= language.vocabularySize {
            throw .tokenOutOfRange(id: Int(id), vocabulary: language.vocabularySize)
        }
    }
}
