import DeepSeekVL
import Testing
import VLEngine
import VLFormats
import VLImage
import VLJSON
import VLModels
import VLTensor
import VLTestSupport

/// A golden case of the official code, as `Tests/Fixtures/models/goldens` holds it.
struct GoldenCase: CustomTestStringConvertible, Sendable {
    let checkpoint: String
    let name: String

    var testDescription: String { "\(checkpoint)/\(name)" }

    static let all = [
        (
            "vl2-mha",
            ["two_images", "landscape", "batch_left_pad", "three_over_turns", "text_chinese", "eos_stop"]
        ),
        ("vl2-mha", ["system_role", "format_cmyk_jpg"]),
        ("vl2-mla-full", ["landscape", "grounding_tokens", "batch_text_and_image", "assistant_prefix"]),
        ("vl-7b-like", ["multi_turn", "text_only"]),
        ("llm-linear", ["chat_multi_turn", "chat_system", "chat_untrimmed", "completion_empty"]),
        ("llm-linear", ["completion_special", "batch_left_pad", "eos_stop", "repetition_penalty"]),
    ].flatMap { checkpoint, names in names.map { GoldenCase(checkpoint: checkpoint, name: $0) } }

    func golden() throws -> JSONValue {
        try JSONValue(parsing: fixtureBytes("models/goldens/\(checkpoint)/\(name).json"))
    }

    func tensors() throws -> WeightStore {
        try WeightStore.open(fixture("models/goldens/\(checkpoint)/\(name).safetensors"))
    }

    /// The conversations of the case, or the texts that it completes.
    func inputs() throws -> [ConversationInput] {
        let given = try #require(golden()["input"])
        if let texts = given["texts"]?.asArray {
            return try texts.map { text in
                let form = ConversationInput.Form.prompt(
                    try #require(text.asString),
                    appliesTemplate: false,
                    system: ""
                )
                return ConversationInput(form: form, pictures: [])
            }
        }
        let list = try #require(given["batch"] ?? given["conversation"] ?? given["messages"])
        return try ConversationFile.parse(
            JSONWriter.encode(list),
            file: name,
            folder: fixture("models/images")
        )
    }

    /// What the case asks of the generation.
    func parameters() throws -> Parameters {
        var parameters = Parameters()
        parameters.maxTokens = 32
        parameters.repetitionPenalty = try penalty()
        return parameters
    }

    /// The repetition penalty; a golden's scores are those after it.
    func penalty() throws -> Double {
        try golden()["input"]?["generate"]?["repetition_penalty"]?.asDouble ?? 1
    }

    /// The prompt's text as the official code prints it, if it prints one, and its ids without padding.
    func prompt(_ row: Int, _ golden: JSONValue) throws -> (text: String?, ids: [Int]) {
        let sample = golden["samples"]?.asArray?[row]
        let text = sample?["sft_format"]?.asString ?? golden["rendered_prompt"]?.asString
        let runs = try #require(
            sample?["input_ids_run_length"]?.asArray ?? golden["input_ids_run_length"]?.asArray?[row].asArray
        )
        let ids = try runs.flatMap { run in
            Array(
                repeating: try #require(run.asArray?[0].asInt),
                count: try #require(run.asArray?[1].asInt)
            )
        }
        guard sample == nil else { return (text, ids) }
        let mask = try ints(tensors(), "attention_mask")
        let length = mask.count / max(1, try inputs().count)
        let padding = mask[row * length..<(row + 1) * length].count { $0 == 0 }
        return (text, Array(ids.dropFirst(padding)))
    }

    /// The checkpoint's folder; the bundled model is one, too.
    private var folder: String {
        checkpoint == "shapes-vl2" ? "../../Models/shapes-vl2" : "models/checkpoints/" + checkpoint
    }

    func host(
        _ compute: Compute = .float32,
        threads: Int = 2,
        weights: DType? = nil,
        vision: DType? = nil
    ) throws -> ModelHost {
        try ModelHost(
            fixture(folder),
            threads: threads,
            compute: compute,
            weights: WeightPolicy(language: weights, vision: vision)
        )
    }
}

/// Reads a float32 or int32 golden tensor.
func floats(_ store: WeightStore, _ name: String) throws -> [Float] {
    try store.tensor(named: name).bytes.bindMemory(to: Float.self).map { $0 }
}

func ints(_ store: WeightStore, _ name: String) throws -> [Int] {
    try store.tensor(named: name).bytes.bindMemory(to: Int32.self).map { Int($0) }
}
