#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// How the next token is chosen from the logits.
package struct SamplingOptions: Sendable, Equatable {
    /// 0 takes the most probable token.
    package var temperature: Float = 0
    /// Tokens kept, 0 for all.
    package var topK = 0
    /// Probability that the kept tokens reach together, 1 for all.
    package var topP: Float = 1
    /// Share of the best token's probability below which tokens are dropped.
    package var minP: Float = 0
    /// Penalty of tokens that occurred in the prompt or the answer; 1 for none.
    package var repetitionPenalty: Float = 1
    package var seed: UInt64 = 0

    package init() {}
}

/// Chooses tokens: penalty, temperature, top-k, top-p, min-p, in this order, as `generate` of transformers does.
///
/// Holds what one sequence needs; its buffers are made once, so that a token allocates nothing.
package struct Sampler {
    /// A token that is still possible.
    package struct Candidate: Equatable {
        package var id: Int32
        /// Logit, after penalty and temperature.
        package var logit: Float
        package var probability: Float = 0
    }

    package let options: SamplingOptions
    private var random: Philox
    private var seen: [Bool]
    private var seenIDs: [Int32] = []
    private var scores: [Float]
    /// What is left after the last call of `distribution`, best first.
    package private(set) var candidates: [Candidate] = []

    /// - Parameter prompt: its tokens count as having occurred; those beyond the vocabulary are left out.
    package init(_ options: SamplingOptions, vocabularySize: Int, prompt: [Int32] = []) {
        self.options = options
        random = Philox(seed: options.seed)
        let needsScores = options.temperature > 0 || options.repetitionPenalty != 1
        scores = [Float](repeating: 0, count: needsScores ? vocabularySize : 0)
        seen = [Bool](repeating: false, count: options.repetitionPenalty != 1 ? vocabularySize : 0)
        for id in prompt { note(id) }
    }

    /// Counts a token as having occurred.
    private mutating func note(_ id: Int32) {
        guard id >= 0, Int(id) < seen.count, !seen[Int(id)] else { return }
        seen[Int(id)] = true
        seenIDs.append(id)
    }

    /// The next token. Of equal logits the first wins.
    package mutating func next(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        let id: Int32
        if options.temperature <= 0 {
            id = options.repetitionPenalty == 1 ? Self.best(logits) : penalizedBest(logits)
        } else {
            distribution(logits)
            id = draw()
        }
        note(id)
        return id
    }

    private static func best(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        var best = 0
        for index in logits.indices where logits[index] > logits[best] { best = index }
        return Int32(best)
    }

    private mutating func penalizedBest(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        penalize(logits)
        return scores.withUnsafeBufferPointer { Self.best($0) }
    }

    /// Copies the logits into `scores` and applies the repetition penalty once for each token that occurred.
    private mutating func penalize(_ logits: UnsafeBufferPointer<Float>) {
        precondition(logits.count == scores.count, "\(logits.count) logits for \(scores.count) tokens")
        for index in logits.indices { scores[index] = logits[index] }
        let penalty = options.repetitionPenalty
        for id in seenIDs {
            let score = scores[Int(id)]
            scores[Int(id)] = score < 0 ? score * penalty : score / penalty
        }
    }

    /// Works out the probabilities of the tokens that are left: `candidates`, best first.
    package mutating func distribution(_ logits: UnsafeBufferPointer<Float>) {
        penalize(logits)
        if options.temperature > 0 && options.temperature != 1 {
            for index in scores.indices { scores[index] /= options.temperature }
        }
        candidates.removeAll(keepingCapacity: true)
        let cut = options.topK > 0 && options.topK < scores.count ? kthLargest(options.topK) : -Float.infinity
        var top = -Float.infinity, total: Double = 0
        for score in scores where score > top { top = score }
        for index in scores.indices where scores[index] >= cut && scores[index] > -Float.infinity {
            candidates.append(Candidate(id: Int32(index), logit: scores[index]))
        }
        if candidates.isEmpty {
            // Logits without a number above minus infinity: nothing is more probable than anything.
            candidates = [Candidate(id: Int32(scores.firstIndex { !$0.isNaN } ?? 0), logit: 0, probability: 1)]
            return
        }
        for index in candidates.indices {
            candidates[index].probability = expf(candidates[index].logit - top)
            total += Double(candidates[index].probability)
        }
        if options.topP < 1 { keepTop(options.topP, of: total) }
        candidates.sort { $0.logit != $1.logit ? $0.logit > $1.logit : $0.id < $1.id }
        if options.minP > 0 {
            let least = candidates[0].probability * options.minP
            if let end = candidates.firstIndex(where: { $0.probability < least }) { candidates.removeSubrange(max(1, end)...) }
        }
        total = candidates.reduce(0) { $0 + Double($1.probability) }
        for index in candidates.indices { candidates[index].probability = Float(Double(candidates[index].probability) / total) }
    }

    /// Keeps the best candidates until the others before one reach the probability `p`; at least one stays.
    private mutating func keepTop(_ p: Float, of total: Double) {
        // Nearly always few candidates hold the mass: they are found by a threshold before anything is sorted.
        var threshold: Float = 1e-3
        while true {
            let mass = candidates.reduce(0) { $0 + ($1.probability >= threshold ? Double($1.probability) : 0) }
            if mass >= Double(p) * total || threshold < 1e-30 { break }
            threshold /= 64
        }
        candidates.removeAll { $0.probability < threshold }
        candidates.sort { $0.logit != $1.logit ? $0.logit > $1.logit : $0.id < $1.id }
        var before: Double = 0
        for index in candidates.indices {
            if index > 0 && before >= Double(p) * total {
                candidates.removeSubrange(index...)
                return
            }
            before += Double(candidates[index].probability)
        }
    }

    /// The k-th largest score; equal ones count each.
    private func kthLargest(_ k: Int) -> Float {
        // A heap of the k largest so far, smallest on top.
        var heap: [Float] = []
        heap.reserveCapacity(k)
        func sink(_ start: Int) {
            var index = start
            while true {
                var smallest = index
                for child in 2 * index + 1...2 * index + 2 where child < heap.count && heap[child] < heap[smallest] { smallest = child }
                if smallest == index { return }
                heap.swapAt(index, smallest)
                index = smallest
            }
        }
        for score in scores where !score.isNaN {
            if heap.count < k {
                heap.append(score)
                var index = heap.count - 1
                while index > 0, heap[index] < heap[(index - 1) / 2] {
                    heap.swapAt(index, (index - 1) / 2)
                    index = (index - 1) / 2
                }
            } else if score > heap[0] {
                heap[0] = score
                sink(0)
            }
        }
        return heap.first ?? -.infinity
    }

    /// Draws one of the candidates by its probability.
    private mutating func draw() -> Int32 {
        var rest = random.unit()
        for candidate in candidates {
            rest -= Double(candidate.probability)
            if rest < 0 { return candidate.id }
        }
        return candidates[candidates.count - 1].id
    }
}
