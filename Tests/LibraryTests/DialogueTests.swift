import DeepSeekVL
import Foundation
import Testing
import VLEngine
import VLFormats
import VLJSON
import VLModels
import VLTensor
import VLTestSupport

/// A conversation with a model, and what happened in it.
private struct Talk {
    let host: ModelHost
    let dialogue: Dialogue
    var events: [String] = []

    init(_ model: String? = nil, _ compute: Compute = .float32, featureBytes: Int = 256 << 20) throws {
        let folder = model.map { fixture("models/checkpoints/\($0)") }
        host = try ModelHost(folder, threads: 2, compute: compute, featureBytes: featureBytes)
        dialogue = Dialogue(host)
        dialogue.settings.parameters = Parameters()
        dialogue.settings.parameters.maxTokens = 24
    }

    static func picture(_ name: String) -> Picture { .file(fixture("../../Examples/\(name)")) }

    /// Asks, and notes what happened: `tiles 3`, `prefill 20`, `dropped 0..<1`, `tiled false`.
    @discardableResult
    mutating func ask(_ question: String, _ pictures: [Picture] = []) throws -> Answer {
        var events: [String] = []
        let answer = try dialogue.send(question, pictures) { event in
            switch event {
            case .turnsDropped(let range): events.append("dropped \(range)")
            case .tilingChanged(let isTiled): events.append("tiled \(isTiled)")
            case .tilesEncoded(_, let total): events.append("tiles \(total)")
            default: break
            }
            return true
        }
        self.events = events
        return answer
    }
}

@Suite("A dialogue", .serialized)
struct DialogueTests {
    /// Reuse must not change one bit: also where experts are chosen, and where the cache is bfloat16.
    @Test(
        "encodes no picture again, computes only new tokens, and answers as if everything were new",
        arguments: [nil, "vl2-mha", "vl2-mla-full"],
        [Compute.float32, .auto]
    )
    func reuse(model: String?, compute: Compute) throws {
        var talk = try Talk(model, compute)
        let first = try talk.ask("How many shapes are there?", [Talk.picture("shapes.png")])
        #expect(talk.host.timings.encodedTiles > 0 && !talk.events.isEmpty)
        #expect(first.usage.cachedTokens == 0)
        #expect(talk.host.timings.prefilledTokens == first.usage.promptTokens)
        let before = talk.dialogue.conversation

        let trace = Trace()
        talk.host.run.trace = trace
        let second = try talk.ask("What color is the background?")
        #expect(talk.host.timings.encodedTiles == 0 && talk.events.isEmpty)
        // All of the first prompt is known, but not how the answer is written as history: without its first space.
        #expect(second.usage.cachedTokens >= first.usage.promptTokens)
        #expect(talk.host.timings.prefilledTokens == second.usage.promptTokens - second.usage.cachedTokens)
        #expect(second.usage.imageTokens == first.usage.imageTokens && second.usage.imageTokens > 0)

        var fresh = try Talk(model, compute)
        try fresh.dialogue.replace(with: before)
        let freshTrace = Trace()
        fresh.host.run.trace = freshTrace
        let again = try fresh.ask("What color is the background?")
        #expect(again.usage.cachedTokens == 0 && fresh.host.timings.encodedTiles > 0)
        #expect(again.promptTokens == second.promptTokens)
        #expect(again.tokens == second.tokens && again.text == second.text)
        let logits = try #require(trace.entries["generated_logits"]).values
        #expect(logits == freshTrace.entries["generated_logits"]?.values)
    }

    @Test("a picture is encoded once, in whatever conversation it comes again")
    func features() throws {
        var talk = try Talk()
        let first = try talk.ask("What color is the star?", [Talk.picture("shapes.png")])
        talk.dialogue.clear()
        try talk.ask("How many rings are there?", [Talk.picture("rings.png")])
        #expect(talk.host.timings.encodedTiles > 0)
        talk.dialogue.clear()
        let again = try talk.ask("What color is the star?", [Talk.picture("shapes.png")])
        #expect(talk.host.timings.encodedTiles == 0 && again.tokens == first.tokens)
        #expect(again.usage.cachedTokens < again.usage.imageTokens)

        // Twice in one prompt, too.
        var twice = try Talk()
        let both = try twice.ask(
            "<image><image>Compare.",
            [Talk.picture("rings.png"), Talk.picture("rings.png")]
        )
        let tiles = twice.host.timings.encodedTiles
        #expect(twice.host.features.count == 1 && both.imageSpans.count == 2)
        var none = try Talk(featureBytes: 0)
        let plain = try none.ask(
            "<image><image>Compare.",
            [Talk.picture("rings.png"), Talk.picture("rings.png")]
        )
        #expect(none.host.timings.encodedTiles == 2 * tiles && none.host.features.count == 0)
        #expect(plain.tokens == both.tokens)
    }

