import ArgumentParser
import DeepSeekVL
import VLEngine
import VLJSON
import VLModels
import VLTensor
import VLText

/// Answers a question about pictures, or a conversation from a file.
struct AskCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ask",
        abstract: "Ask about pictures; boxes in the answer come out as data and drawn.",
        discussion: """
            Examples:

              deepseek-vl ask --image Examples/shapes.png 'Where is the green cross?'
              deepseek-vl ask --image photo.jpg --draw out.png '<image>\\n<|ref|>the dog<|/ref|>.'
              deepseek-vl ask --image photo.jpg --constrain-boxes '<image>\\n<|grounding|>Describe the image.'
              deepseek-vl ask --image photo.jpg --json-schema invoice.json 'What does the invoice say?'
              deepseek-vl ask --model deepseek-vl2-tiny --conversation turns.json --format json

            A conversation file is the official list of messages:
              [{"role": "<|User|>", "content": "<image>\\nWhat is this?", "images": ["a.png"]},
               {"role": "<|Assistant|>", "content": ""}]
            Paths are relative to the file. A list of such lists is a batch.
            """
    )

    /// How the prompt is made.
    enum PromptMode: String, ExpressibleByArgument, CaseIterable {
        case chat, raw, sft
    }

    @OptionGroup var model: ModelOptions
    @OptionGroup var sampling: SamplingArguments
    @OptionGroup var output: OutputOptions

    @Option(
        help: ArgumentHelp("A picture (JPEG, PNG, WebP, GIF, BMP, TIFF); may be repeated.", valueName: "file")
    )
    var image: [String] = []
    @Option(help: ArgumentHelp("A text put before the conversation.", valueName: "text"))
    var system: String?
    @Option(
        help: ArgumentHelp("A conversation, or a list of conversations, as JSON.", valueName: "file.json")
    )
    var conversation: String?
    @Option(help: "auto: tiles unless there are three or more pictures, as officially; always; never.")
    var tiling = Tiling.auto
    @Option(help: "apply: turns photos upright; ignore: takes them as stored, as the official code does.")
    var exif = EXIFOrientation.apply
    @Option(help: ArgumentHelp("Draws the boxes of the answer: a .png or .svg file.", valueName: "file"))
    var draw: String?
    @Option(
        help: ArgumentHelp("Writes intermediate tensors of the first answer.", valueName: "file.safetensors")
    )
    var dump: String?
    @Option(
        help:
            "chat: the prompt is a user's message; raw: it is the whole prompt; sft: it is put into the template with --system."
    )
    var promptMode = PromptMode.chat
    @Argument(help: "The question. '<image>' marks a picture's place; without it pictures come first.")
    var prompt: String?

    /// Here and not in `validate`, which runs before unknown options are told.
    private func checkUsage() throws {
        if (prompt == nil) == (conversation == nil) {
            throw ValidationError(
                "expected a PROMPT or --conversation, found \(prompt == nil ? "neither" : "both")"
            )
        }
        if conversation != nil && (!image.isEmpty || system != nil || promptMode != .chat) {
            throw ValidationError(
                "--conversation: expected pictures and system text in the file, found --image, --system or --prompt-mode"
            )
        }
        if let draw, !draw.hasSuffix(".png"), !draw.hasSuffix(".svg") {
            throw ValidationError("--draw: expected a file that ends in .png or .svg, found '\(draw)'")
        }
        if let dump, !dump.hasSuffix(".safetensors") {
            throw ValidationError("--dump: expected a file that ends in .safetensors, found '\(dump)'")
        }
    }

    func run() throws {
        try checkUsage()
        let parameters = try sampling.parameters()
        try parameters.validate()
        // Pictures are read before the model, so that a wrong path is told at once.
        let inputs = try readInputs()
        let host = try model.host()
        if dump != nil { host.run.trace = Trace() }
        let streams = output.format == .text && inputs.count == 1
        let answers = try host.answer(inputs, parameters, tiling: tiling, exif: exif) { _, event in
            switch event {
            case .tilesEncoded(let done, let total): Terminal.progress("pictures", done, of: total)
            case .tokensPrefilled(let done, let total):
                Terminal.progress("prompt", done, of: total)
                if done == total { Terminal.clearProgress() }
            case .text(let text): if streams { Terminal.output(text) }
            case .finished: break
            }
            return true
        }
        if streams { Terminal.output("\n") }
        if let dump, let first = answers.first { try TensorDump.write(dump, first, host) }
        if let draw { try Drawing.write(draw, answers, exif) }
        switch output.format {
        case .text: printText(answers, streamed: streams)
        case .json: Terminal.output(AskReport.json(answers, host) + "\n")
        }
    }

    private func readInputs() throws -> [ConversationInput] {
        if let conversation { return try ConversationFile.read(conversation) }
        // In single quotes a shell knows no line break: after a tag, where every prompt has one, \n is read as one.
        // Elsewhere it stays, since a question may be about \nabla.
        let tag = ConversationTemplate.imageTag
        let text = (prompt ?? "").split(separator: tag + "\\n", omittingEmptySubsequences: false)
            .joined(separator: tag + "\n")
        var pictures: [ConversationPicture] = []
        for path in image { pictures.append(try PictureSource.read(path)) }
        switch promptMode {
        case .chat: return [ConversationInput(form: .question(text, system: system), pictures: pictures)]
        case .raw, .sft:
            let form = ConversationInput.Form.prompt(
                text,
                appliesTemplate: promptMode == .sft,
                system: system ?? ""
            )
            return [ConversationInput(form: form, pictures: pictures)]
        }
    }

    private func printText(_ answers: [HostedAnswer], streamed: Bool) {
        for (index, answer) in answers.enumerated() {
            if !streamed { Terminal.output("[\(index + 1)] \(answer.answer.text)\n") }
            for problem in answer.answer.groundingProblems {
                Terminal.note("deepseek-vl: answer \(index + 1): \(problem)")
            }
            if answer.answer.finishReason != "stop" && Terminal.showsProgress {
                Terminal.note("(ended: \(answer.answer.finishReason))")
            }
        }
    }
}

