import ArgumentParser
import DeepSeekVL
import VLEval
import VLFormats
import VLJSON
import VLModels
import VLTensor

/// Runs a question file and prints the table of task figures.
struct EvalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Ask the questions of a file and print how good the answers are, task by task.",
        discussion: """
            Examples:

              deepseek-vl eval
              deepseek-vl eval --compute float32 --reference Examples/shapes-eval-reference.jsonl
            """
    )

    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions
    @Option(
        help: ArgumentHelp(
            "Questions as JSON lines; the bundled model's own if omitted.",
            valueName: "file.jsonl"
        )
    )
    var questions: String?
    @Option(
        help: ArgumentHelp(
            "Folder of the pictures; if omitted, the question file's folder, its 'images', or the one of its name.",
            valueName: "folder"
        )
    )
    var images: String?
    @Option(
        help: ArgumentHelp(
            "Answers of the official code to compare with, token by token; a lead below 0.01 is forgiven.",
            valueName: "file.jsonl"
        )
    )
    var reference: String?
    @Option(help: ArgumentHelp("Writes the answers as JSON lines.", valueName: "file.jsonl"))
    var answers: String?
    @Option(help: "Asks the first so many questions only.")
    var limit: Int?
    @OptionGroup var form: FormArguments

    func validate() throws {
        if let limit, limit < 1 {
            throw ValidationError("--limit: expected a whole number from 1, found \(limit)")
        }
    }

    func run() throws {
        let path = try questions ?? bundledQuestions()
        var inputs = QuestionInputs(file: path, images: images)
        var list = try inputs.questions()
        if let limit { list = Array(list.prefix(limit)) }
        var comparison = try reference.map { try ReferenceComparison.parse(try read($0), file: $0) }
        let host = try model.host()
        var scorer = Scorer()
        var lines: [UInt8] = []
        var parameters = Parameters()
        parameters.maxTokens = 256
        parameters.form = try form.form()
        for (index, question) in list.enumerated() {
            Terminal.progress("questions", index, of: list.count)
            let input = try inputs.conversation(question, host.loaded.processor)
            let answer = try host.answer([input], parameters)[0].answer
            scorer.add(question, answer: answer.text)
            _ = comparison?.add(question.id, tokens: answer.tokens)
            let record: JSONValue = [
                "id": .string(question.id), "text": .string(answer.text),
                "ids": .array(answer.tokens.map { .integer(Int64($0)) }),
                "prompt_tokens": .integer(Int64(answer.usage.promptTokens)),
            ]
            lines += JSONWriter.encode(record) + [0x0a]
        }
        Terminal.clearProgress()
        if let answers { try AtomicFile.write(answers, lines) }
        try report(scorer.scores, comparison, count: list.count)
    }

    private func report(_ scores: [Score], _ comparison: ReferenceComparison?, count: Int) throws {
        switch output.format {
        case .text:
            Terminal.output(ScoreTable.text(scores))
            if let comparison {
                Terminal.output(comparison.text)
            }
        case .json:
            var object: JSONObject = ["questions": .integer(Int64(count)), "scores": ScoreTable.json(scores)]
            if let comparison {
                object["reference"] = [
                    "compared": .integer(Int64(comparison.comparedCount)),
                    "same": .integer(Int64(comparison.sameCount)),
                    "differences": .array(
                        comparison.differences.map { ["id": .string($0.id), "lead": .number($0.lead)] }
                    ),
                ]
            }
            Terminal.output(
                String(decoding: JSONWriter.encode(.object(object), .pretty), as: UTF8.self) + "\n"
            )
        }
        if let comparison, !comparison.passes {
            throw CommandFailure(description: "answers differ from the reference")
        }
    }

    private func read(_ path: String) throws -> [UInt8] {
        do throws(FormatError) {
            return try FileContents.read(path, limit: 1 << 30)
        } catch {
            throw CommandFailure(description: error.description)
        }
    }

    /// The question file beside the bundled model.
    private func bundledQuestions() throws -> String {
        let model = try ModelHost.folder()
        return model + "/../../Examples/shapes-eval.jsonl"
    }
}
