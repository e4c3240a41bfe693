import ArgumentParser
import DeepSeekVL
import VLEngine
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLText

/// How an importance matrix is written.
enum ImatrixFormat: String, ExpressibleByArgument, CaseIterable {
    case gguf, dat
}

/// Measures how large the activations are that each column of each weight meets.
struct ImatrixCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "imatrix",
        abstract: "Measure which columns of a model's weights matter, for 'quantize --imatrix'.",
        discussion: """
            Examples:

              deepseek-vl imatrix --model model.gguf --file text.txt --outfile imatrix.gguf
              deepseek-vl imatrix --file Examples/shapes-eval.jsonl --outfile imatrix.gguf
              deepseek-vl imatrix --in-file old.dat --outfile imatrix.gguf

            Calibration files may be texts, cut into chunks of --chunk-size tokens as llama-imatrix cuts them; JSON
            lines with a 'text' each; conversations as JSON, with pictures, in one file or a line each; or questions
            with answers as 'eval' reads them. Pictures go the whole way: the vision tower and the projector are
            measured, too. Experts count only the rows that were routed to them; those that no row reached are
            reported. A few hundred chunks of text like that which the model will meet are enough.

            The file is llama.cpp's, which reads it and whose files are read here: GGUF, or --output-format dat for the
            former one. Without --file, the matrices of --in-file are added up and written.
            """
    )

    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("A calibration file; may be given several times.", valueName: "file")
    )
    var file: [String] = []
    @Option(help: ArgumentHelp("The file to write.", valueName: "file"))
    var outfile = "imatrix.gguf"
    @Option(help: "gguf, or dat for the format of older versions of llama.cpp.")
    var outputFormat = ImatrixFormat.gguf
    @Option(
        help: ArgumentHelp("An importance matrix to add; may be given several times.", valueName: "file")
    )
    var inFile: [String] = []
    @Option(help: ArgumentHelp("Folder of the pictures of a question file.", valueName: "folder"))
    var images: String?
    @Option(parsing: .unconditional, help: "Tokens of a chunk of text.")
    var chunkSize = 512
    @Option(parsing: .unconditional, help: "Reads at most so many chunks and conversations.")
    var chunks: Int?
    @Flag(help: "Measures the output head, too.")
    var processOutput = false
    @Flag(help: "Reads special tokens that a text spells as such.")
    var parseSpecial = false

    /// Here and not in `validate`, which runs before unknown options are told.
    private func checkUsage() throws {
        guard !file.isEmpty || !inFile.isEmpty else {
            throw ValidationError("--file: expected a calibration file, found none")
        }
        guard (16...1_048_576).contains(chunkSize) else {
            throw ValidationError(
                "--chunk-size: expected a whole number from 16 to 1048576, found \(chunkSize)"
            )
        }
        if let chunks, chunks < 1 {
            throw ValidationError("--chunks: expected a whole number from 1, found \(chunks)")
        }
    }

    func run() throws {
        try checkUsage()
        // Everything that can be wrong with a file is told before the model is loaded.
        var inputs: [CalibrationInput] = []
        for file in file { inputs.append(try CalibrationInput(file, images: images)) }
        var matrix: ImportanceMatrix?
        for file in inFile {
            let read = try ImportanceMatrix.read(file)
            if matrix == nil { matrix = read } else { try matrix?.add(read, file: file) }
        }
        var collector: ImportanceCollector?
        if !inputs.isEmpty {
            let (found, collected) = try measure(inputs)
            collector = collected
            if let read = matrix {
                var sum = found
                try sum.add(read, file: inFile.joined(separator: ", "))
                matrix = sum
            } else {
                matrix = found
            }
        }
        guard let matrix else { return }
        switch outputFormat {
        case .gguf: try matrix.writeGGUF(outfile)
        case .dat: try matrix.writeLegacy(outfile)
        }
        report(matrix, collector)
    }

    private func measure(
        _ inputs: [CalibrationInput]
    ) throws -> (ImportanceMatrix, ImportanceCollector) {
        let host = try model.host()
        // A file that cannot be written is told now, not after hours.
        do throws(FormatError) {
            _ = try AtomicFile(outfile)
        } catch {
            throw CommandFailure(description: error.description)
        }
        let context = host.loaded.language.maxPositions
        guard chunkSize <= context else {
            throw ValidationError(
                "--chunk-size: expected at most the model's context of \(context), found \(chunkSize)"
            )
        }
        var prompts: [CalibrationPrompt] = []
        for input in inputs {
            prompts += try input.prompts(host, chunkSize: chunkSize, parseSpecial: parseSpecial)
        }
        if let chunks { prompts = Array(prompts.prefix(chunks)) }
        let collector = ImportanceCollector(
            host.loaded.weightNames,
            pool: host.run.pool,
            output: processOutput
        )
        let generator = host.generator
        let progress = TimedProgress("chunks", of: prompts.count)
        for index in prompts.indices {
            progress.show(index)
            _ = try collector.see(try prompts[index].make(host), generator)
        }
        progress.end()
        let names = file.map { $0.split(separator: "/").last.map(String.init) ?? $0 }
        return (try collector.matrix(chunkSize: chunkSize, datasets: names), collector)
    }

    private func report(_ matrix: ImportanceMatrix, _ collector: ImportanceCollector?) {
        let unreached = matrix.unreached
        switch output.format {
        case .text:
            var text = "\(outfile): \(matrix.entries.count) tensors"
            if let collector {
                text += ", \(collector.prompts) chunks and conversations, \(collector.tokens) tokens"
            }
            text += "\n"
            for layer in unreached {
                text +=
                    "layer \(layer.layer): \(layer.experts.count) of \(layer.count) experts were never reached: "
                text += layer.experts.map(String.init).joined(separator: ", ") + "\n"
            }
            Terminal.output(text)
        case .json:
            let report: JSONValue = [
                "file": .string(outfile), "format": .string(outputFormat.rawValue),
                "tensors": .integer(Int64(matrix.entries.count)),
                "prompts": .integer(Int64(collector?.prompts ?? 0)),
                "tokens": .integer(Int64(collector?.tokens ?? 0)),
                "chunk_count": .integer(Int64(matrix.chunkCount)),
                "chunk_size": .integer(Int64(matrix.chunkSize)),
                "datasets": .array(matrix.datasets.map { .string($0) }),
                "unreached": .array(
                    unreached.map { layer in
                        [
                            "layer": .integer(Int64(layer.layer)), "of": .integer(Int64(layer.count)),
                            "experts": .array(layer.experts.map { .integer(Int64($0)) }),
                        ]
                    }
                ),
            ]
            Terminal.output(String(decoding: JSONWriter.encode(report), as: UTF8.self) + "\n")
        }
    }
}
