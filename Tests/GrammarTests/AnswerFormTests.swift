import DeepSeekVL
import Testing
import VLEngine
import VLGrammar
import VLJSON
import VLModels
import VLTensor
import VLTestSupport

/// What a test reads out of a picture.
private struct Scene: Decodable, Sendable, SchemaDescribed {
    struct Shape: Decodable, Sendable {
        var colour: String
        var size: Double
        var label: String?
    }

    var shapes: [Shape]
    var count: Int
    var isDark: Bool

    static let schema: JSONSchema = [
        "shapes": .array(
            of: .object(
                [
                    "colour": .oneOf(["red", "green", "blue"]), "size": .number(0.5...9),
                    "label": .optional(.string(length: 0...8)),
                ]
            ),
            count: 1...3
        ),
        "count": .integer(0...99).described("how many there are"),
        "isDark": .boolean,
    ]
}

@Suite("Answers of a form") struct AnswerFormTests {
    private let picture = Picture.file(fixture("../../Examples/shapes.png"))

    @Test("a value of a type comes out of a picture", arguments: [0, 1.5])
    func extract(temperature: Double) async throws {
        let model = try await DeepSeekModel.load(threads: 2)
        var parameters = Parameters()
        parameters.temperature = temperature
        let scene = try await model.extract(
            Scene.self,
            from: picture,
            question: "Which shapes are there?",
            parameters: parameters
        )
        #expect((1...3).contains(scene.shapes.count))
        #expect((0...99).contains(scene.count))
        #expect(
            scene.shapes.allSatisfy {
                ["red", "green", "blue"].contains($0.colour) && (0.5...9).contains($0.size)
            }
        )
    }

    @Test("too few tokens for a value are an error, not half a value")
    func tooFew() async throws {
        let model = try await DeepSeekModel.load(threads: 2)
        var parameters = Parameters()
        parameters.maxTokens = 10
        await #expect(throws: DeepSeekVLError.self) {
            try await model.extract(Scene.self, from: picture, parameters: parameters)
        }
    }

    @Test("schemas that are not supported are told with their keyword")
    func unsupported() throws {
        #expect(throws: DeepSeekVLError.self) { try JSONSchema(json: "{") }
        do {
            _ = try JSONSchema(json: #"{"type": "object", "properties": {"a": {"not": {}}}}"#)
            Issue.record("'not' is taken")
        } catch .schema(let keyword, let pointer, _) {
            #expect(keyword == "not" && pointer == "#/properties/a")
        }
        #expect(try JSONSchema(json: Scene.schema.json) == Scene.schema)
    }

    @Test(
        "requests under constraints answer in a batch as alone, and with guessed tokens, too",
        arguments: [AnswerForm.json, .jsonSchema(Scene.schema), .legalBoxes]
    )
    func batch(form: AnswerForm) throws {
        let host = try ModelHost(nil, threads: 2, compute: .float32)
        let input = ConversationInput(
            form: .question("<|grounding|>Describe the image.", system: nil),
            pictures: [try PictureSource.read(fixture("../../Examples/shapes.png"))]
        )
        let prompt = try host.prepare(input, tiling: .auto, exif: .apply)
        var parameters = Parameters()
        parameters.form = form
        parameters.maxTokens = 160
        parameters.temperature = 1.4
        func alone(_ seed: UInt64, lookup: Int) throws -> [Int32] {
            parameters.seed = seed
            parameters.promptLookup = lookup
            let request = HostedRequest(prompt: prompt, pictures: [])
            return try #require(try host.answer([request], parameters).first).answer.tokens.map { Int32($0) }
        }
        let runner = try host.batchRunner(ServingOptions())
        var ids: [Int] = []
        for seed in 0..<4 as Range<UInt64> {
            var options = parameters.options
            options.sampling.seed = seed
            options.endTokens = host.loaded.endTokens
            options.penalizesPrompt = host.loaded.processor.penalizesPrompt
            options.constraint = try host.constraints.constraint(form)
            ids.append(try runner.submit(BatchRequest(prompt, options)))
        }
        var found: [Int: [Int32]] = [:]
        var reasons: [Int: FinishReason] = [:]
        while runner.step(
            now: .now,
            { id, event in
                if case .token(let token, false) = event { found[id, default: []].append(token.id) }
                if case .finished(let reason) = event { reasons[id] = reason }
            }
        ) {}
        for (seed, id) in ids.enumerated() {
            let wanted = try alone(UInt64(seed), lookup: 0)
            #expect(found[id] == wanted)
            #expect(try alone(UInt64(seed), lookup: 6) == wanted)
            if form != .legalBoxes { #expect(reasons[id] == .stop) }
        }
        #expect(runner.statistics.blocksInUse == runner.statistics.blocksCached)
    }
}
