import DeepSeekVL
import Foundation
import Testing
import VLEngine
import VLModels
import VLTensor
import VLTestSupport
import VLText

/// A folder for the files of one test, gone with it.
final class ScratchFolder {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("vl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The path of a name in the folder.
    func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

    /// Names in the folder, hidden ones too.
    var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    }

    /// A copy of a checkpoint of the fixtures, to be changed.
    func copy(_ checkpoint: String) throws -> String {
        try FileManager.default.copyItem(atPath: checkpoint, toPath: self("copy"))
        return self("copy")
    }
}

/// The folder of the bundled model, or of a checkpoint of the fixtures.
func checkpoint(_ name: String) -> String {
    fixture(name == "shapes-vl2" ? "../../Models/shapes-vl2" : "models/checkpoints/" + name)
}

/// What a model makes of a question, about a picture if it sees: greedy.
struct Reply {
    let ids: [Int]
    let tokens: [Int]
    let logits: [Float]

    init(_ path: String, weights: WeightPolicy = WeightPolicy()) throws {
        let host = try ModelHost(path, threads: 2, compute: .float32, weights: weights)
        let trace = Trace()
        host.run.trace = trace
        let processor = host.loaded.processor
        var text = "Where is the green cross?"
        if let tag = processor.imageTag { text = "\(tag)\n\(text)" }
        let pictures =
            processor.imageTag == nil ? [] : [try PictureSource.read(fixture("../../Examples/shapes.png"))]
        let messages = [
            Message(role: processor.roles.user, content: text, imageCount: pictures.count),
            Message(role: processor.roles.assistant, content: ""),
        ]
        var parameters = Parameters()
        parameters.maxTokens = 24
        let input = ConversationInput(form: .messages(messages), pictures: pictures)
        let answer = try #require(host.answer([input], parameters).first).answer
        ids = answer.promptTokens
        tokens = answer.tokens
        logits = try #require(trace.entries["logits"]).values
    }
}

/// What the program, which is built beside the tests, prints.
func program(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
    let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    let process = Process()
    process.executableURL = tests.appendingPathComponent("deepseek-vl")
    process.arguments = arguments
    let (output, errors) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    // Neither fills a pipe: results are short, and there is no progress bar without a terminal.
    let printed = output.fileHandleForReading.readDataToEndOfFile()
    let told = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (
        process.terminationStatus, String(decoding: printed, as: UTF8.self),
        String(decoding: told, as: UTF8.self)
    )
}

/// The largest difference, relative to the largest expected value.
func relativeError(_ found: [Float], _ expected: [Float]) -> Float {
    let largest = expected.map(\.magnitude).max() ?? 0
    guard found.count == expected.count, largest > 0 else { return .infinity }
    return zip(found, expected).map { ($0 - $1).magnitude }.max().map { $0 / largest } ?? .infinity
}
