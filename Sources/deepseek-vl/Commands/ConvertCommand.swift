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
        abstract:
            "Convert a checkpoint in safetensors into one GGUF file, or a GGUF file back into a checkpoint.",
        discussion: """
            Examples:

              deepseek-vl convert vl2-tiny --outfile vl2-tiny.gguf --type bf16
              deepseek-vl convert FOLDER --outfile small.gguf --type q8_0
              deepseek-vl ask --model small.gguf --image picture.jpg 'What is it?'
              deepseek-vl convert small.gguf --outfolder FOLDER --type bf16
              deepseek-vl convert vl2-tiny --outfile vl2-tiny.gguf --split

            The file of a DeepSeek-VL2 or DeepSeek-VL holds everything: language model, vision tower, projector,
            tokenizer and how pictures are prepared. Without --type, all matrices keep the types that they have. With
            a block type, the tower and the projector keep theirs unless --vision-type names another; norms, biases
            and gates are float32 always. llama.cpp loads text models, and of the others the language model that
            --text-only writes: it refuses tensors that it does not know. A matrix whose rows are no whole blocks falls back to a larger type, which
            is told on standard error.

            --outfolder converts a GGUF file, one of ours or one of llama.cpp's, into a folder with safetensors,
            configurations and tokenizer. Floating-point numbers stay as they are; codes become bfloat16, or what --type
            says (f32, bf16, f16). Files beyond 5 GB are several.
            """
    )

    @OptionGroup var output: OutputOptions
    @Argument(
        help: ArgumentHelp(
            "Folder of the checkpoint, or the name of one that 'pull' or huggingface_hub downloaded; a GGUF file for --outfolder.",
            valueName: "folder|name|file"
        )
    )
    var model: String
    @Option(help: ArgumentHelp("The file to write.", valueName: "file"))
    var outfile: String?
    @Option(
        help: ArgumentHelp(
            "The folder to write, from a GGUF file; nothing may stand there.",
            valueName: "folder"
        )
    )
    var outfolder: String?
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
    @Flag(
        help: """
            Writes the language model alone, as --text-only does, and the vision tower and the projector into a second
            file, mmproj-NAME.gguf beside NAME.gguf or what --mmproj says. Commands find it there.
            """
    )
    var split = false
    @Option(
        help: ArgumentHelp(
            "The second file that --split writes, or that --outfolder reads.",
            valueName: "file"
        )
    )
    var mmproj: String?
    @Flag(help: "Replaces a file that exists.")
    var force = false

    func validate() throws {
        guard (outfile == nil) != (outfolder == nil) else {
            throw ValidationError("expected --outfile FILE.gguf, or --outfolder FOLDER for a GGUF file")
        }
        if outfolder != nil, visionType != nil || textOnly || split || force {
            throw ValidationError("--outfolder goes with --type, --mmproj and --threads only")
        }
        if outfile != nil, mmproj != nil, !split { throw ValidationError("--mmproj goes with --split") }
        if split, textOnly {
            throw ValidationError(
                "--split and --text-only: expected one of them: both write the language model alone"
            )
        }
        try WholeNumber.check(threads: threads)
    }

    func run() throws {
        let folder = try ModelHost.folder(model)
        let run = Run(pool: ThreadPool(threads: threads), compute: .float32)
        if let outfolder { return try restore(folder, outfolder, run) }
        guard let outfile else { return }
        var form = GGUFForm()
        form.isTextOnly = textOnly || split
        do throws(ConvertError) {
            var files = [(path: outfile, converter: try converter(folder, form, run))]
            if split {
                form.part = .vision
                let path = mmproj ?? GGUFConverter.visionPath(beside: outfile)
                guard path != outfile else {
                    throw .source(
                        file: path,
                        expected: "another file than --outfile for --mmproj",
                        found: "the same"
                    )
                }
                files.insert((path, try converter(folder, form, run)), at: 0)
                // Neither is written if the other cannot be.
                for file in files where !force { try file.converter.check(file.path) }
            }
            var reports: [Report] = []
            for (path, converter) in files {
                for fallback in converter.fallbacks { Terminal.note(fallback.description) }
                let progress = TimedProgress("tensors", of: converter.count)
                try converter.write(path, replaces: force) { progress.show($0) }
                progress.end()
                reports.append(Report(path, converter.architecture, converter.count, converter.fallbacks))
            }
            report(reports.reversed())
        } catch {
            Terminal.clearProgress()
            throw CommandFailure(description: error.description)
        }
    }

    private func converter(
        _ folder: String,
        _ form: GGUFForm,
        _ run: Run
    ) throws(ConvertError) -> GGUFConverter {
        try GGUFConverter(
            folder,
            type: type,
            vision: visionType,
            name: ModelHost.repositoryName(of: folder),
            form: form,
            run: run
        )
    }

    private func restore(_ path: String, _ folder: String, _ run: Run) throws {
        do throws(ConvertError) {
            let restorer = try CheckpointRestorer(path, vision: mmproj, type: type, run: run)
            for fallback in restorer.fallbacks { Terminal.note(fallback.description) }
            if restorer.roundedCodes > 0 {
                Terminal.note(
                    "\(restorer.roundedCodes) tensors of codes become bf16; --type f32 keeps their numbers as they are"
                )
            }
            let progress = TimedProgress("tensors", of: restorer.count)
            try restorer.write(folder) { progress.show($0) }
            progress.end()
            report([Report(folder, restorer.modelType, restorer.count, restorer.fallbacks)])
        } catch {
            Terminal.clearProgress()
            throw CommandFailure(description: error.description)
        }
    }

    /// What was written.
    private struct Report {
        let place: String
        let architecture: String
        let count: Int
        let fallbacks: [GGUFConverter.Fallback]

        init(_ place: String, _ architecture: String, _ count: Int, _ fallbacks: [GGUFConverter.Fallback]) {
            (self.place, self.architecture, self.count, self.fallbacks) = (
                place, architecture, count, fallbacks
            )
        }

        func json(_ key: String) -> JSONValue {
            [
                key: .string(place), "architecture": .string(architecture), "tensors": .integer(Int64(count)),
                "fallbacks": .array(
                    fallbacks.map {
                        [
                            "tensor": .string($0.tensor), "wanted": .string($0.wanted.rawValue),
                            "type": .string($0.type.rawValue), "reason": .string($0.reason),
                        ]
                    }
                ),
            ]
        }
    }

    private func report(_ reports: [Report]) {
        switch output.format {
        case .text:
            for report in reports {
                Terminal.output("\(report.place): \(report.count) tensors, \(report.architecture)\n")
            }
        case .json:
            let all = reports.map { $0.json(outfile == nil ? "folder" : "file") }
            let value: JSONValue = all.count == 1 ? all[0] : ["files": .array(all)]
            Terminal.output(String(decoding: JSONWriter.encode(value), as: UTF8.self) + "\n")
        }
    }
}
