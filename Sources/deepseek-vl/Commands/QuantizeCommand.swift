import ArgumentParser
import DeepSeekVL
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLText

/// Makes a GGUF file smaller.
struct QuantizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quantize",
        abstract: "Write a GGUF file with its matrices in a smaller type.",
        discussion: """
            Examples:

              deepseek-vl convert vl2-tiny --outfile vl2-tiny.gguf
              deepseek-vl quantize vl2-tiny.gguf vl2-tiny-q4.gguf q4_k_m
              deepseek-vl quantize in.gguf out.gguf q4_0 --tensor-type ffn_down_exps=q6_k --imatrix imatrix.gguf
              deepseek-vl quantize in.gguf out.gguf q4_k_m --tensor-type 'blk\\.[0-3]\\.attn_.*=q8_0'

            Types: \(QuantizationTarget.allCases.map(\.rawValue).joined(separator: ", ")); q4_k and q5_k mean q4_k_m and
            q5_k_m; rules and names are llama.cpp's. The output head keeps six bits; norms, biases and gates stay as they are, and so does the vision
            tower unless --vision-type names a type. A matrix whose rows are no whole blocks takes a larger type, which
            is told on standard error. A run that is killed goes on where it was when it is started again. --dry-run lists what would become of each tensor.
            """
    )

    @Argument(help: ArgumentHelp("The file to read.", valueName: "in.gguf"))
    var input: String
    @Argument(help: ArgumentHelp("The file to write.", valueName: "out.gguf"))
    var result: String
    @Argument(help: "What most matrices become.")
    var type: String
    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "A type for tensors in whose names a regular expression has a match, before all rules; may be repeated, the first counts.",
            valueName: "pattern=type"
        )
    )
    var tensorType: [String] = []
    @Option(
        name: [.customLong("output-type"), .customLong("output-tensor-type")],
        help: ArgumentHelp(
            "Type of the output head, or of the embedding where that is the head.",
            valueName: "type"
        )
    )
    var outputType: DType?
    @Option(help: ArgumentHelp("Type of the embedding.", valueName: "type"))
    var tokenEmbeddingType: DType?
    @Option(help: ArgumentHelp("Type of the vision tower's and projector's matrices.", valueName: "type"))
    var visionType: DType?
    @Option(help: ArgumentHelp("An importance matrix, as 'imatrix' writes them.", valueName: "file"))
    var imatrix: String?
    @Flag(help: "Quantizes matrices again that are quantized already, at a loss.")
    var allowRequantize = false
    @Flag(help: "Only lists what each tensor would become.")
    var dryRun = false
    @Flag(help: "Replaces a file that exists.")
    var force = false
    @Option(parsing: .unconditional, help: "Threads that encode; one a physical core if omitted.")
    var threads: Int?
    @OptionGroup var output: OutputOptions

    private func options() throws -> Quantizer.Options {
        var options = Quantizer.Options()
        options.vision = visionType
        options.requantizes = allowRequantize
        for text in tensorType {
            // The last '=': a pattern may have some.
            guard let place = text.lastIndex(of: "="), place != text.startIndex,
                let type = DType(rawValue: text[text.index(after: place)...].lowercased())
            else {
                throw ValidationError(
                    "--tensor-type: expected a regular expression, '=' and a type such as q6_k, found '\(text)'"
                )
            }
            do throws(TokenizerError) {
                options.overrides.append(
                    (try SearchPattern(String(text[..<place]), place: "--tensor-type"), type)
                )
            } catch {
                throw ValidationError(error.description)
            }
        }
        options.output = outputType
        options.embedding = tokenEmbeddingType
        if let imatrix {
            options.importanceFile = imatrix
            do throws(MeasureError) { options.importance = try ImportanceMatrix.read(imatrix) } catch {
                throw CommandFailure(description: error.description)
            }
        }
        return options
    }

    func run() throws {
        guard let target = QuantizationTarget(name: type) else {
            throw ValidationError(
                "type: expected one of \(QuantizationTarget.allCases.map(\.rawValue).joined(separator: ", ")), found '\(type)'"
            )
        }
        try WholeNumber.check(threads: threads)
        let options = try options()
        let run = Run(pool: ThreadPool(threads: threads), compute: .float32)
        do throws(ConvertError) {
            let quantizer = try Quantizer(input, to: target, options, run: run)
            for fallback in quantizer.fallbacks { Terminal.note(fallback.description) }
            if !dryRun {
                let progress = TimedProgress("tensors", of: quantizer.steps.count)
                try quantizer.write(result, replaces: force) { progress.show($0) }
                progress.end()
            }
            report(quantizer)
        } catch {
            Terminal.clearProgress()
            throw CommandFailure(description: error.description)
        }
    }

    private func report(_ quantizer: Quantizer) {
        let before = quantizer.steps.reduce(0) { $0 + $1.tensor.byteCount }
        let after = quantizer.steps.reduce(0) { $0 + $1.byteCount }
        if output.format == .json {
            let tensors = quantizer.steps.map { step -> JSONValue in
                [
                    "name": .string(step.tensor.name),
                    "from": .string(step.tensor.dtype.rawValue.lowercased()),
                    "to": .string(step.typeName), "bytes": .integer(Int64(step.byteCount)),
                ]
            }
            let object: JSONValue = [
                "file": .string(result), "written": .bool(!dryRun), "bytes_before": .integer(Int64(before)),
                "bytes": .integer(Int64(after)), "tensors": .array(tensors),
            ]
            Terminal.output(String(decoding: JSONWriter.encode(object), as: UTF8.self) + "\n")
            return
        }
        if dryRun {
            for step in quantizer.steps {
                let shape = step.tensor.shape.map(String.init).joined(separator: " x ")
                let was = step.tensor.dtype.rawValue.lowercased()
                Terminal.output(
                    "\(step.tensor.name)  \(shape)  \(was) -> \(step.typeName)  \(step.byteCount)\n"
                )
            }
        }
        let megabytes = { (bytes: Int) in "\((Double(bytes) / 1e5).rounded() / 10) MB" }
        Terminal.output(
            "\(result): \(megabytes(before)) -> \(megabytes(after)) in \(quantizer.steps.count) tensors\n"
        )
    }
}
