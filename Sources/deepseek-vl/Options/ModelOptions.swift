import ArgumentParser
import DeepSeekVL
import VLModels
import VLQuantize
import VLTensor

/// How results are printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}

extension Compute: ExpressibleByArgument {}
extension DType: ExpressibleByArgument {}
extension Tiling: ExpressibleByArgument {}
extension EXIFOrientation: ExpressibleByArgument {}

/// Which model, and how it computes.
struct ModelOptions: ParsableArguments {
    @Option(
        name: [
            .long, .customLong("model_path"), .customLong("model-path"), .customLong("model_patn"),
            .customLong("model_name"),
        ],
        help: ArgumentHelp(
            "Folder of a Hugging Face checkpoint, or the name of one that 'pull' or huggingface_hub downloaded (vl2-tiny, ORG/NAME[@REVISION]); the bundled model if omitted. The other spellings are those of the official programs.",
            valueName: "folder|name"
        )
    )
    var model: String?

    @Option(help: Self.mmprojHelp)
    var mmproj: String?

    @Option(parsing: .unconditional, help: "Threads that compute; one a physical core if omitted.")
    var threads: Int?

    @Option(
        help: """
            float32: everything is computed in float32, the reference path; auto: the fast path (bfloat16 weights meet
            activations rounded to bfloat16, quantized weights meet activations quantized to 8 bits).
            """
    )
    var compute = Compute.auto

    @Option(
        help: ArgumentHelp(
            "Runs the language model's matrices in this type, converting while loading: \(Self.types).",
            valueName: "type"
        )
    )
    var weights: DType?

    @Option(
        name: .customLong("vision-weights"),
        help: ArgumentHelp("The same for the vision tower and its projector.", valueName: "type")
    )
    var visionWeights: DType?

    @Option(
        name: .customLong("weights-cache"),
        help: ArgumentHelp(
            "Keeps what --weights and --vision-weights convert to in a file of this folder, which must exist: later loads map it. Old files may be deleted at any time.",
            valueName: "folder"
        )
    )
    var weightsCache: String?

    @Option(
        name: .customLong("cache-type"),
        help: ArgumentHelp(
            "Type of the key-value cache: f32, bf16, f16 or q8_0, half as large again. Default: bf16 where the processor multiplies such numbers, else f16.",
            valueName: "type"
        )
    )
    var cacheType: DType?

    /// What `--mmproj` is, wherever it is an option.
    static let mmprojHelp = ArgumentHelp(
        "The GGUF file with the vision tower of a model whose GGUF file has none ('convert --split' writes both); mmproj-NAME.gguf beside NAME.gguf if omitted.",
        valueName: "file"
    )

    private static let types = DType.allCases.map(\.rawValue).joined(separator: ", ")

    /// In which types the matrices run.
    var policy: WeightPolicy { WeightPolicy(language: weights, vision: visionWeights) }

    /// The model, loaded; a bar shows how far that is.
    ///
    /// - Throws: `DeepSeekVLError`, `CommandFailure`.
    func host() throws -> ModelHost {
        defer { Terminal.clearProgress() }
        let (path, vision, policy) = try converted()
        return try ModelHost(
            path,
            vision: vision,
            threads: threads,
            compute: compute,
            weights: policy,
            cacheType: cacheType
        ) {
            Terminal.progress("loading", $0, of: $1)
        }
    }

    /// What is loaded, and how: the converted file of the weights' cache, made if it is not there, or the model itself.
    ///
    /// - Throws: `DeepSeekVLError`, `CommandFailure`.
    func converted() throws -> (path: String?, vision: String?, policy: WeightPolicy) {
        guard let weightsCache else { return (model, mmproj, policy) }
        let source = try ModelHost.folder(model)
        do throws(ConvertError) {
            let name = ModelHost.repositoryName(of: source)
            let file = try ConvertedWeights(of: source, vision: mmproj, policy, in: weightsCache, name: name)
            if !file.exists {
                let progress = TimedProgress("converting", of: 0)
                let run = Run(pool: ThreadPool(threads: threads), compute: .float32)
                try file.write(run) { progress.show($0, of: $1) }
                progress.end()
                Terminal.note("converted weights are in \(file.path)")
            }
            // It holds what sees, too.
            return (file.path, nil, WeightPolicy())
        } catch {
            throw CommandFailure(description: error.description)
        }
    }

    func validate() throws {
        if weightsCache != nil, policy == WeightPolicy() {
            throw ValidationError("--weights-cache: expected --weights or --vision-weights, found neither")
        }
        try WholeNumber.check(threads: threads)
        if let cacheType, cacheType.isBlock && cacheType != .q8_0 {
            throw ValidationError(
                "--cache-type: expected f32, bf16, f16 or q8_0, found \(cacheType.rawValue)"
            )
        }
    }
}

/// How results are printed.
struct OutputOptions: ParsableArguments {
    @Option(help: "text: for people; json: one object on standard output and nothing else there.")
    var format = OutputFormat.text
}
