import Testing
import VLEval
import VLJSON

@Suite struct ScorerTests {
    /// The table that came with the reference answers.
    private static let expected: [(name: String, value: Double, count: Int)] = [
        ("Chinese, all tasks (exact or box Acc@0.5)", 0.6444, 90),
        ("background colour", 0.7581, 62),
        ("caption all objects right", 0.2982, 57),
        ("caption one of several images", 0.0, 4),
        ("colour", 1.0, 47),
        ("count", 0.7903, 62),
        ("count in one of several images", 0.0, 5),
        ("dialogue turns (exact or box Acc@0.5)", 0.6364, 11),
        ("grounded caption precision", 0.5848, 53),
        ("grounded caption recall", 0.5884, 53),
        ("grounding Acc@0.5", 0.7723, 101),
        ("grounding Acc@0.5, one target", 0.9062, 64),
        ("grounding Acc@0.75", 0.2574, 101),
        ("grounding absent target refused", 1.0, 25),
        ("grounding mean IoU", 0.5924, 101),
        ("grounding right number of boxes", 0.8272, 81),
        ("leftmost/rightmost/top/bottom", 0.8, 30),
        ("reading absent", 1.0, 5),
        ("reading exact", 0.3333, 60),
        ("reading number", 0.4054, 37),
        ("reading word", 0.2174, 23),
        ("shape", 1.0, 41),
        ("small talk", 1.0, 12),
        ("which image", 0.4615, 13),
        ("yes/no existence", 1.0, 55),
        ("yes/no relation", 0.5238, 21),
    ]

