import DeepSeekVL
import Testing
import VLTestSupport

/// The public face, with the model that ships in the repository and the answers of the official code.
@Suite("DeepSeekModel")
struct DeepSeekModelTests {
    private static let folder = fixture("../../Models/shapes-vl2")
    private static func picture(_ name: String) -> Picture { .file(fixture("../../Examples/\(name)")) }

    private let describe = "<image>\n<|grounding|>Describe the image."
    private let shapes = DeepSeekModelTests.picture("shapes.png")

    private func model() async throws -> DeepSeekModel {
        try await DeepSeekModel.load(Self.folder, threads: 2)
    }

    @Test("the pieces of a stream are the answer, and progress comes before them")
    func stream() async throws {
        var text = ""
        var kinds: [String] = []
        var answer: Answer?
        for try await event in try await model().ask(describe, pictures: [shapes]) {
            switch event {
            case .tilesEncoded(let done, let total):
                #expect(text.isEmpty && done <= total && total == 3)
                kinds.append("tiles")
            case .tokensPrefilled(let done, let total):
                #expect(done <= total && total == 69)
                kinds.append("tokens")
            case .text(let piece):
                #expect(!piece.isEmpty)
                text += piece
            case .finished(let finished): answer = finished
            }
        }
        let finished = try #require(answer)
        #expect(text == finished.text)
        #expect(kinds.first == "tiles" && kinds.last == "tokens")
        #expect(finished.finishReason == "stop")
        #expect(finished.grounding.map(\.label) == ["a green cross", "an orange square", "a blue square"])
        #expect(finished.grounding.map(\.box)[0] == [100, 60, 260, 420])
        #expect(finished.grounding.allSatisfy { $0.confidence > 0 && $0.confidence <= 1 && $0.image == 0 })
        #expect(finished.usage.promptTokens == 69 && finished.usage.imageTokens == 57)
        #expect(finished.usage.completionTokens == finished.tokens.count)
        #expect(
            finished.plainText
                == "The image shows a green cross, an orange square and a blue square on a pink background."
        )
    }

    @Test("leaving a stream cancels, and the next question is answered")
    func cancellation() async throws {
        let model = try await model()
        var pieces = 0
        for try await event in model.ask(describe, pictures: [shapes]) {
            if case .text = event { pieces += 1 }
            if pieces == 2 { break }
        }
        #expect(pieces == 2)
        let answer = try await model.answer("Which shape is green?", pictures: [shapes])
        #expect(answer.text == "The green shape is a cross.")
    }

    @Test("questions asked at the same time are each answered as alone")
    func concurrency() async throws {
        let model = try await model()
        async let first = model.answer("Which shape is green?", pictures: [shapes])
        async let second = model.answer("图中有几个圆环？", pictures: [Self.picture("rings.png")])
        async let third = model.answer("What shape is red?", pictures: [Self.picture("ring-and-cross.png")])
        let texts = try await [first.text, second.text, third.text]
        #expect(texts == ["The green shape is a cross.", "有3个圆环。", "The red shape is a cross."])
    }

    @Test("a stop text ends the answer before it, wherever tokens end")
    func stopTexts() async throws {
        let model = try await model()
        for (stop, wanted) in [(["cross", " shape"], "The green"), (["hape is a c"], "The green s")] {
            var parameters = Parameters()
            parameters.stop = stop
            let answer = try await model.answer(
                "Which shape is green?",
                pictures: [shapes],
                parameters: parameters
            )
            #expect(answer.text == wanted)
            #expect(answer.finishReason == "stop_string")
        }
    }

    @Test("a limit of tokens is kept, and none at all gives an empty answer")
    func limits() async throws {
        let model = try await model()
        for limit in [0, 1, 3] {
            var parameters = Parameters()
            parameters.maxTokens = limit
            let answer = try await model.answer(describe, pictures: [shapes], parameters: parameters)
            #expect(answer.tokens.count == limit && answer.finishReason == "length")
        }
    }

    @Test("an answer that goes round in circles is ended where that is asked for")
    func loops() async throws {
        // Random weights never find an end.
        let model = try await DeepSeekModel.load(fixture("models/checkpoints/vl2-mha"), threads: 2)
        var parameters = Parameters()
        parameters.maxTokens = 400
        let whole = try await model.answer("Hello there, how are you", parameters: parameters)
        #expect(whole.finishReason == "length" && whole.tokens.count == 400)
        parameters.stopsAtLoops = true
        let ended = try await model.answer("Hello there, how are you", parameters: parameters)
        #expect(ended.finishReason == "repetition")
        #expect(ended.tokens.count < 400 && ended.tokens == Array(whole.tokens.prefix(ended.tokens.count)))
    }

    @Test("a prompt beyond the context says by how much, and what the pictures cost")
    func tooLong() async throws {
        let question = String(repeating: "red circle ", count: 1100)
        let error = await #expect(throws: DeepSeekVLError.self) {
            _ = try await model().answer(question, pictures: [shapes])
        }
        let text = try #require(error).description
        #expect(text.contains("context is 2048") && text.contains("too many"))
        #expect(text.contains("images cost 57 tokens"))
    }

    @Test(
        "more and fewer pictures than tags are told with both numbers",
        arguments: [(1, 2), (2, 1), (0, 1), (3, 0)]
    )
    func counts(tags: Int, pictures: Int) async throws {
        let question = String(repeating: "<image>", count: tags) + "\nHello"
        let given = Array(repeating: shapes, count: pictures)
        if tags == 0 {
            // Without a tag, pictures come first.
            let answer = try await model().answer(question, pictures: given)
            #expect(answer.imageSpans.count == pictures)
            return
        }
        let error = await #expect(throws: DeepSeekVLError.self) {
            _ = try await model().answer(question, pictures: given)
        }
        #expect(error?.description.contains("found \(pictures) images and \(tags) tags") == true)
    }

    @Test("the same seed draws the same answer, another one does not")
    func seeds() async throws {
        let model = try await model()
        var parameters = Parameters()
        parameters.temperature = 1.5
        var answers: [[Int]] = []
        for seed in [1, 1, 2] as [UInt64] {
            parameters.seed = seed
            answers.append(
                try await model.answer(describe, pictures: [shapes], parameters: parameters).tokens
            )
        }
        #expect(answers[0] == answers[1])
        #expect(answers[0] != answers[2])
    }

    @Test("parameters out of range are told by name")
    func ranges() async throws {
        let model = try await model()
        let wrong: [(String, (inout Parameters) -> Void)] = [
            ("temperature", { $0.temperature = -1 }), ("temperature", { $0.temperature = .nan }),
            ("top-p", { $0.topP = 0 }), ("top-p", { $0.topP = 1.1 }), ("top-k", { $0.topK = -1 }),
            ("min-p", { $0.minP = 2 }), ("repetition-penalty", { $0.repetitionPenalty = 0 }),
            ("max-tokens", { $0.maxTokens = -1 }), ("chunk-size", { $0.chunkSize = 0 }),
            ("stop", { $0.stop = [""] }),
        ]
        for (name, change) in wrong {
            var parameters = Parameters()
            change(&parameters)
            let error = await #expect(throws: DeepSeekVLError.self) {
                _ = try await model.answer("Hello", parameters: parameters)
            }
            #expect(error?.description.hasPrefix(name + ":") == true)
        }
    }

    @Test("what is no model is told with what was looked for")
    func noModel() async throws {
        let error = await #expect(throws: DeepSeekVLError.self) {
            _ = try await DeepSeekModel.load(fixture("image"))
        }
        #expect(error?.description.contains("config.json") == true)
    }
}
