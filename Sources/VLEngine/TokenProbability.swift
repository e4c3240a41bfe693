/// A token and the natural logarithm of its probability, before penalties and temperature.
package struct TokenProbability: Sendable, Equatable {
    package let id: Int32
    package let logProbability: Float

    package init(id: Int32, logProbability: Float) {
        self.id = id
        self.logProbability = logProbability
    }

    /// The `count` most probable tokens, best first; of equal ones those of the smaller ids.
    ///
    /// - Parameter logSum: what log-probabilities are less than logits.
    package static func best(
        _ count: Int,
        of logits: UnsafeBufferPointer<Float>,
        logSum: Float
    ) -> [TokenProbability] {
        var best: [(id: Int, logit: Float)] = []
        best.reserveCapacity(count + 1)
        var least = -Float.infinity
        for (id, logit) in logits.enumerated() where logit > least || best.count < count {
            if logit.isNaN { continue }
            var place = best.count
            while place > 0, best[place - 1].logit < logit { place -= 1 }
            best.insert((id, logit), at: place)
            if best.count > count { best.removeLast() }
            if best.count == count { least = best.last?.logit ?? -.infinity }
        }
        return best.map { TokenProbability(id: Int32($0.id), logProbability: $0.logit - logSum) }
    }
}
