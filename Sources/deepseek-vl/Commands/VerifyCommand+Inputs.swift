import ArgumentParser
import DeepSeekVL
import VLEngine
import VLEval
import VLModels
import VLQuantize
import VLText

/// What two models are compared on.
extension VerifyCommand {
    // MARK: Text

    func compare(_ text: String, _ a: Side, _ b: Side) throws -> Differences {
        func ids(_ side: Side) throws -> [Int32] {
            do throws(TokenizerError) {
                return try side.host.loaded.tokenizer.encode(text, parsesSpecial: false)
            } catch {
                throw CommandFailure(description: error.description)
            }
        }
        func windows(_ side: Side) throws -> [Perplexity.Window] {
            let begin = try side.host.beginTokens
            let limit = side.host.loaded.language.maxPositions
            guard (begin.count + 2...max(begin.count + 2, limit)).contains(context) else {
                throw ValidationError(
                    "--context: expected a whole number from \(begin.count + 2) to \(limit), found \(context)"
                )
            }
            let all = try ids(side)
            return Perplexity.cut(
                tokens.map { Array(all.prefix($0)) } ?? all,
                begin: begin,
                .every(context: context, stride: context - begin.count)
            )
        }
        let (left, right) = (try windows(a), try windows(b))
        var comparison = try ModelComparison(a.compared, b.compared)
        let progress = TimedProgress("text", of: left.count)
        for (index, window) in left.enumerated() {
            progress.show(index)
            let other = index < right.count ? right[index].ids : []
            try comparison.add(Self.prompt(window.ids), Self.prompt(other), scoredFrom: window.scoredFrom)
        }
        progress.end()
        guard comparison.differences.tokens > 0 else {
            throw CommandFailure(
                description: "\(file ?? "text"): expected a text of at least two tokens, found less"
            )
        }
        return comparison.differences
    }

    private static func prompt(_ ids: [Int32]) -> PreparedPrompt {
        PreparedPrompt(text: "", ids: ids, spans: [], images: [])
    }

    // MARK: Questions

    func compare(
        _ list: [Question],
        _ inputs: QuestionInputs,
        _ a: Side,
        _ b: Side
    ) throws -> Differences {
        var comparison = try ModelComparison(a.compared, b.compared)
        var inputs = inputs
        let progress = TimedProgress("questions", of: list.count)
        for (index, question) in list.enumerated() {
            progress.show(index)
            func prompt(_ side: Side, _ answer: String) throws -> PreparedPrompt {
                let input = try inputs.conversation(question, side.host.loaded.processor, answer: answer)
                return try side.host.prepare(input, tiling: .auto, exif: .apply)
            }
            let asked = try prompt(a, "")
            let answered = try prompt(a, question.answer)
            // Where the answer's first characters change the question's last token, all behind the change is scored.
            let same = zip(asked.ids, answered.ids).prefix { $0 == $1 }.count
            try comparison.add(answered, try prompt(b, question.answer), scoredFrom: same)
        }
        progress.end()
        return comparison.differences
    }

    func answers(
        _ list: [Question],
        _ inputs: QuestionInputs,
        _ a: Side,
        _ b: Side
    ) throws -> [ComparisonReport.ScorePair] {
        var parameters = Parameters()
        parameters.maxTokens = 256
        var scores: [[Score]] = []
        for (letter, side) in [("A", a), ("B", b)] {
            var inputs = inputs
            var scorer = Scorer()
            let progress = TimedProgress("answers of \(letter)", of: list.count)
            for (index, question) in list.enumerated() {
                progress.show(index)
                let input = try inputs.conversation(question, side.host.loaded.processor)
                scorer.add(question, answer: try side.host.answer([input], parameters)[0].answer.text)
            }
            progress.end()
            scores.append(scorer.scores)
        }
        return zip(scores[0], scores[1]).map { mine, other in
            ComparisonReport.ScorePair(
                name: mine.name,
                a: mine.value,
                b: other.value,
                count: mine.count,
                cost: Self.costs[mine.name]
            )
        }
    }

    /// The tasks that are the cost of boxes, and their keys.
    private static let costs = [
        "grounding mean IoU": "mean_iou", "grounding Acc@0.5": "accuracy_at_0.5", "count": "count",
        "reading exact": "reading",
    ]
}
