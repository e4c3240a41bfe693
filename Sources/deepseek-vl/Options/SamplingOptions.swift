import ArgumentParser
import DeepSeekVL

/// How an answer is generated.
struct SamplingArguments: ParsableArguments {
    @Option(
        name: [.customLong("max-tokens"), .customLong("max-new-tokens"), .customLong("max_gen_len")],
        parsing: .unconditional,
        help: "Longest answer in tokens."
    )
    var maxTokens = 512
    @Option(
        parsing: .unconditional,
        help: "0 is greedy: the most probable token each time. The official programs use 0.1 to 0.4."
    )
    var temperature = 0.0
    @Option(
        name: [.customLong("top-p"), .customLong("top_p")],
        parsing: .unconditional,
        help: "Keeps the most probable tokens that together reach this probability."
    )
    var topP = 1.0
    @Option(
        name: [.customLong("top-k")],
        parsing: .unconditional,
        help: "Keeps so many of the most probable tokens; 0 keeps all."
    )
    var topK = 0
    @Option(
        name: [.customLong("min-p")],
        parsing: .unconditional,
        help: "Drops tokens below this share of the most probable one's probability."
    )
    var minP = 0.0
    @Option(
        name: [.customLong("repetition-penalty"), .customLong("repetition_penalty")],
        parsing: .unconditional,
        help: "Makes tokens that occurred less probable; 1 changes nothing. The official program uses 1.1."
    )
    var repetitionPenalty = 1.0
    @Option(parsing: .unconditional, help: "Seed of the random choices; the same seed gives the same answer.")
    var seed: UInt64 = 0
    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Ends the answer where this text appears; may be repeated.", valueName: "text")
    )
    var stop: [String] = []
    @Option(
        name: [.customLong("chunk-size"), .customLong("chunk_size"), .customLong("chunck_size")],
        parsing: .unconditional,
        help:
            "Prompt tokens computed at a time (incremental prefilling); -1 computes all at once. The answer is the same."
    )
    var chunkSize = -1
    @Option(
        name: [.customLong("prompt-lookup")],
        parsing: .unconditional,
        help: """
            Guesses up to so many tokens at a time from what prompt and answer repeat, and computes them together; 0 is \
            off. The answer is the same, and sooner there if it copies much: text that is read, boxes, code.
            """
    )
    var promptLookup = 0
    @Flag(help: "End an answer that repeats itself without end.")
    var stopLoops = false

    @OptionGroup var form: FormArguments

    /// The library's form of these.
    func parameters() throws -> Parameters {
        var parameters = Parameters()
        parameters.maxTokens = maxTokens
        parameters.temperature = temperature
        parameters.topP = topP
        parameters.topK = topK
        parameters.minP = minP
        parameters.repetitionPenalty = repetitionPenalty
        parameters.seed = seed
        parameters.stop = stop
        guard chunkSize == -1 || chunkSize >= 1 else {
            throw ValidationError(
                "--chunk-size: expected -1 (whole) or a whole number from 1, found \(chunkSize)"
            )
        }
        parameters.chunkSize = chunkSize == -1 ? nil : chunkSize
        parameters.promptLookup = promptLookup
        parameters.stopsAtLoops = stopLoops
        parameters.form = try form.form()
        return parameters
    }
}
