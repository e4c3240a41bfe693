import ArgumentParser
import DeepSeekVL
import VLEngine
import VLJSON
import VLModels
import VLTensor
import VLText

/// Continues a plain text.
struct CompleteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "complete",
        abstract: "Continue a text as it is: no conversation, no template.",
        discussion: """
            Examples:

              deepseek-vl complete --model deepseek-llm-7b-base --max-tokens 40 'The capital of France is'
              deepseek-vl complete --logprobs 5 --echo --max-tokens 0 --format json --prompt-file text.txt
              git log -1 | deepseek-vl complete -

            The prompt is the model's begin token and the text; special tokens that the text spells are those tokens.
            """
    )

    @OptionGroup var model: ModelOptions
    @OptionGroup var sampling: SamplingArguments
    @OptionGroup var output: OutputOptions

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Reports the log-probability of each token, and the K most probable ones at its place (0 to 100).",
            valueName: "k"
        )
    )
    var logprobs: Int?
    @Flag(help: "Puts the prompt before the answer; with --logprobs, its tokens are reported, too.")
    var echo = false
    @Option(help: ArgumentHelp("Reads the text from a file; '-' is standard input.", valueName: "file"))
    var promptFile: String?
    @Option(help: ArgumentHelp("Writes intermediate tensors.", valueName: "file.safetensors"))
    var dump: String?
    @Argument(help: "The text; '-' is standard input.")
    var prompt: String?

    /// Here and not in `validate`, which runs before unknown options are told.
    private func checkUsage() throws {
        if (prompt == nil) == (promptFile == nil) {
            throw ValidationError(
                "expected a PROMPT or --prompt-file, found \(prompt == nil ? "neither" : "both")"
            )
        }
        if let logprobs, !(0...100).contains(logprobs) {
            throw ValidationError("--logprobs: expected a whole number from 0 to 100, found \(logprobs)")
        }
        if let dump, !dump.hasSuffix(".safetensors") {
            throw ValidationError("--dump: expected a file that ends in .safetensors, found '\(dump)'")
        }
    }

    func run() throws {
        try checkUsage()
        var parameters = try sampling.parameters()
        parameters.bestTokens = logprobs ?? 0
        parameters.scoresPrompt = echo && logprobs != nil
        try parameters.validate()
        let text = try readPrompt()
        let host = try model.host()
        if dump != nil { host.run.trace = Trace() }
        let streams = output.format == .text
        if streams && echo { Terminal.output(text) }
        let input = ConversationInput(form: .prompt(text, appliesTemplate: false, system: ""), pictures: [])
        let answers = try host.answer([input], parameters) { _, event in
            switch event {
            case .tokensPrefilled(let done, let total):
                Terminal.progress("prompt", done, of: total)
                if done == total { Terminal.clearProgress() }
            case .text(let text): if streams { Terminal.output(text) }
            case .tilesEncoded, .finished: break
            }
            return true
        }
        guard let hosted = answers.first else { return }
        if let dump { try TensorDump.write(dump, hosted, host) }
        let report = CompletionReport(
            hosted: hosted,
            host: host,
            prompt: text,
            echo: echo,
            best: logprobs
        )
        switch output.format {
        case .text:
            Terminal.output("\n")
            if logprobs != nil { Terminal.output("\n" + report.table) }
            if hosted.answer.finishReason != "stop" && Terminal.showsProgress {
                Terminal.note("(ended: \(hosted.answer.finishReason))")
            }
        case .json: Terminal.output(report.json + "\n")
        }
    }

    private func readPrompt() throws -> String {
        if prompt == "-" { return try TextInput.read("-") }
        if let prompt { return prompt }
        return try TextInput.read(promptFile ?? "-")
    }
}

/// What `complete` prints besides the text.
struct CompletionReport {
    let hosted: HostedAnswer
    let host: ModelHost
    let prompt: String
    let echo: Bool
    /// How many tokens are listed at each place; nil for no probabilities at all.
    let best: Int?

    /// The scored tokens; nil for the first one of the prompt, which nothing precedes.
    private var scores: [(id: Int32, score: GeneratedToken?)] {
        var list: [(Int32, GeneratedToken?)] = []
        if echo {
            list += hosted.answer.promptTokens.prefix(1).map { (Int32($0), nil) }
            list += hosted.promptScores.map { ($0.id, $0) }
        }
        return list + hosted.scores.map { ($0.id, $0) }
    }