    @Test("the third picture ends tiling, which is told and gives what a fresh conversation gives")
    func tiling() throws {
        var talk = try Talk()
        let names = ["shapes.png", "rings.png", "ring-and-cross.png"]
        for name in names.prefix(2) {
            try talk.ask("Describe the image.", [Talk.picture(name)])
            #expect(!talk.events.contains { $0.hasPrefix("tiled") })
        }
        let before = talk.dialogue.conversation
        let third = try talk.ask("Describe the image.", [Talk.picture(names[2])])
        #expect(talk.events.first == "tiled false")
        var fresh = try Talk()
        try fresh.dialogue.replace(with: before)
        #expect(try fresh.ask("Describe the image.", [Talk.picture(names[2])]).tokens == third.tokens)
        talk.dialogue.undo()
        try talk.ask("And now?")
        #expect(talk.events.first == "tiled true")

        var always = try Talk()
        always.dialogue.settings.tiling = .always
        for name in names {
            try always.ask("Describe the image.", [Talk.picture(name)])
            #expect(!always.events.contains { $0.hasPrefix("tiled") })
        }
        #expect(
            always.dialogue.conversation.turns[2].usage.cachedTokens
                > always.dialogue.conversation.turns[1].usage.promptTokens
        )
    }

    @Test("turns that no longer fit are dropped oldest first, which is told and can be taken back")
    func trimming() throws {
        var talk = try Talk()
        for index in 0..<3 {
            try talk.ask("What color is the star?", index == 1 ? [] : [Talk.picture("shapes.png")])
        }
        let costs = try talk.dialogue.tokens()
        #expect(costs.turns.map(\.number) == [0, 1, 2])
        // Room for the last two turns and a question, but not for the first one's picture.
        talk.dialogue.settings.historyTokens = costs.used - costs.turns[0].total / 2
        let answer = try talk.ask("And the cross?")
        #expect(talk.events == ["dropped 0..<1"])
        #expect(talk.dialogue.conversation.forgottenTurns == 1 && talk.dialogue.conversation.turns.count == 4)
        #expect(answer.imageSpans.count == 1)
        #expect(answer.usage.promptTokens <= costs.used - costs.turns[0].total / 2)
        #expect(try talk.dialogue.tokens().turns.map(\.number) == [1, 2, 3])
        try talk.ask("And the circle?")
        #expect(!talk.events.contains("dropped 0..<1"))
        talk.dialogue.undo()
        talk.dialogue.undo()
        #expect(talk.dialogue.conversation.forgottenTurns == 0)
        #expect(
            try talk.dialogue.tokens()
                == {
                    var same = costs
                    same.cached = try talk.dialogue.tokens().cached
                    return same
                }()
        )
    }

    @Test("a question that does not fit alone is refused, and the conversation is what it was")
    func tooLong() throws {
        var talk = try Talk()
        try talk.ask("What color is the star?", [Talk.picture("shapes.png")])
        let long = String(repeating: "one two three four ", count: 600)
        #expect {
            try talk.ask(long, [Talk.picture("rings.png")])
        } throws: { error in
            let text = "\(error)"
            return text.contains("the context is 2048") && text.contains("image 1: ")
        }
        #expect(throws: DeepSeekVLError.self) {
            try talk.ask("<image><image> two?", [Talk.picture("rings.png")])
        }
        #expect(throws: DeepSeekVLError.self) { try talk.ask("What?", [.file("no-such-file.png")]) }
        #expect(talk.dialogue.conversation.turns.count == 1)
        #expect(try talk.ask("And the cross?").usage.cachedTokens > 0)
    }

    @Test("what a conversation costs adds up to its prompts")
    func costs() throws {
        var talk = try Talk()
        talk.dialogue.setSystem("Answer in one word.")
        try talk.ask(
            "Compare <image> with <image>.",
            [Talk.picture("shapes.png"), Talk.picture("rings.png")]
        )
        try talk.ask("What color is the star?")
        let report = try talk.dialogue.tokens()
        let turns = talk.dialogue.conversation.turns
        #expect(report.system > 0 && report.context == 2048)
        #expect(
            report.turns[0].images.map(\.name).map { $0.split(separator: "/").last } == [
                "shapes.png", "rings.png",
            ]
        )
        #expect(report.turns[0].images.reduce(0) { $0 + $1.tokens } == turns[0].usage.imageTokens)
        #expect(report.system + report.turns[0].total + report.turns[1].text == turns[1].usage.promptTokens)
        #expect(report.left == 2048 - report.used && report.cached > 0)
    }

    @Test(
        "a second try draws other numbers; the greedy answer stays the same and costs one token of the prompt"
    )
    func regenerate() throws {
        var talk = try Talk()
        let first = try talk.ask("Describe the image.", [Talk.picture("shapes.png")])
        let second = try talk.dialogue.regenerate()
        #expect(second.tokens == first.tokens)
        #expect(second.usage.cachedTokens == second.usage.promptTokens - 1)
        #expect(talk.dialogue.conversation.turns.count == 1)
        talk.dialogue.settings.parameters.temperature = 5
        let answers = try (0..<4).map { _ in try talk.dialogue.regenerate().tokens }
        #expect(Set(answers).count > 1)
        talk.dialogue.undo()
        #expect(throws: DeepSeekVLError.self) { try talk.dialogue.regenerate() }
    }

    @Test(
        "a chat also ends where the official program would: at the word that begins a user's turn",
        arguments: [("vl-7b-like", ["User:"]), ("llm-linear", ["User:"]), ("vl2-mha", [])]
    )
    func stopTexts(model: String, expected: [String]) throws {
        #expect(try Talk(model).host.loaded.processor.chatStops == expected)
    }

    @Test("a stopped answer stays as far as it came; before its first word the question is taken back")
    func stopping() throws {
        var talk = try Talk()
        let question = "<|grounding|>Describe the image."
        let whole = try talk.ask(question, [Talk.picture("shapes.png")])
        talk.dialogue.clear()
        var pieces = 0
        let part = try talk.dialogue.send(question, [Talk.picture("shapes.png")]) { event in
            if case .text = event { pieces += 1 }
            return pieces < 3
        }
        #expect(part.finishReason == "cancelled" && !part.text.isEmpty && whole.text.hasPrefix(part.text))
        #expect(talk.dialogue.conversation.turns.map(\.answer) == [part.text])
        talk.dialogue.settings.parameters.chunkSize = 4
        let none = try talk.dialogue.send("What color is the star?") { event in
            if case .tokensPrefilled = event { return false }
            return true
        }
        #expect(none.finishReason == "cancelled" && none.text.isEmpty)
        #expect(talk.dialogue.conversation.turns.count == 1)
        // What the stopped answers left in the cache is used, and right.
        let next = try talk.ask("What color is the star?")
        var fresh = try Talk()
        try fresh.dialogue.replace(with: Conversation(turns: [talk.dialogue.conversation.turns[0]]))
        #expect(try fresh.ask("What color is the star?").tokens == next.tokens && next.usage.cachedTokens > 0)
    }

    @Test("a saved conversation is loaded with its pictures and settings, and goes on alike")
    func record() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(
            "vl-\(UUID().uuidString).json"
        ).path
        defer {
            do { try FileManager.default.removeItem(atPath: file) } catch { Issue.record(error) }
        }
        var talk = try Talk()
        talk.dialogue.setSystem("Be short.")
        let bytes = try fixtureBytes("../../Examples/rings.png")
        try talk.ask("Compare <image> with <image>.", [Talk.picture("shapes.png"), .bytes(bytes)])
        talk.dialogue.settings.parameters.seed = .max
        talk.dialogue.settings.parameters.stop = ["User:"]
        talk.dialogue.settings.historyTokens = 1000
        try talk.dialogue.save(file)
        var other = try Talk()
        try other.dialogue.load(file)
        #expect(other.dialogue.settings == talk.dialogue.settings)
        let question = "What color is the star?"
        #expect(try other.ask(question).promptTokens == talk.ask(question).promptTokens)

        // The official form: a bare list, here of a question without an answer.
        let list =
            #"[{"role": "<|User|>", "content": "What is this?"}, {"role": "<|Assistant|>", "content": ""}]"#
        try AtomicFile.write(file, Array(list.utf8))
        try other.dialogue.load(file)
        #expect(other.dialogue.conversation.turns.map(\.question) == ["What is this?"])
        #expect(try !other.dialogue.regenerate().tokens.isEmpty)
        for bad in [
            "{}", "[1]", #"[{"role": "user"}]"#, #"[{"role": "robot", "content": ""}]"#,
            #"[{"role": "user", "content": "<image>"}]"#,
            #"[{"role": "user", "content": "<image>", "images": ["no-such-file.png"]}]"#,
            #"[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]"#,
            #"{"messages": [], "settings": {"temperature": "warm"}}"#,
            #"{"messages": [], "settings": {"top_p": 7}}"#,
        ] {
            try AtomicFile.write(file, Array(bad.utf8))
            #expect(throws: DeepSeekVLError.self, "\(bad)") { try other.dialogue.load(file) }
        }
        #expect(other.dialogue.conversation.turns.count == 1)
    }

    @Test("the library's session streams, remembers and takes back")
    func session() async throws {
        let model = try await DeepSeekModel.load()
        var settings = ChatSettings()
        settings.parameters.temperature = 0
        let session = try await model.chat(settings: settings)
        var text = ""
        for try await event in session.send("Which shape is green?", pictures: [Talk.picture("shapes.png")]) {
            if case .text(let piece) = event { text += piece }
        }
        #expect(text.contains("cross"))
        for try await _ in session.send("How many shapes are there?") {}
        let turns = await session.conversation.turns
        #expect(turns.count == 2 && turns[0].answer == text)
        #expect(turns[1].usage.cachedTokens > turns[1].usage.imageTokens)
        #expect(try await session.tokens().turns.count == 2)
        #expect(await session.undo()?.question == "How many shapes are there?")
        settings.parameters.topP = 0
        await #expect(throws: DeepSeekVLError.self) { try await session.setSettings(settings) }
    }
}

