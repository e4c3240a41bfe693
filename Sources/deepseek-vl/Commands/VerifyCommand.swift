import ArgumentParser
import DeepSeekVL
import VLEngine
import VLEval
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLText

/// Measures what a conversion or a quantization did to a model.
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract:
            "Compare two models: hidden states, logits, perplexity, and what the difference costs in answers.",
        discussion: """
            Examples:

              deepseek-vl verify model-f16.gguf model-q4_k.gguf --file text.txt --draw difference.svg
              deepseek-vl verify Models/shapes-vl2 --weights-b q4_0 --questions Examples/shapes-eval.jsonl

            A and B are folders, GGUF files or names, A being the measure; without B the same model is loaded twice, for
            --weights-b and the like. Of models in two files, --mmproj-a and --mmproj-b name the second. On a text, every
            token's prediction is compared. On a question file, the tokens of the right answers are, and both models
            answer: what boxes, counts and readings lose is their cost.

            Differences of hidden states are |A - B| / |A|, row by row, and the cosine of the angle between them.
            """
    )

    @OptionGroup var output: OutputOptions
    @Argument(help: ArgumentHelp("The model that is the measure.", valueName: "A"))
    var first: String
    @Argument(help: ArgumentHelp("The model to compare; A itself if omitted.", valueName: "B"))
    var second: String?
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("A text, UTF-8; '-' is standard input.", valueName: "file")
    )
    var file: String?
    @Option(
        help: ArgumentHelp(
            "Questions with answers as JSON lines, as 'eval' reads them.",
            valueName: "file.jsonl"
        )
    )
    var questions: String?
    @Option(help: ArgumentHelp("Folder of the pictures of the question file.", valueName: "folder"))
    var images: String?
    @Option(help: "Asks the first so many questions only.")
    var limit: Int?
    @Flag(help: "Compares the predictions of the right answers only; the models do not answer themselves.")
    var noAnswers = false
    @Option(parsing: .unconditional, help: "Tokens of a window of the text.")
    var context = 512
    @Option(parsing: .unconditional, help: "Reads at most so many tokens of the text.")
    var tokens: Int?
    @Option(help: ArgumentHelp("Draws the comparison.", valueName: "file.svg"))
    var draw: String?
    @Option(
        name: .customLong("mmproj-a"),
        help: ArgumentHelp("The file with A's vision tower, as --mmproj elsewhere.", valueName: "file")
    )
    var mmprojA: String?
    @Option(
        name: .customLong("mmproj-b"),
        help: ArgumentHelp("The same of B; A's if B is omitted.", valueName: "file")
    )
    var mmprojB: String?
    @Option(
        name: .customLong("weights-a"),
        help: ArgumentHelp("Type of A's matrices, as --weights elsewhere.", valueName: "type")
    )
    var weightsA: DType?
    @Option(name: .customLong("weights-b"), help: ArgumentHelp("Type of B's matrices.", valueName: "type"))
    var weightsB: DType?
    @Option(
        name: .customLong("vision-weights-a"),
        help: ArgumentHelp("Type of A's vision tower.", valueName: "type")
    )
    var visionA: DType?
    @Option(
        name: .customLong("vision-weights-b"),
        help: ArgumentHelp("Type of B's vision tower.", valueName: "type")
    )
    var visionB: DType?
    @Option(name: .customLong("compute-a"), help: "float32 or auto: how A computes.")
    var computeA = Compute.auto
    @Option(name: .customLong("compute-b"), help: "float32 or auto: how B computes.")
    var computeB = Compute.auto
    @Option(
        name: .customLong("cache-type-a"),
        help: ArgumentHelp("Type of A's key-value cache, as --cache-type elsewhere.", valueName: "type")
    )
    var cacheTypeA: DType?
    @Option(
        name: .customLong("cache-type-b"),
        help: ArgumentHelp("Type of B's key-value cache.", valueName: "type")
    )
    var cacheTypeB: DType?
    @Option(parsing: .unconditional, help: "Threads that compute; one a physical core if omitted.")
    var threads: Int?

    /// Here and not in `validate`, which runs before unknown options are told.
    private func checkUsage() throws {
        guard file != nil || questions != nil else {
            throw ValidationError(
                "--file or --questions: expected what to compare the models on, found neither"
            )
        }
        if let draw, !draw.hasSuffix(".svg") {
            throw ValidationError("--draw: expected a name that ends in .svg, found '\(draw)'")
        }
        try WholeNumber.check(threads: threads)
        for (name, type) in [("cache-type-a", cacheTypeA), ("cache-type-b", cacheTypeB)] {
            if let type, type.isBlock && type != .q8_0 {
                throw ValidationError("--\(name): expected f32, bf16, f16 or q8_0, found \(type.rawValue)")
            }
        }
        for (name, value) in [("limit", limit), ("tokens", tokens)] {
            if let value, value < 1 {
                throw ValidationError("--\(name): expected a whole number from 1, found \(value)")
            }
        }
    }

    /// A loaded side of the comparison.
    struct Side {
        let host: ModelHost
        let model: ComparisonReport.Model
        var compared: ComparedModel {
            ComparedModel(name: model.name, loaded: host.loaded, generator: host.generator)
        }
    }

    func run() throws {
        try checkUsage()
        let text = try file.map { try TextInput.read($0) }
        let inputs = questions.map { QuestionInputs(file: $0, images: images) }
        var list = try inputs?.questions() ?? []
        if let limit { list = Array(list.prefix(limit)) }
        let a = try load(
            first,
            mmprojA,
            "A",
            computeA,
            WeightPolicy(language: weightsA, vision: visionA),
            cacheTypeA
        )
        let b = try load(
            second ?? first,
            mmprojB ?? (second == nil ? mmprojA : nil),
            "B",
            computeB,
            WeightPolicy(language: weightsB, vision: visionB),
            cacheTypeB
        )
        var report = ComparisonReport(a: a.model, b: b.model)
        if let text { report.text = try compare(text, a, b) }
        if let inputs {
            report.questions = try compare(list, inputs, a, b)
            if !noAnswers { report.scores = try answers(list, inputs, a, b) }
        }
        if let draw {
            do throws(FormatError) {
                try AtomicFile.write(draw, ComparisonFigure(report).svg)
            } catch {
                throw CommandFailure(description: error.description)
            }
        }
        switch output.format {
        case .text: Terminal.output(report.table)
        case .json:
            Terminal.output(String(decoding: JSONWriter.encode(report.json, .pretty), as: UTF8.self) + "\n")
        }
    }

    private func load(
        _ path: String,
        _ vision: String?,
        _ letter: String,
        _ compute: Compute,
        _ policy: WeightPolicy,
        _ cache: DType?
    ) throws -> Side {
        let host = try ModelHost(
            path,
            vision: vision,
            threads: threads,
            compute: compute,
            weights: policy,
            cacheType: cache
        ) { done, total in
            Terminal.progress("loading \(letter)", done, of: total)
        }
        Terminal.clearProgress()
        var weights = policy.language?.rawValue ?? "as stored"
        if let vision = policy.vision { weights += ", vision \(vision.rawValue)" }
        if let cache { weights += ", cache \(cache.rawValue)" }
        if compute == .float32 { weights += ", computed in float32" }
        return Side(
            host: host,
            model: ComparisonReport.Model(name: host.name, weights: weights, bytes: host.loaded.weightBytes)
        )
    }
}
