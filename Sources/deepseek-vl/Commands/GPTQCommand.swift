import ArgumentParser
import DeepSeekVL
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor

/// Quantizes a model to 4 bits with what a calibration says of its inputs.
struct GPTQCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gptq",
        abstract: "Quantize a model to 4 bits by GPTQ: rounding errors are made good for by later columns.",
        discussion: """
            Examples:

              deepseek-vl gptq vl2-tiny vl2-tiny-gptq --calibration text.txt --calibration questions.jsonl
              deepseek-vl gptq model-f16.gguf model-q4.gguf --calibration text.txt
              deepseek-vl quantize model-q4.gguf small.gguf q4_0

            A folder becomes a folder in the layout of AutoGPTQ and GPTQModel; a GGUF file becomes one with the layers in
            Q4_0 (--asymmetric: Q4_1) that any program reads which reads those types, as fast as ever. Embeddings, output
            head, norms, gates and what sees pictures stay as they are; the third line makes a GGUF file's embeddings and
            head smaller, too, and leaves the layers alone.

            Calibration files are those of 'imatrix': texts, conversations with pictures, questions with answers. A
            hundred chunks of text like that which the model will meet are enough. Layers are quantized in their order,
            each with what the quantized layers before it give; experts each with the rows that were routed to them.
            """
    )

    @Argument(
        help: ArgumentHelp("A checkpoint's folder, its name, or a GGUF file.", valueName: "model")
    )
    var input: String
    @Argument(help: ArgumentHelp("The folder or, of a GGUF file, the file to write.", valueName: "out"))
    var result: String
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("A calibration file; may be given several times.", valueName: "file")
    )
    var calibration: [String] = []
    @Option(help: ArgumentHelp("Folder of the pictures of a question file.", valueName: "folder"))
    var images: String?
    @Option(help: ModelOptions.mmprojHelp)
    var mmproj: String?
    @Option(parsing: .unconditional, help: "Tokens of a chunk of text.")
    var chunkSize = 512
    @Option(parsing: .unconditional, help: "Takes at most so many chunks and conversations.")
    var chunks = 128
    @Option(
        parsing: .unconditional,
        help:
            "Columns that share a scale; 128 if omitted, or 32 for GGUF files, which gain nothing by larger ones."
    )
    var groupSize: Int?
    @Flag(
        help:
            "Groups columns by how large their activations are (desc_act): for folders; slower to run in most programs."
    )
    var actOrder = false
    @Flag(help: "Rounds columns from the first to the last, in place of those with large activations first.")
    var naturalOrder = false
    @Flag(help: "Gives each group a zero of its own.")
    var asymmetric = false
    @Option(parsing: .unconditional, help: "Added to the Hessian's diagonal, as a share of its mean.")
    var damp = 0.01
    @Option(parsing: .unconditional, help: "A matrix that fewer rows reached is rounded to the nearest.")
    var leastRows = 128
    @Flag(help: "Rounds everything to the nearest, without calibration: for comparisons.")
    var nearest = false
    @Flag(help: "Replaces a GGUF file that exists.")
    var force = false
    @Option(help: "float32, or auto for the fast path, which rounds activations while it calibrates.")
    var compute = Compute.float32
    @Option(parsing: .unconditional, help: "Threads that compute; one a physical core if omitted.")
    var threads: Int?
    @OptionGroup var output: OutputOptions

    /// Here and not in `validate`, which runs before unknown options are told.
    private func options(isGGUF: Bool) throws -> GPTQOptions {
        func refuse(_ name: String, _ expected: String, _ found: String) -> ValidationError {
            ValidationError("--\(name): expected \(expected), found \(found)")
        }
        try WholeNumber.check(threads: threads)
        guard nearest != !calibration.isEmpty else {
            throw refuse("calibration", "a file, or --nearest", nearest ? "both" : "neither")
        }
        try WholeNumber.check("chunk-size", chunkSize, 16...1_048_576)
        guard chunks >= 1 else { throw refuse("chunks", "a whole number from 1", "\(chunks)") }
        let unit = isGGUF ? 32 : 8
        let size = groupSize ?? (isGGUF ? 32 : 128)
        guard (unit...4096).contains(size), size % unit == 0 else {
            throw refuse("group-size", "a multiple of \(unit) up to 4096", "\(size)")
        }
        guard (0...10).contains(damp) else { throw refuse("damp", "a number from 0 to 10", "\(damp)") }
        guard leastRows >= 1 else { throw refuse("least-rows", "a whole number from 1", "\(leastRows)") }
        guard !actOrder || !naturalOrder else { throw refuse("act-order", "one order", "--natural-order") }
        guard !actOrder || !isGGUF else {
            throw refuse("act-order", "a folder to write: blocks of GGUF files are neighbours", "a GGUF file")
        }
        var options = GPTQOptions()
        options.groupSize = size
        options.order = actOrder ? .activationGroups : naturalOrder ? .natural : .activation
        options.isSymmetric = !asymmetric
        options.damping = damp
        options.leastRows = leastRows
        options.roundsToNearest = nearest
        return options
    }

    func run() throws {
        let path = try ModelHost.folder(input)
        let isGGUF: Bool
        do throws(LoadError) {
            isGGUF = try GGUFModel(at: path) != nil
        } catch {
            throw CommandFailure(description: error.description)
        }
        let options = try options(isGGUF: isGGUF)
        // Everything that can be wrong with a file is told before the model is loaded.
        var inputs: [CalibrationInput] = []
        for file in calibration { inputs.append(try CalibrationInput(file, images: images)) }
        do throws(ConvertError) {
            try GPTQuantizer.check(path)
            if isGGUF, !force, FileContents.exists(result) { throw .exists(file: result) }
        } catch {
            throw CommandFailure(description: error.description)
        }
        if !isGGUF {
            // A folder that cannot be written is told now, not after hours.
            do throws(FormatError) { _ = try AtomicFolder(result) } catch {
                throw CommandFailure(description: error.description)
            }
        }
        defer { Terminal.clearProgress() }
        let host = try ModelHost(path, vision: mmproj, threads: threads, compute: compute) {
            Terminal.progress("loading", $0, of: $1)
        }
        do {
            let quantizer = try GPTQuantizer(path, host.loaded, blocks: isGGUF, options, run: host.run)
            try calibrate(quantizer, host, inputs)
            if !nearest {
                Terminal.note(
                    "\(quantizer.calibrationPrompts) prompts, \(quantizer.calibrationRows) rows: "
                        + "\(Self.megabytes(quantizer.calibrationBytes)) of hidden states, at most "
                        + "\(Self.megabytes(try quantizer.hessianBytes())) of Hessians"
                )
            }
            var progress: TimedProgress?
            let show = { (done: Int, total: Int) in
                if progress == nil {
                    if quantizer.resumedLayers > 0 {
                        Terminal.note(
                            "\(quantizer.resumedLayers) of \(quantizer.layerCount) layers are there already"
                        )
                    }
                    progress = TimedProgress("layers", of: total)
                }
                progress?.show(done)
            }
            if isGGUF {
                try quantizer.writeGGUF(result, replaces: force, onStep: show)
            } else {
                try quantizer.writeFolder(result, onStep: show)
            }
            progress?.end()
            report(quantizer)
        } catch let error as ConvertError {
            throw CommandFailure(description: error.description)
        }
    }

    private func calibrate(_ quantizer: GPTQuantizer, _ host: ModelHost, _ inputs: [CalibrationInput]) throws
    {
        let context = host.loaded.language.maxPositions
        guard inputs.isEmpty || chunkSize <= context else {
            throw ValidationError(
                "--chunk-size: expected at most the model's context of \(context), found \(chunkSize)"
            )
        }
        var prompts: [CalibrationPrompt] = []
        for input in inputs { prompts += try input.prompts(host, chunkSize: chunkSize, parseSpecial: false) }
        prompts = Array(prompts.prefix(chunks))
        let progress = TimedProgress("prompts", of: prompts.count)
        for index in prompts.indices {
            progress.show(index)
            try quantizer.calibrate(with: try prompts[index].make(host))
        }
        progress.end()
    }

    private static func megabytes(_ bytes: Int) -> String { "\((Double(bytes) / 1e5).rounded() / 10) MB" }

    private func report(_ quantizer: GPTQuantizer) {
        let report = GPTQReport(quantizer, file: result)
        Terminal.output(output.format == .json ? report.json : report.text)
    }
}

