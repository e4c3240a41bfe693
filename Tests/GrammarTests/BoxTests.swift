import DeepSeekVL
import Testing
import VLEngine
import VLGrammar
import VLImage
import VLModels
import VLTestSupport
import VLText

/// What is said of boxes once more, slowly and in another way: by reading the whole answer from its beginning.
private struct BoxReader {
    enum Failure: Error {
        /// The answer ends here, and may go on.
        case end
        case illegal
    }

    /// A special token that is no tag of grounding.
    static let control = 300

    private let symbols: [Int]
    private var place = 0

    /// Whether an answer can become legal, and whether it is.
    static func read(_ symbols: [Int]) -> (isViable: Bool, isComplete: Bool) {
        var reader = BoxReader(symbols)
        do {
            try reader.text()
            return (true, true)
        } catch Failure.end {
            return (true, false)
        } catch {
            return (false, false)
        }
    }

    private init(_ symbols: [Int]) { self.symbols = symbols }

    private func has(_ text: String) -> Bool { symbols[place...].starts(with: text.utf8.map { Int($0) }) }

    private mutating func text() throws {
        while place < symbols.count {
            if has("<|/ref|>") || has("<|/det|>") { throw Failure.illegal }
            if has("<|det|>") {
                try list()
            } else if has("<|ref|>") {
                place += 7
                while !has("<|/ref|>") {
                    if place == symbols.count { throw Failure.end }
                    if has("<|ref|>") || has("<|det|>") || has("<|/det|>") || symbols[place] == Self.control {
                        throw Failure.illegal
                    }
                    place += 1
                }
                place += 8
                try list()
            } else {
                place += 1
            }
        }
    }

    private mutating func expect(_ text: String) throws {
        for byte in text.utf8 {
            if place == symbols.count { throw Failure.end }
            guard symbols[place] == Int(byte) else { throw Failure.illegal }
            place += 1
        }
    }

    private mutating func list() throws {
        try expect("<|det|>[")
        repeat {
            try expect("[")
            let left = try number(from: 0)
            try expect(", ")
            let top = try number(from: 0)
            try expect(", ")
            _ = try number(from: left)
            try expect(", ")
            _ = try number(from: top)
            try expect("]")
            if place < symbols.count, symbols[place] == Int(UInt8(ascii: "]")) { break }
            try expect(", ")
        } while true
        try expect("]<|/det|>")
    }

    private mutating func number(from least: Int) throws -> Int {
        var digits = ""
        while place < symbols.count, let byte = UInt8(exactly: symbols[place]), (0x30...0x39).contains(byte) {
            digits.unicodeScalars.append(Unicode.Scalar(byte))
            place += 1
        }
        if place == symbols.count {
            throw (least...999).contains { "\($0)".hasPrefix(digits) } ? Failure.end : Failure.illegal
        }
        guard let value = Int(digits), (least...999).contains(value), "\(value)" == digits else {
            throw Failure.illegal
        }
        return value
    }
}

@Suite("Boxes under a constraint") struct BoxTests {
    private let bundled: Bundled
    private let constraint: TokenConstraint

    init() throws {
        bundled = try Bundled()
        constraint = .boxes(bundled.lexicon)
    }

    private func id(_ text: String) throws -> Int32 { try #require(bundled.tokenizer.tokenID(of: text)) }

    /// A token as the slow reader sees it.
    private func symbols(_ id: Int32) -> [Int] {
        let bytes = bundled.tokenizer.bytes(of: id).map { Int($0) }
        let isTag = ["<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>"].contains(bundled.text([id]))
        return bundled.tokenizer.isSpecial(id) && !isTag ? [BoxReader.control] : bytes
    }

    private func permitted(_ ids: [Int32], maxTokens: Int = 1000) -> (any ConstraintState)? {
        let state = constraint.begin(maxTokens: maxTokens)
        for id in ids {
            guard state.permits(id) else { return nil }
            state.accept(id)
        }
        return state
    }

    private func encode(_ text: String) throws -> [Int32] { try bundled.tokenizer.encode(text) }

    @Test(
        "legal answers pass token by token, whether tags are special tokens or characters",
        arguments: [
            "There is 1 star.", "", "a < b <| c <|re", "[[3, 2], 1]",
            "<|ref|>the red cup<|/ref|><|det|>[[0, 0, 0, 0]]<|/det|>",
            "I see <|ref|>图<|/ref|><|det|>[[7, 80, 7, 999], [999, 999, 999, 999]]<|/det|> and so on",
            "<|det|>[[10, 20, 30, 40]]<|/det|><|ref|><|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>",
        ]
    )
    func passes(text: String) throws {
        #expect(permitted(try encode(text))?.isComplete == true)
        let spelled = try bundled.tokenizer.encode(text, parsesSpecial: false)
        #expect(permitted(spelled)?.isComplete == true)
    }

    @Test(
        "illegal answers are stopped",
        arguments: [
            "<|/ref|>", "<|/det|>", "<|ref|>a<|det|>", "<|ref|>a<|ref|>", "<|ref|>a<|/ref|> ",
            "<|ref|>a<|/ref|>.", "<|det|>[]", "<|det|>[[]", "<|det|>[[1]", "<|det|>[[1, 2, 3]",
            "<|det|>[[1,2", "<|det|>[[01", "<|det|>[[1000", "<|det|>[[-", "<|det|>[[1.5",
            "<|det|>[[500, 2, 49,", "<|det|>[[500, 2, 0", "<|det|>[[5, 900, 7, 89]", "<|det|>[[999, 0, 100",
            "<|det|>[[1, 2, 3, 4, ", "<|det|>[[1, 2, 3, 4]<|/det|>", "<|det|>[[1, 2, 3, 4]]]",
            "<|det|>[[1, 2, 3, 4],[", "<|det|>[[1, 2, 3, 4]] ", "<|ref|>a<|User|>",
            "<|det|>[[1, 2, 3, 4]]<|ref|>",
        ]
    )
    func stops(text: String) throws {
        #expect(permitted(try encode(text)) == nil)
        #expect(
            permitted(try bundled.tokenizer.encode(text, parsesSpecial: false)) == nil
                || text.contains("User")
        )
    }

