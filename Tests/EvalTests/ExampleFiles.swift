import Foundation
import VLEval

/// The absolute path of a file in `Examples`.
func examplePath(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Examples").appendingPathComponent(name).path
}

func exampleBytes(_ name: String) throws -> [UInt8] {
    try [UInt8](Data(contentsOf: URL(fileURLWithPath: examplePath(name))))
}

func exampleQuestions() throws -> [Question] {
    try QuestionFile.parse(exampleBytes("shapes-eval.jsonl"), file: "shapes-eval.jsonl")
}

func exampleReference() throws -> ReferenceComparison {
    try ReferenceComparison.parse(exampleBytes("shapes-eval-reference.jsonl"), file: "reference.jsonl")
}

/// The one question of a line.
func question(_ line: String) throws -> Question? {
    try QuestionFile.parse(Array(line.utf8), file: "q").first
}