@Suite("What a cached sequence is made of")
struct SequenceContentTests {
    private func prompt(
        _ ids: [Int32],
        _ spans: [(start: Int, count: Int, pixel: Float)] = []
    ) -> SequenceContent {
        let images = spans.map {
            PreparedImage(pixels: [$0.pixel], tiles: 1, size: 1, tilesAcross: 1, tilesDown: 1)
        }
        let places = spans.enumerated().map { ImageSpan(start: $1.start, count: $1.count, image: $0) }
        return SequenceContent(PreparedPrompt(text: "", ids: ids, spans: places, images: images))
    }

    @Test("prompts are alike up to the first other token or the first other picture")
    func common() {
        let one = prompt([1, 9, 9, 2, 3], [(1, 2, 0.5)])
        #expect(one.commonCount(with: one) == 5)
        #expect(one.commonCount(with: prompt([1, 9, 9, 2, 4, 5], [(1, 2, 0.5)])) == 4)
        // The same tokens of another picture, of no picture, and of a longer one.
        #expect(one.commonCount(with: prompt([1, 9, 9, 2, 3], [(1, 2, 0.25)])) == 1)
        #expect(one.commonCount(with: prompt([1, 9, 9, 2, 3])) == 1)
        #expect(one.commonCount(with: prompt([1, 9, 9, 9, 3], [(1, 3, 0.5)])) == 1)
        let two = prompt([1, 9, 9, 2, 9, 9], [(1, 2, 0.5), (4, 2, 0.5)])
        #expect(one.commonCount(with: two) == 4 && two.commonCount(with: one) == 4)
        #expect(SequenceContent().commonCount(with: one) == 0)
    }

    @Test("features leave in the order of their last use when the budget is reached")
    func budget() {
        let cache = ImageFeatureCache(budget: 40)
        let keys = (0..<4).map { index in
            ImageKey(
                PreparedImage(pixels: [Float(index)], tiles: 1, size: 1, tilesAcross: 1, tilesDown: 1)
            )
        }
        for key in keys.prefix(2) { cache.store([1, 2, 3, 4], for: key) }
        #expect(cache.features(keys[0]) != nil)
        cache.store([5, 6, 7, 8], for: keys[2])
        #expect(cache.features(keys[1]) == nil && cache.features(keys[0]) != nil)
        #expect(cache.features(keys[2]) == [5, 6, 7, 8])
        cache.store([Float](repeating: 0, count: 11), for: keys[3])
        #expect(cache.features(keys[3]) == nil && cache.count == 2 && cache.byteCount == 32)
        #expect(cache.hits == 3 && cache.misses == 2)
    }
}
