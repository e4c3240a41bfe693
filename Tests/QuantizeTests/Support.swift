import DeepSeekVL
import Foundation
import Testing
import VLEngine
import VLModels
import VLTensor
import VLTestSupport
import VLText

/// The folder of the bundled model, or of a checkpoint of the fixtures.
func checkpoint(_ name: String) -> String {
    fixture(name == "shapes-vl2" ? "../../Models/shapes-vl2" : "models/checkpoints/" + name)
}

/// What a model makes of a question, about a picture if it sees: greedy.
struct Reply {
    let ids: [Int]
    let tokens: [Int]
    let logits: [Float]

    init(
        _ path: String,
        vision: String? = nil,
        weights: WeightPolicy = WeightPolicy(),
        compute: Compute = .float32,
        threads: Int = 2,
        chunk: Int? = nil
    ) throws {
        let host = try ModelHost(path, vision: vision, threads: threads, compute: compute, weights: weights)
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
        parameters.chunkSize = chunk
        let input = ConversationInput(form: .messages(messages), pictures: pictures)
        let answer = try #require(host.answer([input], parameters).first).answer
        ids = answer.promptTokens
        tokens = answer.tokens
        logits = try #require(trace.entries["logits"]).values
    }
}
