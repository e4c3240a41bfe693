import VLJSON

/// What a comparison of two models found, for people and for programs.
package struct ComparisonReport: Sendable {
    /// A model of the comparison.
    package struct Model: Sendable {
        package var name: String
        /// Types of the matrices, as the user asked for them.
        package var weights: String
        /// Bytes of the weights in memory.
        package var bytes: Int

        package init(name: String, weights: String, bytes: Int) {
            self.name = name
            self.weights = weights
            self.bytes = bytes
        }
    }

    /// A task's figure for both models, from 0 to 1.
    package struct ScorePair: Sendable {
        package var name: String
        package var a: Double
        package var b: Double
        package var count: Int
        /// The key under which it counts as a cost of boxes; nil for other tasks.
        package var cost: String?

        package init(name: String, a: Double, b: Double, count: Int, cost: String? = nil) {
            self.name = name
            self.a = a
            self.b = b
            self.count = count
            self.cost = cost
        }
    }

    package var a: Model
    package var b: Model
    /// On a text.
    package var text: Differences?
    /// On questions with the right answers, whose tokens are predicted.
    package var questions: Differences?
    /// Figures of the answers that the models gave.
    package var scores: [ScorePair] = []

    package init(a: Model, b: Model) {
        self.a = a
        self.b = b
    }

    /// The parts that there are, in their order.
    var parts: [(name: String, found: Differences)] {
        [("text", text), ("questions", questions)].compactMap { name, found in found.map { (name, $0) } }
    }

    // MARK: JSON

    package var json: JSONValue {
        var object: JSONObject = ["a": Self.json(a), "b": Self.json(b)]
        for (name, found) in parts { object[name] = Self.json(found) }
        guard !scores.isEmpty else { return .object(object) }
        var cost = JSONObject()
        var all = JSONObject()
        for score in scores {
            let pair: JSONValue = [
                "a": .number(score.a), "b": .number(score.b), "cost": .number(score.a - score.b),
                "n": .integer(Int64(score.count)),
            ]
            all[score.name] = pair
            if let key = score.cost { cost[key] = pair }
        }
        object["box_cost"] = .object(cost)
        object["scores"] = .object(all)
        return .object(object)
    }

    private static func json(_ model: Model) -> JSONValue {
        [
            "model": .string(model.name), "weights": .string(model.weights),
            "weight_bytes": .integer(Int64(model.bytes)),
        ]
    }

    private static func json(_ found: Differences) -> JSONValue {
        let stages = found.ordered.map { stage, mean in json(mean, name: stage.name) }
        return [
            "prompts": .integer(Int64(found.prompts)), "tokens": .integer(Int64(found.tokens)),
            "perplexity_a": .number(found.perplexityA), "perplexity_b": .number(found.perplexityB),
            "perplexity_ratio": .number(found.perplexityRatio),
            "kl": [
                "mean": .number(found.meanDivergence), "median": .number(found.divergence(quantile: 0.5)),
                "p99": .number(found.divergence(quantile: 0.99)),
                "max": .number(found.divergence(quantile: 1)),
            ],
            "top1_agreement": .number(found.agreement), "logits": json(found.logits, name: nil),
            "stages": .array(stages),
        ]
    }

    private static func json(_ mean: Differences.Mean, name: String?) -> JSONValue {
        var object = JSONObject()
        if let name { object["name"] = .string(name) }
        object["relative_rms"] = .number(mean.relative)
        object["cosine"] = .number(mean.cosine)
        object["rows"] = .integer(Int64(mean.rows))
        return .object(object)
    }

    // MARK: Text

    /// Tables for a terminal.
    package var table: String {
        let name = max(a.name.count, b.name.count)
        var text = ""
        for (letter, model) in [("A", a), ("B", b)] {
            text += "\(letter)  \(Digits.left(model.name, name))  \(model.weights), "
            text += "\(Digits.fixed(Double(model.bytes) / 1e6, 1)) MB of weights\n"
        }
        for (name, found) in parts { text += "\n" + Self.table(name, found) }
        if !scores.isEmpty { text += "\n" + scoreTable }
        return text
    }

    private static func table(_ name: String, _ found: Differences) -> String {
        let what = name == "questions" ? "tokens of the right answers" : "tokens"
        var text = "\(name): \(found.prompts) prompts, \(found.tokens) \(what)\n"
        func line(_ name: String, _ value: String) { text += "  " + Digits.left(name, 20) + value + "\n" }
        line(
            "perplexity A, B",
            "\(Digits.fixed(found.perplexityA, 4))  \(Digits.fixed(found.perplexityB, 4))"
        )
        line("perplexity B / A", Digits.fixed(found.perplexityRatio, 5))
        let divergences = [
            "mean \(Digits.significant(found.meanDivergence))",
            "median \(Digits.significant(found.divergence(quantile: 0.5)))",
            "99 % \(Digits.significant(found.divergence(quantile: 0.99)))",
            "greatest \(Digits.significant(found.divergence(quantile: 1)))",
        ]
        line("KL(A, B) in nats", divergences.joined(separator: ", "))
        line("same best token", Digits.fixed(100 * found.agreement, 2) + " %")
        text += "\n  " + Digits.left("hidden states", 20) + "relative RMS     cosine\n"
        for (stage, mean) in found.ordered + [] { line(stage.name, columns(mean)) }
        line("logits", columns(found.logits))
        return text
    }

    private static func columns(_ mean: Differences.Mean) -> String {
        Digits.right(Digits.fixed(mean.relative, 6), 12) + "  "
            + Digits.right(Digits.fixed(mean.cosine, 6), 9)
    }

    private var scoreTable: String {
        let name = max(6, scores.map(\.name.count).max() ?? 0)
        var text = Digits.left("answers", name) + "       A       B  B - A   cases\n"
        // What boxes, counts and readings cost comes first.
        for score in scores.filter({ $0.cost != nil }) + scores.filter({ $0.cost == nil }) {
            text +=
                Digits.left(score.name, name) + "  " + Digits.fixed(score.a, 4) + "  "
                + Digits.fixed(score.b, 4)
            text +=
                Digits.right(Digits.fixed(score.b - score.a, 4), 9) + Digits.right("\(score.count)", 6) + "\n"
        }
        return text
    }
}
