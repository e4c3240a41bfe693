import VLEngine
import VLJSON
import VLModels

/// What requests of all endpoints say of how an answer is chosen.
struct SamplingBody: Sendable {
    var sampling = SamplingOptions()
    var choices = 1
    var stop: [String] = []
    var priority = 0
    var isStreamed = false
    var includesUsage = false
    var includesProgress = false

    /// What all endpoints name alike.
    init(_ fields: Fields, _ desk: PromptDesk) throws(APIError) {
        let settings = desk.settings
        sampling.temperature = Float(
            try fields.double("temperature", 0...2) ?? settings.defaultTemperature
        )
        sampling.topP = Float(try fields.double("top_p", 0...1, isOpen: true) ?? 1)
        sampling.topK = max(0, try fields.int("top_k", -1...10_000_000) ?? 0)
        sampling.minP = Float(try fields.double("min_p", 0...1) ?? 0)
        sampling.repetitionPenalty = Float(
            try fields.double("repetition_penalty", 0...10, isOpen: true) ?? 1
        )
        sampling.presencePenalty = Float(try fields.double("presence_penalty", -2...2) ?? 0)
        sampling.frequencyPenalty = Float(try fields.double("frequency_penalty", -2...2) ?? 0)
        if let seed = try fields.int("seed", Int.min...Int.max) {
            sampling.seed = UInt64(bitPattern: Int64(seed))
        } else {
            sampling.seed = UInt64.random(in: 0...UInt64.max)
        }
        sampling.logitBias = try Self.biases(fields, desk.vocabularySize)
        priority = try fields.int("priority", -100...100) ?? 0
        isStreamed = try fields.bool("stream") ?? false
    }

    /// What OpenAI's chats and completions say besides.
    init(openAI fields: Fields, _ desk: PromptDesk, mostStops: Int) throws(APIError) {
        try self.init(fields, desk)
        choices = try fields.int("n", 1...16) ?? 1
        stop = try fields.strings("stop", most: mostStops)
        if let options = try fields.fields("stream_options") {
            guard isStreamed else {
                throw .field("stream_options", expected: "it only with stream: true", found: "stream: false")
            }
            includesUsage = try options.bool("include_usage") ?? false
            includesProgress = try options.bool("include_progress") ?? false
        }
    }

    private static func biases(_ fields: Fields, _ vocabulary: Int) throws(APIError) -> [Int32: Float] {
        guard let list = try fields.fields("logit_bias") else { return [:] }
        guard list.object.count <= 1024 else {
            throw .field("logit_bias", expected: "at most 1024 tokens", found: "\(list.object.count)")
        }
        var biases: [Int32: Float] = [:]
        for (key, value) in list.object {
            guard let id = Int32(key), id >= 0, Int(id) < vocabulary else {
                throw .field(
                    "logit_bias",
                    expected: "token ids below \(vocabulary)",
                    found: "'\(key.excerpt(limit: 40))'"
                )
            }
            guard let bias = value.asDouble, (-100...100).contains(bias) else {
                throw .field("logit_bias", expected: "numbers from -100 to 100", found: value.summary)
            }
            biases[id] = Float(bias)
        }
        return biases
    }

    /// The options of one answer.
    func generation(_ desk: PromptDesk, maxTokens: Int, choice: Int) -> GenerationOptions {
        var options = GenerationOptions()
        options.maxTokens = maxTokens
        options.sampling = sampling
        options.sampling.seed = sampling.seed &+ UInt64(choice)
        options.endTokens = desk.loaded.endTokens
        options.penalizesPrompt = desk.loaded.processor.penalizesPrompt
        return options
    }
}