/// The JSON report of `ask`.
enum AskReport {
    static func json(_ answers: [HostedAnswer], _ host: ModelHost) -> String {
        let results = answers.map { hosted -> JSONValue in
            let answer = hosted.answer
            return [
                "prompt": .string(answer.prompt),
                "prompt_tokens": ints(answer.promptTokens),
                "image_mask": .array(answer.imageSpans.map(ints)),
                "tokens": ints(answer.tokens),
                "text": .string(answer.text),
                "finish_reason": .string(answer.finishReason),
                "grounding": .array(
                    answer.grounding.map { object -> JSONValue in
                        [
                            "label": .string(object.label), "image": .integer(Int64(object.image)),
                            "box": ints(object.box),
                            "pixels": ints(object.pixels), "stored_pixels": ints(object.storedPixels),
                            "confidence": .number(object.confidence),
                        ]
                    }
                ),
                "grounding_problems": .array(answer.groundingProblems.map { .string($0) }),
                "usage": [
                    "prompt_tokens": .integer(Int64(answer.usage.promptTokens)),
                    "image_tokens": .integer(Int64(answer.usage.imageTokens)),
                    "cached_tokens": .integer(Int64(answer.usage.cachedTokens)),
                    "completion_tokens": .integer(Int64(answer.usage.completionTokens)),
                ],
            ]
        }
        let timings = host.timings
        func rate(_ count: Int, _ seconds: Double) -> JSONValue {
            .number(seconds > 0 ? Double(count) / seconds : 0)
        }
        let report: JSONValue = [
            "model": .string(host.loaded.name),
            "architecture": .string(host.loaded.architecture),
            "results": .array(results),
            "timings": [
                "load_s": .number(host.loadSeconds), "vision_s": .number(timings.vision),
                "prefill_s": .number(timings.prefill),
                "decode_s": .number(timings.decode),
                "prefill_tokens_per_s": rate(timings.prefilledTokens, timings.prefill),
                "decode_tokens_per_s": rate(timings.decodedTokens, timings.decode),
                "guessed_tokens": .integer(Int64(timings.guessedTokens)),
                "accepted_tokens": .integer(Int64(timings.acceptedTokens)),
            ],
            "peak_memory_bytes": .integer(Int64(Memory.peakBytes)),
        ]
        return String(decoding: JSONWriter.encode(report), as: UTF8.self)
    }

    private static func ints(_ values: [Int]) -> JSONValue { .array(values.map { .integer(Int64($0)) }) }
}
