/// Changes scores by what has been said already, and by what the caller wants more or less of.
///
/// In this order: biases are added; the repetition penalty divides scores from 0 and multiplies those below, once for
/// each token of the prompt or the answer; the frequency penalty is subtracted for each time that the answer has a
/// token, the presence penalty once if it has.
package struct Penalties: Sendable {
    private let biases: [(id: Int, value: Float)]
    private let repetition: Float
    private let frequency: Float
    private let presence: Float
    /// How often the answer has each token; -1 for none, but the prompt has it.
    private var counts: [Int32]
    /// The tokens whose count is not 0, in the order of their first occurrence.
    private var occurred: [Int32] = []

    /// - Parameters:
    ///   - options: which penalties there are.
    ///   - vocabularySize: tokens beyond it are ignored.
    ///   - prompt: tokens for the repetition penalty; the other two look at the answer alone.
    package init(_ options: SamplingOptions, vocabularySize: Int, prompt: [Int32]) {
        repetition = options.repetitionPenalty
        frequency = options.frequencyPenalty
        presence = options.presencePenalty
        biases = options.logitBias.sorted { $0.key < $1.key }
            .filter { $0.key >= 0 && Int($0.key) < vocabularySize && $0.value != 0 }
            .map { (Int($0.key), $0.value) }
        let isCounting = repetition != 1 || frequency != 0 || presence != 0
        counts = [Int32](repeating: 0, count: isCounting ? vocabularySize : 0)
        // Each token is listed once at most, so that no token of the answer allocates.
        occurred.reserveCapacity(counts.count)
        for id in prompt where repetition != 1 && contains(id) && counts[Int(id)] == 0 {
            counts[Int(id)] = -1
            occurred.append(id)
        }
    }

    /// Whether scores stay as they are.
    package var isNeutral: Bool { biases.isEmpty && counts.isEmpty }

    /// Counts a token of the answer.
    package mutating func note(_ id: Int32) {
        guard contains(id) else { return }
        let count = counts[Int(id)]
        if count == 0 { occurred.append(id) }
        counts[Int(id)] = count < 0 ? 1 : count &+ 1
    }

    /// Changes the scores of a vocabulary in place.
    package func apply(to scores: UnsafeMutableBufferPointer<Float>) {
        for bias in biases { scores[bias.id] += bias.value }
        for id in occurred {
            var score = scores[Int(id)]
            if repetition != 1 { score = score < 0 ? score * repetition : score / repetition }
            let count = counts[Int(id)]
            if count > 0 { score -= Float(count) * frequency + presence }
            scores[Int(id)] = score
        }
    }

    private func contains(_ id: Int32) -> Bool { id >= 0 && Int(id) < counts.count }
}
