import VLGrammar
import VLTensor

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
    /// Subtracted from the score of tokens that occurred in the answer; 0 for none.
    package var presencePenalty: Float = 0
    /// Subtracted from the score of a token for each time that it occurred in the answer; 0 for none.
    package var frequencyPenalty: Float = 0
    /// Added to the scores of tokens, by id.
    package var logitBias: [Int32: Float] = [:]
    /// Seed of the random numbers.
    package var seed: UInt64 = 0

    package init() {}
}

/// Chooses tokens: penalties, temperature, top-k, top-p, min-p, in this order, as `generate` of transformers does.
///
/// Holds what one sequence needs; its buffers are made with the first token, so that further ones allocate nothing.
/// The choice depends on logits, options and the number of tokens chosen before, and is the same on every machine.
package struct Sampler: Sendable {
    package let options: SamplingOptions
    private let vocabularySize: Int
    private var penalties: Penalties
    private var random: Philox
    private var candidates = Candidates()

    /// - Parameter prompt: its tokens count as having occurred; those beyond the vocabulary are left out.
    package init(_ options: SamplingOptions, vocabularySize: Int, prompt: [Int32] = []) {
        self.options = options
        self.vocabularySize = vocabularySize
        penalties = Penalties(options, vocabularySize: vocabularySize, prompt: prompt)
        random = Philox(seed: options.seed)
    }

    /// The next token.
    ///
    /// Of equal greatest logits the first wins if the temperature is 0. A logit that is no number never wins.
    package mutating func next(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        let id = choose(logits)
        penalties.note(id)
        return id
    }

    /// The next token that a constraint permits; nil if it permits none.
    ///
    /// The token is chosen without the constraint first, and stays if it is permitted: an answer that the constraint
    /// never changes is the unconstrained one, bit for bit, and costs no pass over the vocabulary. Else it is chosen
    /// once more among the permitted ones. Without top-k and the like that is the distribution over the permitted tokens.
    ///
    /// - Parameter room: memory for a vocabulary's scores, asked for if it is needed.
    package mutating func next(
        _ logits: UnsafeBufferPointer<Float>,
        under constraint: any ConstraintState,
        room: () -> UnsafeMutableBufferPointer<Float>
    ) -> Int32? {
        var id = choose(logits)
        if !constraint.permits(id) {
            let scores = room()
            _ = scores.update(fromContentsOf: logits)
            constraint.restrict(scores, isExact: false)
            id = choose(UnsafeBufferPointer(scores))
            if !constraint.permits(id) {
                constraint.restrict(scores, isExact: true)
                id = choose(UnsafeBufferPointer(scores))
                // All that is permitted may have no score: not a number, or minus infinity by a bias.
                if !constraint.permits(id) {
                    guard let any = constraint.anyToken(), constraint.permits(any) else { return nil }
                    id = any
                }
            }
        }
        constraint.accept(id)
        penalties.note(id)
        return id
    }

    /// The next token; nil if the constraint, if there is one, permits none.
    package mutating func next(
        _ logits: UnsafeBufferPointer<Float>,
        under constraint: (any ConstraintState)?,
        _ run: Run
    ) -> Int32? {
        guard let constraint else { return next(logits) }
        return run.scoped {
            next(logits, under: constraint) {
                let count = logits.count
                return UnsafeMutableBufferPointer(
                    start: run.workspace.allocate(Float.self, count),
                    count: count
                )
            }
        }
    }

    /// Chooses a token, of which nothing is noted yet.
    private mutating func choose(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        precondition(logits.count == vocabularySize, "\(logits.count) logits for \(vocabularySize) tokens")
        if options.temperature > 0 {
            filter(logits)
            return candidates.draw(random.unit())
        }
        return penalties.isNeutral ? Self.best(logits) : candidates.load(logits, penalties) { Self.best($0) }
    }

    /// The probabilities from which `next` would draw; exactly 0 for what the options removed.
    ///
    /// For a temperature of 0 these are the ones of temperature 1.
    package mutating func probabilities(_ logits: UnsafeBufferPointer<Float>) -> [Float] {
        precondition(logits.count == vocabularySize, "\(logits.count) logits for \(vocabularySize) tokens")
        filter(logits)
        return candidates.probabilities(vocabularySize)
    }

    private mutating func filter(_ logits: UnsafeBufferPointer<Float>) {
        candidates.load(logits, penalties, temperature: options.temperature)
        if options.topK > 0 { candidates.keepBest(options.topK) }
        candidates.weigh()
        if options.topP < 1 { candidates.keepMass(options.topP) }
        if options.minP > 0 { candidates.keepShare(options.minP) }
    }

    /// The first of the greatest logits.
    private static func best(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        let top = Candidates.greatest(logits)
        return Int32(logits.firstIndex(of: top) ?? 0)
    }
}
