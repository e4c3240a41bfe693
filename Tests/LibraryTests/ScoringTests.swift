import DeepSeekVL
import Testing
import VLEngine
import VLModels
import VLTensor
import VLTestSupport

@Suite("Scores of tokens", .serialized)
struct ScoringTests {
    private let text = "The image shows a large black square. There are three circles, one of them red."

    private func host(_ compute: Compute = .float32) throws -> ModelHost {
        try ModelHost(nil, threads: 2, compute: compute)
    }

    private func complete(_ host: ModelHost, _ text: String, _ parameters: Parameters) throws -> HostedAnswer
    {
        let input = ConversationInput(form: .prompt(text, appliesTemplate: false, system: ""), pictures: [])
        return try #require(host.answer([input], parameters).first)
    }

    @Test(
        "tokens of a prompt get the bits that they got when they were generated",
        arguments: [Compute.float32, .auto]
    )
    func promptAndAnswer(compute: Compute) throws {
        let host = try host(compute)
        var parameters = Parameters()
        parameters.maxTokens = 24
        parameters.bestTokens = 3
        let question = "<|User|>: Describe the image.\n\n<|Assistant|>:"
        let generated = try complete(host, question, parameters)
        #expect(generated.scores.count > 4 && generated.promptScores.isEmpty)
        for token in generated.scores {
            #expect(token.best.count == 3 && token.best[0].id == token.id)
            #expect(token.best[0].logProbability == token.logProbability)
            #expect(token.best[1].logProbability >= token.best[2].logProbability)
        }

        let generator = Generator(language: host.loaded.language, vision: nil, run: host.run)
        let ids = generated.answer.promptTokens.map { Int32($0) } + generated.scores.map(\.id)
        for chunk in [nil, 1, 7] {
            var options = GenerationOptions()
            options.maxTokens = 0
            options.bestTokens = 3
            options.chunkSize = chunk
            options.scoredFrom = generated.answer.promptTokens.count
            let prompt = PreparedPrompt(text: "", ids: ids, spans: [], images: [])
            let sequence = try generator.sequence(prompt, options)
            generator.generate([sequence]) { _ in true }
            #expect(sequence.tokens.isEmpty && sequence.finish == .length)
            #expect(sequence.promptScores.map(\.id) == generated.scores.map(\.id))
            #expect(sequence.promptScores.map(\.logProbability) == generated.scores.map(\.logProbability))
            #expect(sequence.promptScores.map(\.best) == generated.scores.map(\.best))
        }
    }

    @Test("an echoed prompt has a score for each token but the first, and its answer is unchanged")
    func echo() throws {
        let host = try host()
        var parameters = Parameters()
        parameters.maxTokens = 8
        let plain = try complete(host, text, parameters)
        parameters.scoresPrompt = true
        let echoed = try complete(host, text, parameters)
        #expect(echoed.answer.tokens == plain.answer.tokens)
        #expect(echoed.promptScores.map { Int($0.id) } == Array(echoed.answer.promptTokens.dropFirst()))
        #expect(echoed.promptScores.allSatisfy { $0.logProbability <= 0 && $0.best.isEmpty })
    }

    @Test("the best tokens are in order, ties by id, and what is no number is left out")
    func best() {
        let logits: [Float] = [1, .nan, 3, 3, -.infinity, 2]
        let best = logits.withUnsafeBufferPointer { TokenProbability.best(4, of: $0, logSum: 1) }
        #expect(best.map(\.id) == [2, 3, 5, 0])
        #expect(best.map(\.logProbability) == [2, 2, 1, 0])
        let all = logits.withUnsafeBufferPointer { TokenProbability.best(10, of: $0, logSum: 0) }
        #expect(all.map(\.id) == [2, 3, 5, 0, 4])
    }

    @Test("windows score each token of a text once, with the begin token before them")
    func windows() {
        typealias Window = Perplexity.Window
        let text: [Int32] = [1, 2, 3, 4, 5, 6, 7]
        #expect(
            Perplexity.cut(text, begin: [0], .every(context: 4, stride: 3)) == [
                Window(ids: [0, 1, 2, 3], scoredFrom: 1), Window(ids: [0, 4, 5, 6], scoredFrom: 1),
                Window(ids: [0, 7], scoredFrom: 1),
            ]
        )
        #expect(
            Perplexity.cut(text, begin: [0], .every(context: 5, stride: 2)) == [
                Window(ids: [0, 1, 2, 3, 4], scoredFrom: 1), Window(ids: [0, 3, 4, 5, 6], scoredFrom: 3),
                Window(ids: [0, 5, 6, 7], scoredFrom: 3),
            ]
        )
        #expect(
            Perplexity.cut(text, begin: [0], .secondHalves(context: 4)) == [
                Window(ids: [0, 1, 2, 3], scoredFrom: 3), Window(ids: [0, 5, 6, 7], scoredFrom: 3),
            ]
        )
        #expect(Perplexity.cut([1, 2], begin: [0], .secondHalves(context: 4)).isEmpty)
        #expect(Perplexity.cut([], begin: [0], .every(context: 4, stride: 3)).isEmpty)
    }

    @Test("one window's perplexity is that of the prompt's scores, and windows side by side add up")
    func perplexity() throws {
        let host = try host()
        var parameters = Parameters()
        parameters.maxTokens = 0
        parameters.scoresPrompt = true
        let scores = try complete(host, text, parameters).promptScores
        let loss = -scores.reduce(0) { $0 + Double($1.logProbability) } / Double(scores.count)
        let whole = try #require(try host.perplexity(of: text))
        #expect(whole.tokens == scores.count && whole.meanLoss == loss)

        let cut = try #require(try host.perplexity(of: text, .every(context: 9, stride: 8)))
        let slid = try #require(try host.perplexity(of: text, .every(context: 9, stride: 1)))
        #expect(cut.tokens == scores.count && slid.tokens == scores.count)
        #expect(cut.meanLoss != slid.meanLoss)
        let halves = try #require(try host.perplexity(of: text, .secondHalves(context: 8)))
        #expect(halves.tokens == (scores.count + 1) / 8 * 3)
    }

    @Test("a text without a token to score, and windows that the model cannot take, are errors")
    func refusals() throws {
        let host = try host()
        #expect(throws: DeepSeekVLError.self) { try host.perplexity(of: "") }
        #expect(throws: DeepSeekVLError.self) { try host.perplexity(of: text, .every(context: 1, stride: 1)) }
        #expect(throws: DeepSeekVLError.self) { try host.perplexity(of: text, .every(context: 9, stride: 9)) }
        #expect(throws: DeepSeekVLError.self) { try host.perplexity(of: text, .secondHalves(context: 2049)) }
    }
}
