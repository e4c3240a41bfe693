import ArgumentParser
import DeepSeekVL
import VLTensor

/// How results are printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}

extension Compute: ExpressibleByArgument {}
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

    @Option(help: "Threads that compute; one a physical core if omitted.")
    var threads: Int?

    @Option(
        help: """
            float32: everything is computed in float32, the reference path; auto: the fast path (bfloat16 weights meet
            rounded activations where the processor multiplies those).
            """
    )
    var compute = Compute.auto

    func validate() throws {
        if let threads, !(1...256).contains(threads) {
            throw ValidationError("--threads: expected a whole number from 1 to 256, found \(threads)")
        }
    }
}

/// How results are printed.
struct OutputOptions: ParsableArguments {
    @Option(help: "text: for people; json: one object on standard output and nothing else there.")
    var format = OutputFormat.text
}
