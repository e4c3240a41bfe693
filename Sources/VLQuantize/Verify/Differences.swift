#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// What a comparison of two models found on some prompts.
package struct Differences: Sendable {
    /// A place in the network where hidden states are compared.
    package enum Stage: Hashable, Comparable, Sendable {
        case vision
        case projector
        case embeddings
        /// After the layer of this number, from 1.
        case layer(Int)
        case finalNorm

        /// The stage that a trace's tensor belongs to; nil for tensors that are not compared.
        init?(traced name: String) {
            if name.hasPrefix("hidden_states."), let number = Int(name.dropFirst(14)) {
                self = number == 0 ? .embeddings : .layer(number)
            } else if name == "projector_output" {
                self = .projector
            } else if name == "vision_features" {
                self = .vision
            } else {
                return nil
            }
        }

        /// Its name in tables.
        package var name: String {
            switch self {
            case .vision: "vision"
            case .projector: "projector"
            case .embeddings: "embeddings"
            case .layer(let number): "layer \(number)"
            case .finalNorm: "final norm"
            }
        }
    }

    /// Means over rows.
    package struct Mean: Sendable {
        private var relativeSum = 0.0
        private var cosineSum = 0.0
        package private(set) var rows = 0

        /// Mean of |a - b| / |a| over the rows.
        package var relative: Double { rows == 0 ? 0 : relativeSum / Double(rows) }
        /// Mean cosine of the angle between the rows.
        package var cosine: Double { rows == 0 ? 1 : cosineSum / Double(rows) }

        mutating func add(_ row: RowDifference) {
            relativeSum += row.relative
            cosineSum += row.cosine
            rows += 1
        }
    }

    package private(set) var stages: [Stage: Mean] = [:]
    package private(set) var logits = Mean()
    /// Kullback-Leibler divergence at each token that was predicted, in nats.
    package private(set) var divergences: [Double] = []
    /// Prompts that were compared.
    package internal(set) var prompts = 0
    private var lossA = 0.0
    private var lossB = 0.0
    private var sameBest = 0

    mutating func add(_ row: RowDifference, to stage: Stage) { stages[stage, default: Mean()].add(row) }

    mutating func add(_ prediction: PredictionDifference) {
        divergences.append(prediction.divergence)
        lossA += prediction.lossA
        lossB += prediction.lossB
        if prediction.isSameBest { sameBest += 1 }
        logits.add(prediction.logits)
    }

    /// Tokens that were predicted.
    package var tokens: Int { divergences.count }
    package var perplexityA: Double { exp(lossA / Double(max(1, tokens))) }
    package var perplexityB: Double { exp(lossB / Double(max(1, tokens))) }
    /// The second model's perplexity over the first's.
    package var perplexityRatio: Double { exp((lossB - lossA) / Double(max(1, tokens))) }
    /// Share of the tokens for which both models find the same one most probable.
    package var agreement: Double { tokens == 0 ? 1 : Double(sameBest) / Double(tokens) }
    package var meanDivergence: Double {
        tokens == 0 ? 0 : divergences.reduce(0, +) / Double(tokens)
    }

    /// The divergence that this share of the tokens does not exceed; 1 gives the greatest.
    package func divergence(quantile: Double) -> Double {
        let sorted = divergences.sorted()
        guard let last = sorted.last else { return 0 }
        let place = Int((quantile * Double(sorted.count)).rounded(.up)) - 1
        return place >= sorted.count ? last : sorted[max(0, place)]
    }

    /// The stages in the order of the network.
    package var ordered: [(stage: Stage, mean: Mean)] {
        stages.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}
