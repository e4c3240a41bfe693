import VLJSON

/// What a question asks for, under the name it has in a questions file.
enum QuestionTask: String, CaseIterable, Sendable {
    case background
    case caption
    case chat
    case colour
    case count
    case exists
    case extreme
    case ground
    case groundedCaption = "grounded_caption"
    case multiCaption = "multi_caption"
    case multiCount = "multi_count"
    case read
    case relation
    case shape
    case whichImage = "which_image"
}

/// What the text in a picture is that a question asks to read.
enum Writing: Sendable {
    case number
    case word
    case absent
}

/// One question of a questions file, with the right answer.
package struct Question: Sendable {
    /// The name of the question, once in its file.
    package let id: String
    /// The pictures' file names, in the order of the `<image>` tags.
    package let images: [String]
    /// The text to ask, with an `<image>` for each picture that the history does not have.
    package let question: String
    /// The right answer as the training data spells it.
    package let answer: String
    /// What is asked for, such as `count` or `ground`.
    package let task: String
    /// The language of the question, `en` or `zh`; nil for tasks that do not state one.
    package let language: String?
    /// Whether the question follows others about the same picture.
    package let isDialogue: Bool
    /// The turns before the question: what was asked, and the right answer to that.
    package let history: [(String, String)]
    /// The whole line.
    package let record: JSONValue

    let kind: QuestionTask
    /// The boxes to find: of `ground` without labels, of `grounded_caption` with them.
    let targets: [(label: String?, box: Box)]
    /// Of `read` alone.
    let writing: Writing?
}

/// Reads files of questions, one JSON object a line.
package enum QuestionFile {
    /// The questions in the order of their lines; blank lines are skipped.
    ///
    /// - Parameters:
    ///   - bytes: the file.
    ///   - file: its name for errors.
    /// - Returns: the questions, at most one a line.
    /// - Throws: an error that names the first line that is no question.
    package static func parse(_ bytes: [UInt8], file: String) throws(EvalError) -> [Question] {
        var questions: [Question] = []
        for (id, line) in try JSONLine.parse(bytes, file: file) { questions.append(try question(id, line)) }
        return questions
    }

    private static func question(_ id: String, _ line: JSONLine) throws(EvalError) -> Question {
        let task = try line.string("task")
        guard let kind = QuestionTask(rawValue: task) else {
            let known = QuestionTask.allCases.map(\.rawValue).joined(separator: ", ")
            throw line.error("one of \(known)", at: "task")
        }
        return Question(
            id: id,
            images: try line.array("images", of: "texts", \.asString),
            question: try line.string("question"),
            answer: try line.string("answer"),
            task: task,
            language: try line.optionalString("language"),
            isDialogue: try isDialogue(line),
            history: try history(line),
            record: line.record,
            kind: kind,
            targets: try targets(kind, line),
            writing: kind == .read ? try writing(line) : nil
        )
    }

    private static func isDialogue(_ line: JSONLine) throws(EvalError) -> Bool {
        guard let value = line.record["dialogue"] else { return false }
        guard let isDialogue = value.asBool else { throw line.error("true or false", at: "dialogue") }
        return isDialogue
    }

    private static func history(_ line: JSONLine) throws(EvalError) -> [(String, String)] {
        guard line.record["history"] != nil else { return [] }
        return try line.array("history", of: "pairs of texts") { value in
            guard let turn = value.asArray, turn.count == 2, let question = turn[0].asString,
                let answer = turn[1].asString
            else { return nil }
            return (question, answer)
        }
    }

    private static func targets(
        _ kind: QuestionTask,
        _ line: JSONLine
    ) throws(EvalError) -> [(label: String?, box: Box)] {
        switch kind {
        case .ground: try line.array("boxes", of: "boxes [x1, y1, x2, y2]") { Box($0).map { (nil, $0) } }
        case .groundedCaption:
            try line.array("objects", of: "pairs of a text and a box") { value in
                guard let pair = value.asArray, pair.count == 2, let label = pair[0].asString,
                    let box = Box(pair[1])
                else { return nil }
                return (label, box)
            }
        default: []
        }
    }

    private static func writing(_ line: JSONLine) throws(EvalError) -> Writing {
        if try line.string("text").isEmpty { return .absent }
        switch try line.string("kind") {
        case "number": return .number
        case "word": return .word
        default: throw line.error("\"number\" or \"word\"", at: "kind")
        }
    }
}
