import DeepSeekVL
import Foundation
import Testing
import VLEngine
import VLModels
import VLTensor
import VLTestSupport
import VLText

/// The bundled model, or a checkpoint of the fixtures.
func host(
    _ checkpoint: String,
    threads: Int = 2,
    compute: Compute = .float32,
    weights: DType? = nil
) throws -> ModelHost {
    let folder = checkpoint == "shapes-vl2" ? "../../Models/shapes-vl2" : "models/checkpoints/" + checkpoint
    return try ModelHost(
        fixture(folder),
        threads: threads,
        compute: compute,
        weights: WeightPolicy(language: weights, vision: nil)
    )
}

/// A question about a picture that all test models can be asked.
func question(_ host: ModelHost, _ text: String = "What is it?", answer: String = "") throws -> PreparedPrompt
{
    let processor = host.loaded.processor
    let tag = try #require(processor.imageTag)
    let picture = try PictureSource.read(fixture("../../Examples/square.jpg"))
    let messages = [
        Message(role: processor.roles.user, content: "\(tag)\n\(text)", imageCount: 1),
        Message(role: processor.roles.assistant, content: answer),
    ]
    let input = ConversationInput(form: .messages(messages), pictures: [picture])
    return try host.prepare(input, tiling: .auto, exif: .ignore)
}

/// A prompt of plain ids.
func prompt(_ ids: [Int32]) -> PreparedPrompt { PreparedPrompt(text: "", ids: ids, spans: [], images: []) }

/// The path of a file of `Examples`.
func examples(_ name: String) -> String { fixture("../../Examples/" + name) }
