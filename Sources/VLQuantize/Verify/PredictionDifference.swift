#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// How far apart two models' predictions of one token are; logarithms are natural.
struct PredictionDifference: Sendable {
    /// Kullback-Leibler divergence of the second from the first, in nats.
    let divergence: Double
    /// Minus the logarithm of the probability that the first model gives the token that follows.
    let lossA: Double
    let lossB: Double
    /// Whether both find the same token most probable; ties go to the smaller id.
    let isSameBest: Bool
    /// The logits, each less its row's mean, which no probability depends on.
    let logits: RowDifference

    init(_ a: UnsafeBufferPointer<Float>, _ b: UnsafeBufferPointer<Float>, target: Int) {
        let (bestA, sumA) = Self.summary(a)
        let (bestB, sumB) = Self.summary(b)
        var divergence = 0.0
        for index in a.indices {
            let logA = Double(a[index]) - sumA
            // What the first model all but excludes adds nothing.
            guard logA > -80 else { continue }
            divergence += exp(logA) * (logA - (Double(b[index]) - sumB))
        }
        // It is no less than 0 but for rounding.
        self.divergence = max(0, divergence)
        lossA = sumA - Double(a[target])
        lossB = sumB - Double(b[target])
        isSameBest = bestA == bestB
        logits = RowDifference(a, b, centered: true)
    }

    /// The greatest logit's place, and the logarithm of the sum of all exponentials.
    private static func summary(_ logits: UnsafeBufferPointer<Float>) -> (best: Int, logSum: Double) {
        var best = 0
        for index in logits.indices where logits[index] > logits[best] { best = index }
        let top = Double(logits[best])
        var total = 0.0
        for value in logits { total += exp(Double(value) - top) }
        return (best, top + log(total))
    }

    // A divergence that is no number was made 0 by `max`, but then the losses are none either.
    var isFinite: Bool { divergence.isFinite && lossA.isFinite && lossB.isFinite && logits.isFinite }
}
