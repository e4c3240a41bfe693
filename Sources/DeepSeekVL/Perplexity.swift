import VLEngine
import VLModels
import VLText

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// How well a model predicts a text.
package struct Perplexity {
    /// How a text longer than the context is cut.
    package enum Windows: Sendable, Equatable {
        /// Windows of `context` tokens, each beginning with the begin token; every token of the text is scored once.
        ///
        /// A window begins `stride` tokens after the one before and scores what that one has not, so that a smaller
        /// stride gives tokens more context.
        case every(context: Int, stride: Int)
        /// As llama.cpp's `llama-perplexity`: whole windows of `context` tokens side by side, each with its first token
        /// replaced by the begin token, of which the second half is scored.
        case secondHalves(context: Int)
    }

    /// What a text gave.
    package struct Result: Sendable {
        /// Tokens that were scored.
        package var tokens: Int
        /// Mean negative log-likelihood of a token, in nats.
        package var meanLoss: Double
        /// Its exponential.
        package var perplexity: Double
    }

    /// Tokens that are computed together, and the first one that is scored.
    package struct Window: Sendable, Equatable {
        package var ids: [Int32]
        package var scoredFrom: Int

        package init(ids: [Int32], scoredFrom: Int) {
            self.ids = ids
            self.scoredFrom = scoredFrom
        }
    }

    /// The windows of a text.
    ///
    /// - Parameter begin: what each window begins with; empty for a model without a begin token.
    package static func cut(_ text: [Int32], begin: [Int32], _ windows: Windows) -> [Window] {
        var result: [Window] = []
        switch windows {
        case .every(let context, let stride):
            let size = max(1, context - begin.count)
            var scored = 0
            for start in Swift.stride(from: 0, to: text.count, by: max(1, stride)) {
                let end = min(text.count, start + size)
                if end > scored {
                    result.append(
                        Window(ids: begin + text[start..<end], scoredFrom: begin.count + scored - start)
                    )
                    scored = end
                }
            }
        case .secondHalves(let context):
            let whole = begin + text
            for start in Swift.stride(from: 0, through: whole.count - context, by: context) {
                var ids = Array(whole[start..<start + context])
                ids.replaceSubrange(0..<begin.count, with: begin)
                result.append(Window(ids: ids, scoredFrom: context / 2 + 1))
            }
        }
        return result
    }
}

extension ModelHost {
    /// The token that a plain text begins with; none for models that have none.
    package var beginTokens: [Int32] {
        get throws(DeepSeekVLError) {
            let input = ConversationInput(form: .prompt("", appliesTemplate: false, system: ""), pictures: [])
            return try prepare(input, tiling: .auto, exif: .ignore).ids
        }
    }

    /// Measures how well the model predicts a text; special tokens that it spells are plain text.
    ///
    /// - Parameters:
    ///   - windows: nil means windows of the model's context side by side.
    ///   - onProgress: called with tokens computed and tokens in all; returns false to stop.
    /// - Throws: `DeepSeekVLError`; nothing is returned when `onProgress` stopped it.
    package func perplexity(
        of text: String,
        _ windows: Perplexity.Windows? = nil,
        onProgress: (Int, Int) -> Bool = { _, _ in true }
    ) throws(DeepSeekVLError) -> Perplexity.Result? {
        let limit = loaded.language.maxPositions
        let begin = try beginTokens
        let windows = windows ?? .every(context: limit, stride: max(1, limit - begin.count))
        switch windows {
        case .every(let context, let stride):
            try check("context", context, begin.count + 1...max(begin.count + 1, limit))
            try check("stride", stride, 1...max(1, context - begin.count))
        case .secondHalves(let context):
            try check("context", context, 4...max(4, limit))
        }
        let ids: [Int32]
        do throws(TokenizerError) {
            ids = try loaded.tokenizer.encode(text, parsesSpecial: false)
        } catch {
            throw .request(description: error.description)
        }
        let parts = Perplexity.cut(ids, begin: begin, windows)
        let total = parts.reduce(0) { $0 + $1.ids.count }
        var done = 0
        var loss = 0.0
        var count = 0
        let generator = generator
        for part in parts {
            var options = GenerationOptions()
            options.maxTokens = 0
            options.chunkSize = 512
            options.scoredFrom = part.scoredFrom
            let sequence: Sequence
            do throws(EngineError) {
                let prompt = PreparedPrompt(text: "", ids: part.ids, spans: [], images: [])
                sequence = try generator.sequence(prompt, options)
            } catch {
                throw DeepSeekVLError(error)
            }
            generator.generate([sequence]) { event in
                guard case .tokensPrefilled(let tokens, _) = event else { return true }
                return onProgress(done + tokens, total)
            }
            if sequence.finish == .cancelled { return nil }
            done += part.ids.count
            for score in sequence.promptScores { loss -= Double(score.logProbability) }
            count += sequence.promptScores.count
        }
        guard count > 0 else {
            throw .request(
                description: "text: expected enough for a token that can be scored, found \(ids.count) tokens"
            )
        }
        let mean = loss / Double(count)
        return Perplexity.Result(tokens: count, meanLoss: mean, perplexity: exp(mean))
    }

    private func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(DeepSeekVLError) {
        guard range.contains(value) else {
            throw .parameter(
                name: name,
                expected: "a whole number from \(range.lowerBound) to \(range.upperBound)",
                found: "\(value)"
            )
        }
    }
}
