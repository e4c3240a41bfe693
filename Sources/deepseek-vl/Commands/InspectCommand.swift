import ArgumentParser
import DeepSeekVL
import VLModels

/// Says what a checkpoint holds.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Say what a checkpoint holds: model, parameters, tensors, tokenizer, what images cost.",
        discussion: """
            Examples:

              deepseek-vl inspect vl2-tiny
              deepseek-vl inspect --metadata --tensors SmolLM2-135M-Instruct.Q4_1.gguf
              deepseek-vl inspect language.gguf --mmproj mmproj.gguf

            Reads headers and configurations only, so that the size does not matter. A file that is damaged, or does
            not fit the others, is one error.
            """
    )

    @Argument(
        help: ArgumentHelp(
            "A folder, a .safetensors file, its index, a .gguf file, or a name; the bundled model if omitted.",
            valueName: "model"
        )
    )
    var path: String?
    @Option(
        name: [.long, .customLong("model_path")],
        help: ArgumentHelp("The same as the argument.", valueName: "model")
    )
    var model: String?
    @Option(help: ModelOptions.mmprojHelp)
    var mmproj: String?
    @Flag(help: "Lists all tensors. JSON always does.")
    var tensors = false
    @Flag(help: "Lists the metadata of a GGUF file, long arrays abbreviated.")
    var metadata = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if path != nil && model != nil {
            throw ValidationError("expected MODEL or --model, found both")
        }
    }

    func run() throws {
        let path = try ModelHost.folder(path ?? model)
        let inspection: Inspection
        do throws(LoadError) {
            inspection = try Inspection(path, vision: mmproj)
        } catch {
            throw CommandFailure(description: error.description)
        }
        let report = InspectReport(inspection, listsTensors: tensors, listsMetadata: metadata)
        Terminal.output(output.format == .json ? report.json : report.text)
    }
}
