import ArgumentParser
import DeepSeekVL

/// How answers of a chat are generated: options without values keep the chat's own.
struct ChatSamplingArguments: ParsableArguments {
    @Option(
        name: [.customLong("max-tokens"), .customLong("max-new-tokens"), .customLong("max_gen_len")],
        parsing: .unconditional,
        help: "Longest answer in tokens. (default: 512)"
    )
    var maxTokens: Int?
    @Option(parsing: .unconditional, help: "0 is greedy: the most probable token each time. (default: 0.2)")
    var temperature: Double?
    @Option(
        name: [.customLong("top-p"), .customLong("top_p")],
        parsing: .unconditional,
        help: "Keeps the most probable tokens that together reach this probability. (default: 0.95)"
    )
    var topP: Double?
    @Option(
        name: [.customLong("top-k")],
        parsing: .unconditional,
        help: "Keeps so many of the most probable tokens; 0 keeps all. (default: 0)"
    )
    var topK: Int?
    @Option(
        name: [.customLong("min-p")],
        parsing: .unconditional,
        help: "Drops tokens below this share of the most probable one's probability. (default: 0)"
    )
    var minP: Double?
    @Option(
        name: [.customLong("repetition-penalty"), .customLong("repetition_penalty")],
        parsing: .unconditional,
        help: "Makes tokens that occurred less probable; 1 changes nothing. (default: 1.1)"
    )
    var repetitionPenalty: Double?
    @Option(parsing: .unconditional, help: "Seed of the random choices; drawn anew for each chat if omitted.")
    var seed: UInt64?
    @Option(
        help: ArgumentHelp("Ends an answer where this text appears; may be repeated.", valueName: "text")
    )
    var stop: [String] = []
    @Option(
        name: [.customLong("chunk-size"), .customLong("chunk_size")],
        parsing: .unconditional,
        help:
            "Prompt tokens computed at a time; Ctrl-C and progress wait for no longer. The answer is the same."
    )
    var chunkSize = 256
    @Option(help: "auto: tiles unless there are three or more pictures, as officially; always; never.")
    var tiling: Tiling?
    @Option(help: "apply: turns photos upright; ignore: takes them as stored. (default: apply)")
    var exif: EXIFOrientation?
    @Option(
        help: "Most tokens of a prompt; older turns are left out beyond. What the model takes if omitted."
    )
    var history: Int?

    /// Changes those settings that were given.
    func apply(to settings: inout ChatSettings) throws {
        if let maxTokens { settings.parameters.maxTokens = maxTokens }
        if let temperature { settings.parameters.temperature = temperature }
        if let topP { settings.parameters.topP = topP }
        if let topK { settings.parameters.topK = topK }
        if let minP { settings.parameters.minP = minP }
        if let repetitionPenalty { settings.parameters.repetitionPenalty = repetitionPenalty }
        if let seed { settings.parameters.seed = seed }
        if !stop.isEmpty { settings.parameters.stop = stop }
        settings.parameters.chunkSize = chunkSize
        if let tiling { settings.tiling = tiling }
        if let exif { settings.exif = exif }
        if let history { settings.historyTokens = history }
        try settings.validate()
    }
}