    /// A token's text; bytes that are no text alone as `bytes:\xe4\xbd`.
    private func text(_ id: Int32) -> String {
        let bytes = host.loaded.tokenizer.bytes(of: id)
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        return "bytes:"
            + bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// One line a token: its log-probability, its text, and the most probable ones.
    var table: String {
        var lines = ""
        for (id, score) in scores {
            let value = score.map { Self.fixed($0.logProbability) } ?? "        -"
            var line = value + "  " + Self.quoted(text(id))
            if let best = score?.best, !best.isEmpty {
                line += "  |"
                for item in best {
                    line += " \(Self.quoted(text(item.id))) \(Self.fixed(item.logProbability, width: 0))"
                }
            }
            lines += line + "\n"
        }
        return lines
    }

    private static func quoted(_ text: String) -> String {
        String(decoding: JSONWriter.encode(.string(text)), as: UTF8.self)
    }

    /// A number with four digits behind the point.
    private static func fixed(_ value: Float, width: Int = 9) -> String {
        guard value.isFinite else { return String(repeating: " ", count: max(0, width - 4)) + "-inf" }
        let scaled = Int((Double(abs(value)) * 10_000).rounded())
        let digits = String(scaled % 10_000)
        let text =
            (value < 0 && scaled > 0 ? "-" : "") + "\(scaled / 10_000)."
            + String(repeating: "0", count: 4 - digits.count) + digits
        return String(repeating: " ", count: max(0, width - text.count)) + text
    }

    var json: String {
        let answer = hosted.answer
        let timings = host.timings
        func ints(_ values: [Int]) -> JSONValue { .array(values.map { .integer(Int64($0)) }) }
        func rate(_ count: Int, _ seconds: Double) -> JSONValue {
            .number(seconds > 0 ? Double(count) / seconds : 0)
        }
        return String(
            decoding: JSONWriter.encode([
                "model": .string(host.loaded.name),
                "architecture": .string(host.loaded.architecture),
                "prompt_tokens": ints(answer.promptTokens),
                "tokens": ints(answer.tokens),
                "text": .string((echo ? prompt : "") + answer.text),
                "finish_reason": .string(answer.finishReason),
                "logprobs": best == nil ? .null : probabilities,
                "usage": [
                    "prompt_tokens": .integer(Int64(answer.usage.promptTokens)),
                    "cached_tokens": .integer(Int64(answer.usage.cachedTokens)),
                    "completion_tokens": .integer(Int64(answer.usage.completionTokens)),
                ],
                "timings": [
                    "load_s": .number(host.loadSeconds),
                    "prefill_s": .number(timings.prefill),
                    "decode_s": .number(timings.decode),
                    "prefill_tokens_per_s": rate(timings.prefilledTokens, timings.prefill),
                    "decode_tokens_per_s": rate(timings.decodedTokens, timings.decode),
                    "guessed_tokens": .integer(Int64(timings.guessedTokens)),
                    "accepted_tokens": .integer(Int64(timings.acceptedTokens)),
                ],
                "peak_memory_bytes": .integer(Int64(Memory.peakBytes)),
            ]),
            as: UTF8.self
        )
    }

    /// The lists of OpenAI's completions, and the ids beside the texts, which tokens may share.
    private var probabilities: JSONValue {
        var tokens: [JSONValue] = []
        var ids: [JSONValue] = []
        var values: [JSONValue] = []
        var tops: [JSONValue] = []
        var topIDs: [JSONValue] = []
        for (id, score) in scores {
            tokens.append(.string(text(id)))
            ids.append(.integer(Int64(id)))
            values.append(score.map { number($0.logProbability) } ?? .null)
            var object = JSONObject()
            // Of tokens with the same text the most probable one counts.
            for item in score?.best ?? [] where object[text(item.id)] == nil {
                object[text(item.id)] = number(item.logProbability)
            }
            tops.append(score == nil ? .null : .object(object))
            topIDs.append(
                score.map { score in .array(score.best.map { .integer(Int64($0.id)) }) } ?? .null
            )
        }
        return [
            "tokens": .array(tokens), "token_ids": .array(ids), "token_logprobs": .array(values),
            "top_logprobs": .array(tops), "top_token_ids": .array(topIDs),
        ]
    }

    /// A log-probability; JSON knows no infinity, so that what cannot happen gets the lowest number.
    private func number(_ value: Float) -> JSONValue {
        .number(Double(value.isFinite ? value : -Float.greatestFiniteMagnitude))
    }
}
