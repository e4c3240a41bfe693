import Testing
import VLEval
import VLJSON

@Suite struct QuestionFileTests {
    /// The members that each question has, but for `id` and `task`.
    private static let rest = #", "images": [], "question": "", "answer": """#

    @Test("the example questions are read with their turns")
    func reads() throws {
        let questions = try exampleQuestions()
        #expect(questions.count == 633)
        #expect(questions.count { $0.isDialogue } == 11)
        let turn = try #require(questions.first { $0.id == "q0003" })
        #expect(turn.images == ["s000.png"])
        #expect(turn.question == "What colour is the background?")
        #expect(turn.answer == "The background is pink.")
        #expect(turn.task == "background")
        #expect(turn.language == "en")
        #expect(turn.history.map(\.1) == ["There is 1 star.", "星形是紫色的。"])
        #expect(turn.record["colour"] == "pink")
    }

    @Test("blank lines are skipped and counted")
    func blankLines() throws {
        let line = #"{"id": "a", "images": [], "question": "", "answer": "", "task": "chat"}"#
        #expect(try QuestionFile.parse([], file: "q").isEmpty)
        #expect(try QuestionFile.parse(Array("\n \r\n\(line)\r\n\n".utf8), file: "q").count == 1)
        let error = #expect(throws: EvalError.self) {
            try QuestionFile.parse(Array("\n\(line)\n\n[]".utf8), file: "q")
        }
        #expect(error?.description == "q: line 4: expected one JSON object on each line, found an array of 0")
        let twice = #expect(throws: EvalError.self) {
            try QuestionFile.parse(Array("\(line)\n\(line)".utf8), file: "q")
        }
        #expect(twice?.description == "q: line 2: expected each id once, found 'a' of line 1 again")
    }

    @Test(
        "a field that is missing or of another kind is named",
        arguments: [
            (#""id": 3"#, "a text as 'id'", "3"),
            (#""id": "a""#, "a text as 'task'", "none"),
            (#""id": "a", "task": "chat", "images": "x""#, "an array of texts as 'images'", #""x""#),
            (#""id": "a", "task": "chat", "images": [1]"#, "an array of texts as 'images'", "1 in it"),
            (#""id": "a", "task": "chat", "images": [], "question": 1"#, "a text as 'question'", "1"),
            (
                #""id": "a", "task": "ground"\#(Self.rest), "boxes": [[1, 2, 3]]"#,
                "an array of boxes [x1, y1, x2, y2] as 'boxes'", "an array of 3 in it"
            ),
            (
                #""id": "a", "task": "grounded_caption"\#(Self.rest), "objects": 1"#,
                "an array of pairs of a text and a box as 'objects'", "1"
            ),
            (
                #""id": "a", "task": "chat"\#(Self.rest), "history": [["a"]]"#,
                "an array of pairs of texts as 'history'", "an array of 1 in it"
            ),
            (
                #""id": "a", "task": "chat"\#(Self.rest), "dialogue": 1"#,
                "true or false as 'dialogue'", "1"
            ),
            (
                #""id": "a", "task": "read"\#(Self.rest), "text": "A", "kind": "x""#,
                #""number" or "word" as 'kind'"#, #""x""#
            ),
        ]
    )
    func wrongFields(_ members: String, _ expected: String, _ found: String) {
        let error = #expect(throws: EvalError.self) { try question("{\(members)}") }
        #expect(error?.file == "q")
        #expect(error?.line == 1)
        #expect(error?.expected == expected)
        #expect(error?.found == found)
    }

    @Test("an unknown task and a line that is no JSON are refused")
    func wrongLines() {
        let task = #expect(throws: EvalError.self) { try question(#"{"id": "a", "task": "fly"}"#) }
        #expect(task?.found == "\"fly\"")
        #expect(task?.expected.contains("which_image") == true)
        for text in ["{", "{}x", "\u{FEFF}{}", "nul", "{\"id\": \"a\", \"id\": \"b\"}"] {
            #expect(throws: EvalError.self) { try question(text) }
        }
    }
}
