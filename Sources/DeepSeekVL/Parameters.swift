import VLEngine

/// How an answer is generated.
///
/// The defaults give the model's most probable answer, the same every time.
public struct Parameters: Sendable, Equatable {
    /// Longest answer in tokens.
    public var maxTokens = 512
    /// 0 is greedy: the most probable token each time; penalties still apply.
    public var temperature = 0.0
    /// Keeps the most probable tokens that together reach this probability; 1 keeps all.
    public var topP = 1.0
    /// Keeps so many of the most probable tokens; 0 keeps all.
    public var topK = 0
    /// Drops tokens below this share of the most probable one's probability; 0 keeps all.
    public var minP = 0.0
    /// Divides positive and multiplies negative scores of tokens that occurred, prompt included; 1 changes nothing.
    public var repetitionPenalty = 1.0
    /// Seed of the random choices; the same seed gives the same answer on every machine.
    public var seed: UInt64 = 0
    /// Texts that end the answer; they are not part of it.
    public var stop: [String] = []
    /// Prompt tokens computed at a time; nil computes the whole prompt at once.
    ///
    /// The answer is the same.
    public var chunkSize: Int?
    /// Most tokens that are guessed at a time from what prompt and answer repeat, and computed together; 0 guesses none.
    ///
    /// The answer is the same.
    public var promptLookup = 0
    /// Ends an answer that repeats itself without end.
    public var stopsAtLoops = false
    /// What the answer has to be.
    public var form = AnswerForm.free
    /// How many of the most probable tokens are reported at each place.
    package var bestTokens = 0
    /// Whether the tokens of the prompt are scored, too.
    package var scoresPrompt = false

    /// The defaults.
    public init() {}

    /// The engine's form of these, without what a model adds.
    package var options: GenerationOptions {
        var options = GenerationOptions()
        options.maxTokens = maxTokens
        options.chunkSize = chunkSize
        options.promptLookup = promptLookup
        options.stopsAtLoops = stopsAtLoops
        options.bestTokens = bestTokens
        options.scoredFrom = scoresPrompt ? 0 : nil
        options.sampling.temperature = Float(temperature)
        options.sampling.topK = topK
        options.sampling.topP = Float(topP)
        options.sampling.minP = Float(minP)
        options.sampling.repetitionPenalty = Float(repetitionPenalty)
        options.sampling.seed = seed
        return options
    }

    /// Checks all ranges.
    ///
    /// - Throws: `DeepSeekVLError.parameter`.
    package func validate() throws(DeepSeekVLError) {
        func check(_ name: String, _ holds: Bool, _ expected: String, _ found: Any) throws(DeepSeekVLError) {
            if !holds { throw .parameter(name: name, expected: expected, found: "\(found)") }
        }
        try check(
            "max-tokens",
            (0...1_000_000).contains(maxTokens),
            "a whole number from 0 to 1000000",
            maxTokens
        )
        try check(
            "temperature",
            temperature.isFinite && (0...100).contains(temperature),
            "a number from 0 to 100",
            temperature
        )
        try check("top-p", topP.isFinite && topP > 0 && topP <= 1, "a number above 0 and at most 1", topP)
        try check("top-k", (0...10_000_000).contains(topK), "a whole number from 0 (all) to 10000000", topK)
        try check("min-p", minP.isFinite && (0...1).contains(minP), "a number from 0 to 1", minP)
        try check(
            "repetition-penalty",
            repetitionPenalty.isFinite && repetitionPenalty > 0 && repetitionPenalty <= 100,
            "a number above 0 and at most 100",
            repetitionPenalty
        )
        try check(
            "prompt-lookup",
            (0...64).contains(promptLookup),
            "a whole number from 0 (off) to 64",
            promptLookup
        )
        try check("stop", stop.allSatisfy { !$0.isEmpty }, "texts of at least one character", "an empty one")
        try check("stop", stop.count <= 64, "at most 64 texts", stop.count)
        if let chunkSize {
            try check("chunk-size", chunkSize >= 1, "-1 (whole) or a whole number from 1", chunkSize)
        }
    }
}

/// When a picture is cut into tiles besides the view of the whole.
public enum Tiling: String, Sendable, CaseIterable {
    /// As the official code: pictures are tiled unless the conversation has three or more.
    case auto
    /// Always, so that a later picture never changes what earlier ones cost.
    case always
    /// Never: each picture is seen as a whole only.
    case never
}

/// What is done with a photo's orientation tag.
public enum EXIFOrientation: String, Sendable, CaseIterable {
    /// The picture is turned upright, as viewers show it.
    case apply
    /// The picture is taken as it is stored, as the official code does.
    case ignore
}
