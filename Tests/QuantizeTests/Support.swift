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