    @Test("an answer ends only where nothing is open")
    func ends() throws {
        let end = try #require(bundled.host.loaded.endTokens.first)
        for (text, isEnd) in [
            ("a", true), ("<|ref|>", false), ("<|ref|>a<|/ref|>", false), ("<|det|>[[1", false),
        ] {
            #expect(permitted(try encode(text))?.permits(end) == isEnd, "\(text)")
        }
    }

    /// Thousands of masks against every token, each read with all before it by the slow reader.
    @Test("masks hold the tokens behind which the answer can still become legal, and no others")
    func masks() throws {
        let special = try ["<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>"].map(id)
        let count = bundled.lexicon.vocabularySize
        let spellings = (0..<Int32(count)).map(symbols)
        let ends = Set(bundled.lexicon.endTokens)
        var dice = Dice(1)
        var compared = 0
        for round in 0..<60 {
            let state = constraint.begin(maxTokens: 1_000_000)
            var answer: [Int] = []
            for _ in 0..<35 {
                let found = tokens(state.allowedTokens(), count: count)
                let isComplete = BoxReader.read(answer).isComplete
                for id in 0..<Int32(count) {
                    let wanted =
                        ends.contains(id) ? isComplete : BoxReader.read(answer + spellings[Int(id)]).isViable
                    if wanted != found.contains(id) || wanted != state.permits(id) {
                        Issue.record("round \(round): token \(id) behind \(answer)")
                        return
                    }
                }
                compared += 1
                // Tags half of the time, since they are few among many.
                let tags = special.filter(found.contains)
                let likely =
                    tags.isEmpty || Bool.random(using: &dice) ? Array(found.subtracting(ends)).sorted() : tags
                let next = try #require(likely.randomElement(using: &dice))
                #expect(state.permits(next))
                state.accept(next)
                answer += spellings[Int(next)]
            }
        }
        #expect(compared == 2100)
    }

    @Test("whatever is drawn at a high temperature, boxes are legal and closed before the tokens end")
    func sampled() throws {
        let favour = try ["<|ref|>": 20, "<|/ref|>": 20, "<|det|>": 20, ",": 3, "]]": 3].reduce(
            into: [Int32: Float]()
        ) {
            $0[try id($1.key)] = Float($1.value)
        }
        var boxes = 0
        for seed in 0..<200 as Range<UInt64> {
            let limit = [1, 9, 18, 24, 40, 80][Int(seed % 6)]
            let answer = randomAnswer(
                constraint,
                bundled.lexicon,
                maxTokens: limit,
                seed: seed,
                favour: favour
            )
            #expect(answer.finish != .constraint)
            let bytes = answer.ids.flatMap { Array(bundled.tokenizer.bytes(of: $0)) }
            let parser = GroundingParser(bytes)
            #expect(parser.problems.isEmpty)
            #expect(BoxReader.read(answer.ids.flatMap(symbols)).isComplete, "\(bundled.text(answer.ids))")
            boxes += parser.boxes.count
        }
        #expect(boxes > 100)
    }

    // MARK: With the model

    private func answer(_ question: String, _ change: (inout Parameters) -> Void) throws -> Answer {
        let picture = try PictureSource.read(fixture("../../Examples/shapes.png"))
        let input = ConversationInput(form: .question(question, system: nil), pictures: [picture])
        var parameters = Parameters()
        parameters.maxTokens = 120
        change(&parameters)
        return try #require(try bundled.host.answer([input], parameters).first).answer
    }

    @Test(
        "an answer that the constraint does not change is the free one, token for token",
        arguments: [0, 0.4, 1],
        ["<image>\n<|grounding|>Describe the image.", "Which shape is green?"]
    )
    func unchanged(temperature: Double, question: String) throws {
        var answers: [Answer] = []
        for form in [AnswerForm.free, .legalBoxes] {
            answers.append(
                try answer(question) {
                    $0.temperature = temperature
                    $0.seed = 5
                    $0.form = form
                }
            )
        }
        #expect(answers[0].groundingProblems.isEmpty)
        #expect(answers[0].tokens == answers[1].tokens)
        #expect(answers[0].grounding == answers[1].grounding)
    }

    @Test("the model's boxes are legal at any temperature and length, with guessed tokens, too")
    func hot() throws {
        var changed = 0
        var boxes = 0
        for seed in 0..<24 as Range<UInt64> {
            func ask(_ form: AnswerForm, lookup: Int) throws -> Answer {
                try answer("<image>\n<|grounding|>Describe the image.") {
                    $0.temperature = 2.5
                    $0.seed = seed
                    $0.maxTokens = 20 + Int(seed) * 4
                    $0.form = form
                    $0.promptLookup = lookup
                }
            }
            let free = try ask(.free, lookup: 0)
            let constrained = try ask(.legalBoxes, lookup: 0)
            #expect(constrained.groundingProblems.isEmpty)
            #expect(try ask(.legalBoxes, lookup: 8).tokens == constrained.tokens)
            boxes += constrained.grounding.count
            if !free.groundingProblems.isEmpty { changed += 1 }
        }
        // Else the constraint had nothing to do.
        #expect(changed > 4)
        #expect(boxes > 4)
    }
}