    @Test("the reference answers give the table that came with them")
    func reproducesTable() throws {
        let reference = try exampleReference()
        var scorer = Scorer()
        for question in try exampleQuestions() {
            scorer.add(question, answer: try #require(reference.reference(question.id)).text)
        }
        let table = ScoreTable.json(scorer.scores)
        #expect(table.asObject?.keys == Self.expected.map(\.name))
        for row in Self.expected {
            #expect(table[row.name]?["value"]?.asDouble == row.value, "\(row.name)")
            #expect(table[row.name]?["n"]?.asInt == row.count, "\(row.name)")
        }
    }

    @Test("the right answers are right in each row of exact answers")
    func rightAnswers() throws {
        var scorer = Scorer()
        for question in try exampleQuestions() { scorer.add(question, answer: " \(question.answer)\n") }
        #expect(scorer.scores.map(\.name) == Self.expected.map(\.name))
        let partial: Set = ["grounding Acc@0.75", "grounding mean IoU"]
        for score in scorer.scores {
            #expect(partial.contains(score.name) ? score.value > 0.85 : score.value == 1, "\(score)")
        }
    }

    @Test("no answer and no box give zeros, not a trap")
    func emptyAnswers() throws {
        #expect(Scorer().scores.isEmpty)
        var scorer = Scorer()
        for question in try exampleQuestions() { scorer.add(question, answer: "") }
        #expect(scorer.scores.allSatisfy { $0.value == 0 })
        #expect(scorer.scores.count == Self.expected.count)
    }

    private func ground(_ boxes: String, _ answer: String) throws -> [String: Double] {
        let line = """
            {"id": "a", "images": [], "question": "", "answer": "", "task": "ground", "boxes": \(boxes)}
            """
        var scorer = Scorer()
        scorer.add(try #require(try question(line)), answer: answer)
        return Dictionary(uniqueKeysWithValues: scorer.scores.map { ($0.name, $0.value) })
    }

    @Test(
        "a malformed box is no box",
        arguments: [
            "<|det|>", "<|det|>[[", "<|det|>]]][[<|/det|>", "<|det|>[[1, 2, 3]]<|/det|>",
            "<|det|>[[1, 2, 3, 4, 5]]<|/det|>", "<|det|>[[1, 2, 3, x]]<|/det|>", "<|det|>[[,,,]]<|/det|>",
            "<|det|>[[-1, 2, 3, 4]]<|/det|>", "<|det|>[[1, 2, 3, 1000]]<|/det|>",
            "<|det|>[[99999999999999999999999999, 0, 0, 0]]<|/det|>",
            "[[0, 0, 100, 100]]", "<|/det|>[[0, 0, 100, 100]]", "<|det|><|/det|>[[0, 0, 100, 100]]", "<|de",
            "<",
            "<|ref|><|ref|><|/ref|><|/ref|><|det|>[<|det|>[<|/det|>", "<|det|>[[1.0, 2, 3, 4]]<|/det|>",
        ]
    )
    func malformedBoxes(_ answer: String) throws {
        let scores = try ground("[[0, 0, 100, 100]]", answer)
        #expect(scores["grounding mean IoU"] == 0)
        #expect(scores["grounding right number of boxes"] == 0)
    }

    @Test("each prefix and each mangled byte of an answer is read")
    func mangledAnswers() throws {
        let answer = Array("<|ref|>a<|/ref|><|det|>[[0, 0, 100, 100], [5, 5, 9, 9]]<|/det|> 图".utf8)
        for index in answer.indices {
            _ = try ground("[[0, 0, 100, 100]]", String(decoding: answer[..<index], as: UTF8.self))
            for byte: UInt8 in [0, 0x20, 0x2C, 0x3C, 0x5B, 0x5D, 0x7C, 0xFF] {
                var mangled = answer
                mangled[index] = byte
                _ = try ground("[[0, 0, 100, 100]]", String(decoding: mangled, as: UTF8.self))
            }
        }
    }

    @Test("boxes around a malformed one count, also without a closing tag")
    func keepsOthers() throws {
        let scores = try ground("[[0, 0, 10, 10]]", "<|det|>[[1, 2], [0,0 , 10, 10], [x]")
        #expect(scores["grounding mean IoU"] == 1)
        #expect(scores["grounding right number of boxes"] == 1)
    }

    @Test("a reversed box is a box that overlaps nothing")
    func reversedBox() throws {
        for box in ["[90, 0, 10, 100]", "[0, 90, 100, 10]", "[90, 90, 10, 10]"] {
            let scores = try ground("[[0, 0, 100, 100]]", "<|det|>[\(box)]<|/det|>")
            #expect(scores["grounding mean IoU"] == 0)
            #expect(scores["grounding right number of boxes"] == 1)
        }
    }

    @Test("boxes and targets are paired one to one, greatest overlap first")
    func pairs() throws {
        let twice = try ground(
            "[[0, 0, 100, 100], [0, 0, 100, 100]]",
            "<|det|>[[0, 0, 100, 60], [500, 500, 600, 600]]<|/det|>"
        )
        #expect(twice["grounding Acc@0.5"] == 0.5)
        #expect(twice["grounding mean IoU"] == 0.3)
        let greatest = try ground(
            "[[0, 0, 100, 100], [0, 0, 100, 60]]",
            "<|det|>[[0, 0, 100, 60], [0, 0, 100, 100]]<|/det|>"
        )
        #expect(greatest["grounding mean IoU"] == 1)
    }

    @Test("a target that is absent is refused by words without a box")
    func refusal() throws {
        let row = "grounding absent target refused"
        #expect(try ground("[]", "There is none.")[row] == 1)
        #expect(try ground("[]", " ")[row] == 0)
        #expect(try ground("[]", "<|det|>[[1, 2, 3")[row] == 0)
    }

    @Test("a grounded caption is right by label and box, each object once")
    func groundedCaption() throws {
        let line = """
            {"id": "a", "images": [], "question": "", "answer": "", "task": "grounded_caption",
            "objects": [["a", [0, 0, 10, 10]], ["b", [20, 20, 30, 30]]]}
            """
        var scorer = Scorer()
        let parsed = try #require(try question(line.split(separator: "\n").joined()))
        scorer.add(
            parsed,
            answer: """
                <|ref|>a<|/ref|><|det|>[[0, 0, 10, 10], [0, 0, 10, 10]]<|/det|> \
                <|ref|>c<|/ref|><|det|>[[20, 20, 30, 30]]<|/det|> \
                <|ref|>b<|/ref|><|det|>[[25, 25, 35, 35]]<|/det|>
                """
        )
        #expect(scorer.scores.map(\.value) == [0.25, 0.5])
    }

    @Test("tables are aligned and have four decimals")
    func tables() {
        let scores = [
            Score(name: "a|b", value: 2.0 / 3, count: 3), Score(name: "colour", value: 1, count: 120),
        ]
        #expect(ScoreTable.text(scores) == "a|b     0.6667    3\ncolour  1.0000  120\n")
        #expect(
            ScoreTable.markdown(scores) == """
                | task | value | cases |
                |---|---:|---:|
                | a\\|b | 0.6667 | 3 |
                | colour | 1.0000 | 120 |

                """
        )
        let json = JSONWriter.encode(ScoreTable.json(scores))
        let expected = #"{"a|b":{"value":0.6667,"n":3},"colour":{"value":1.0,"n":120}}"#
        #expect(String(decoding: json, as: UTF8.self) == expected)
        #expect(ScoreTable.text([]).isEmpty)
        #expect(ScoreTable.text([Score(name: "x", value: .nan, count: 0)]) == "x  nan  0\n")
    }
}