/// What became of a model's matrices.
private struct GPTQReport {
    private let quantizer: GPTQuantizer
    private let file: String

    init(_ quantizer: GPTQuantizer, file: String) {
        self.quantizer = quantizer
        self.file = file
    }

    private static func rounded(_ value: Double) -> String {
        let scaled = (value * 1e4).rounded() / 1e4
        return "\(scaled)"
    }

    var text: String {
        var text = ""
        var nearest: [String] = []
        for step in quantizer.steps {
            switch step.way {
            case .kept(let reason): text += "\(step.name): stays as it is: \(reason)\n"
            case .nearest where !quantizer.options.roundsToNearest:
                nearest.append("\(step.name): rounded to the nearest: \(step.rows) rows reached it\n")
            default: break
            }
        }
        // Of hundreds of experts, the first tell enough; JSON has them all.
        text += nearest.prefix(20).joined()
        if nearest.count > 20 { text += "… and \(nearest.count - 20) more\n" }
        let short = quantizer.steps.filter { $0.shortGroup != nil }
        if let first = short.first, let columns = first.shortGroup {
            text +=
                "\(short.count) matrices have a last group of fewer columns than "
                + "\(quantizer.options.groupSize): \(first.name) of \(columns)\n"
        }
        let damped = quantizer.steps.filter { ($0.damping ?? 0) > quantizer.options.damping }
        for step in damped { text += "\(step.name): damped by \(Self.rounded(step.damping ?? 0))\n" }
        let errors = quantizer.steps.compactMap(\.error)
        if !errors.isEmpty {
            let count = Double(errors.count)
            let mean = errors.reduce(0) { $0 + $1.feedback } / count
            let plain = errors.reduce(0) { $0 + $1.nearest } / count
            text +=
                "mean squared error of the layers' outputs: \(Self.rounded(100 * mean)) %, rounded to the nearest "
                + "\(Self.rounded(100 * plain)) %\n"
        }
        let quantized = quantizer.steps.filter { if case .kept = $0.way { false } else { true } }
        let megabytes = { (bytes: Int) in "\((Double(bytes) / 1e5).rounded() / 10) MB" }
        text +=
            "\(file): \(megabytes(quantizer.bytes.before)) -> \(megabytes(quantizer.bytes.after)), "
            + "\(quantized.count) matrices in 4 bits\n"
        return text
    }

    var json: String {
        let object: JSONValue = [
            "file": .string(file), "group_size": .integer(Int64(quantizer.options.groupSize)),
            "bytes_before": .integer(Int64(quantizer.bytes.before)),
            "bytes": .integer(Int64(quantizer.bytes.after)),
            "prompts": .integer(Int64(quantizer.calibrationPrompts)),
            "calibration_rows": .integer(Int64(quantizer.calibrationRows)),
            "matrices": .array(quantizer.steps.map(\.json)),
        ]
        return String(decoding: JSONWriter.encode(object), as: UTF8.self) + "\n"
    }
}
