import ArgumentParser
import DeepSeekVL
import VLJSON
import VLModels
import VLQuantize
import VLTensor

/// Converts a checkpoint into one GGUF file.
struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Convert a checkpoint in safetensors into one GGUF file.",
        discussion: """
            Examples:

              deepseek-vl convert vl2-tiny --outfile vl2-tiny.gguf --type bf16
              deepseek-vl convert FOLDER --outfile small.gguf --type q8_0
              deepseek-vl ask --model small.gguf --image picture.jpg 'What is it?'

            The file of a DeepSeek-VL2 or DeepSeek-VL holds everything: language model, vision tower, projector,
            tokenizer and how pictures are prepared. Without --type, all matrices keep the types that they have. With
            a block type, the tower and the projector keep theirs unless --vision-type names another; norms, biases
            and gates are float32 always. llama.cpp loads text models, and of the others the language model that
            --text-only writes: it refuses tensors that it does not know. A matrix whose rows are no whole blocks falls back to a larger type, which
            is told on standard error.
            """
    )

    @OptionGroup var output: OutputOptions
    @Argument(
        help: ArgumentHelp(
            "Folder of the checkpoint, or the name of one that 'pull' or huggingface_hub downloaded.",
            valueName: "folder|name"
        )
    )
    var model: String
    @Option(help: ArgumentHelp("The file to write.", valueName: "file"))
    var outfile: String
    @Option(
        help: ArgumentHelp(
            "Type of the language model's matrices: \(DType.allCases.map(\.rawValue).joined(separator: ", ")).",
            valueName: "type"
        )
    )
    var type: DType?
    @Option(help: ArgumentHelp("The same for the vision tower and its projector.", valueName: "type"))
    var visionType: DType?
    @Option(parsing: .unconditional, help: "Threads that convert; one a physical core if omitted.")
    var threads: Int?
    @Flag(help: "Writes the language model alone, as a file that llama.cpp's programs load.")
    var textOnly = false
    @Flag(help: "Replaces a file that exists.")
    var force = false

    func run() throws {
        if let threads, !(1...256).contains(threads) {
            throw ValidationError("--threads: expected a whole number from 1 to 256, found \(threads)")
        }
        let folder = try ModelHost.folder(model)
        let run = Run(pool: ThreadPool(threads: threads), compute: .float32)
        var form = GGUFForm()
        form.isTextOnly = textOnly
        do throws(ConvertError) {
            let name = ModelHost.repositoryName(of: folder)
            let converter = try GGUFConverter(
                folder,
                type: type,
                vision: visionType,
                name: name,
                form: form,
                run: run
            )
            for fallback in converter.fallbacks { Terminal.note(fallback.description) }
            let progress = TimedProgress("tensors", of: converter.count)
            try converter.write(outfile, replaces: force) { progress.show($0) }
            progress.end()
            report(converter)
        } catch {
            Terminal.clearProgress()
            throw CommandFailure(description: error.description)
        }
    }

    private func report(_ converter: GGUFConverter) {
        switch output.format {
        case .text:
            Terminal.output("\(outfile): \(converter.count) tensors, \(converter.architecture)\n")
        case .json:
            let report: JSONValue = [
                "file": .string(outfile), "architecture": .string(converter.architecture),
                "tensors": .integer(Int64(converter.count)),
                "fallbacks": .array(
                    converter.fallbacks.map {
                        [
                            "tensor": .string($0.tensor), "wanted": .string($0.wanted.rawValue),
                            "type": .string($0.type.rawValue), "reason": .string($0.reason),
                        ]
                    }
                ),
            ]
            Terminal.output(String(decoding: JSONWriter.encode(report), as: UTF8.self) + "\n")
        }
    }
}
