import ArgumentParser
import DeepSeekVL
import VLJSON
import VLModels

/// Measures how well a model predicts a text.
struct PerplexityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "perplexity",
        abstract: "Measure how well a model predicts a text: the mean loss of a token and its exponential.",
        discussion: """
            Example:

              deepseek-vl perplexity --model deepseek-llm-7b-base --file text.txt --context 2048

            The text is cut into windows of --context tokens, each of which begins with the begin token; every token
            of the text is scored once. A text that fits into one window is scored as one. With --stride S a window
            begins S tokens after the one before and scores what that one has not: slower, with more context a token.

            With --halves it is the figure of llama.cpp's llama-perplexity: whole windows side by side, of each of
            which the second half is scored.
            """
    )

    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions
    @Option(help: ArgumentHelp("The text, UTF-8; '-' is standard input.", valueName: "file"))
    var file: String
    @Option(
        parsing: .unconditional,
        help: "Tokens of a window; the model's context if omitted (512 with --halves)."
    )
    var context: Int?
    @Option(
        parsing: .unconditional,
        help: "Tokens from one window to the next; windows lie side by side if omitted."
    )
    var stride: Int?
    @Flag(help: "Counts as llama.cpp's llama-perplexity does.")
    var halves = false

    /// Here and not in `validate`, which runs before unknown options are told.
    private func checkUsage() throws {
        if halves && stride != nil {
            throw ValidationError("--halves: expected windows side by side, found --stride")
        }
    }

    func run() throws {
        try checkUsage()
        let text = try TextInput.read(file)
        let host = try model.host()
        let windows: Perplexity.Windows
        if halves {
            windows = .secondHalves(context: context ?? 512)
        } else {
            let size = context ?? host.loaded.language.maxPositions
            windows = .every(context: size, stride: try stride ?? max(1, size - host.beginTokens.count))
        }
        let found = try host.perplexity(of: text, windows) { done, total in
            Terminal.progress("text", done, of: total)
            return true
        }
        Terminal.clearProgress()
        guard let found else { return }
        switch output.format {
        case .text:
            Terminal.output(
                "tokens \(found.tokens)  mean loss \(found.meanLoss)  perplexity \(found.perplexity)\n"
            )
        case .json:
            let report: JSONValue = [
                "tokens": .integer(Int64(found.tokens)), "nll": .number(found.meanLoss),
                "perplexity": .number(found.perplexity),
            ]
            Terminal.output(String(decoding: JSONWriter.encode(report), as: UTF8.self) + "\n")
        }
    }
}
