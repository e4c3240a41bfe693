import DeepSeekVL
import Foundation
import Testing
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

/// Models in two files: the language model, and what sees.
@Suite struct SplitTests {
    private let scratch: ScratchFolder
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    init() throws { scratch = try ScratchFolder() }

    private func split(_ name: String, _ path: String, type: DType? = nil) throws {
        var form = GGUFForm()
        form.part = .language
        try GGUFConverter(checkpoint(name), type: type, form: form, run: run).write(path)
        form.part = .vision
        try GGUFConverter(checkpoint(name), type: type, form: form, run: run)
            .write(GGUFConverter.visionPath(beside: path))
    }

    @Test(
        "two files answer about a picture as one does",
        arguments: ["shapes-vl2", "vl2-mha", "vl2-mla-full", "vl-7b-like"]
    )
    func answers(_ name: String) throws {
        try split(name, scratch("model.gguf"))
        try GGUFConverter(checkpoint(name), run: run).write(scratch("whole.gguf"))
        let wanted = try Reply(scratch("whole.gguf"))
        let found = try Reply(scratch("model.gguf"))
        #expect(found.ids == wanted.ids && found.tokens == wanted.tokens && found.ids.count > 5)
        #expect(found.logits == wanted.logits)
        // Together they hold what the one holds, and neither holds what is the other's.
        let (language, vision) = (
            try GGUF.open(scratch("model.gguf")), try GGUF.open(scratch("mmproj-model.gguf"))
        )
        let whole = try GGUF.open(scratch("whole.gguf"))
        #expect(
            Set(language.entries.map(\.name) + vision.entries.map(\.name)) == Set(whole.entries.map(\.name))
        )
        #expect(language.entries.count + vision.entries.count == whole.entries.count)
        #expect(
            vision["general.architecture"]?.asText == "clip" && vision["general.type"]?.asText == "mmproj"
        )
        #expect(vision["clip.vision.block_count"]?.asInt ?? 0 > 0)
        #expect(language["general.type"]?.asText == "model" && language["deepseek-vl.config"] == nil)
        // Both together go back into the checkpoint.
        try CheckpointRestorer(scratch("model.gguf"), run: run).write(scratch("folder"))
        #expect(try Reply(scratch("folder")).logits == Reply(checkpoint(name)).logits)
    }

    @Test("the second file is found by its name, in its folder, or where --mmproj says")
    func finds() throws {
        let (model, other) = (scratch("model.gguf"), scratch("mmproj-model.gguf"))
        try split("shapes-vl2", model)
        let wanted = try Reply(model)
        // A folder with both.
        let folder = scratch("folder")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        try FileManager.default.moveItem(atPath: model, toPath: folder + "/x.gguf")
        try FileManager.default.moveItem(atPath: other, toPath: folder + "/mmproj-y.gguf")
        #expect(try Reply(folder).tokens == wanted.tokens)
        // Apart from each other.
        try FileManager.default.moveItem(atPath: folder + "/mmproj-y.gguf", toPath: scratch("z.gguf"))
        let picture = fixture("../../Examples/shapes.png")
        let question = [
            "ask", "--model", folder + "/x.gguf", "--image", picture, "Where is the green cross?",
        ]
        let told = try program(question + ["--mmproj", scratch("z.gguf"), "--compute", "float32"])
        let whole = try program([
            "ask", "--model", checkpoint("shapes-vl2"), "--image", picture, "Where is the green cross?",
            "--compute", "float32",
        ])
        #expect(told.status == 0 && told.output == whole.output && !told.output.isEmpty)
        #expect(try program(question).status != 0)
        let alone = try program(["ask", "--model", scratch("z.gguf"), "Hello"])
        #expect(alone.status == 1 && alone.errors.contains("--mmproj names this file"))
        // A quantized language model sees with the same file.
        try Quantizer(folder + "/x.gguf", to: .q8_0, run: run).write(scratch("small.gguf"))
        let small = [
            "ask", "--model", scratch("small.gguf"), "--mmproj", scratch("z.gguf"), "--image", picture,
        ]
        #expect(try program(small + ["Where is the green cross?"]).status == 0)
    }

    @Test("verify, inspect and gptq take the second file, too, and refuse one that has no place")
    func otherCommands() throws {
        let (model, vision) = (scratch("x.gguf"), scratch("y.gguf"))
        try split("shapes-vl2", model)
        try FileManager.default.moveItem(atPath: scratch("mmproj-x.gguf"), toPath: vision)
        let questions = [
            "--questions", fixture("../../Examples/shapes-eval.jsonl"), "--limit", "3", "--format", "json",
        ]
        let blind = try program(["verify", model, checkpoint("shapes-vl2")] + questions)
        #expect(blind.status == 1)
        let seeing = try program(
            [
                "verify", model, checkpoint("shapes-vl2"), "--mmproj-a", vision, "--compute-a", "float32",
                "--compute-b", "float32",
            ] + questions
        )
        let report = try JSONValue(parsing: Array(seeing.output.utf8))
        #expect(seeing.status == 0 && report["questions"]?["top1_agreement"]?.asDouble == 1)
        // B omitted is A with A's second file.
        let same = try program(["verify", model, "--mmproj-a", vision, "--weights-b", "q8_0"] + questions)
        #expect(same.status == 0, "\(same.errors)")
        let inspected = try program(["inspect", model, "--mmproj", vision, "--format", "json"])
        let found = try JSONValue(parsing: Array(inspected.output.utf8))
        #expect(found["image_tokens"]?.asArray?.isEmpty == false && found["files"]?.asArray?.count == 2)
        let whole = try Inspection(checkpoint("shapes-vl2"))
        #expect(found["image_tokens"]?.asArray?.count == whole.imageTokens.count)
        for command in ["inspect", "verify"] {
            let option = command == "verify" ? ["--mmproj-a", vision] + questions : ["--mmproj", vision]
            let refused = try program([command, checkpoint("shapes-vl2")] + option)
            #expect(refused.status == 1 && refused.errors.contains("known: a GGUF file"), "\(refused.errors)")
        }
        let calibrated = try program([
            "gptq", model, scratch("small.gguf"), "--mmproj", vision, "-c",
            fixture("../../Examples/shapes-eval.jsonl"), "--chunks", "3",
        ])
        #expect(calibrated.status == 0, "\(calibrated.errors)")
        #expect(try GGUF.open(scratch("small.gguf")).entries.contains { $0.dtype == .q4_0 })
    }

    @Test("files that do not belong together are refused by name")
    func refuses() throws {
        try split("shapes-vl2", scratch("a.gguf"))
        try split("vl2-mha", scratch("b.gguf"))
        func refusal(_ model: String, _ vision: String, _ words: String) {
            let error = #expect(throws: LoadError.self) {
                _ = try Registry.load(scratch(model), vision: scratch(vision), run: run)
            }
            #expect(error?.description.contains(words) == true, "\(String(describing: error))")
        }
        refusal("a.gguf", "mmproj-b.gguf", "expected")
        refusal("b.gguf", "mmproj-a.gguf", "expected")
        refusal("a.gguf", "b.gguf", "'deepseek-vl.config': expected")
        refusal("a.gguf", "none.gguf", "no such file")
        var form = GGUFForm()
        form.part = .vision
        let error = #expect(throws: ConvertError.self) {
            _ = try GGUFConverter(checkpoint("llm-linear"), form: form, run: run)
        }
        #expect(error?.description.contains("a model with eyes") == true)
    }

    @Test("the command writes both files or none")
    func command() throws {
        let arguments = ["convert", checkpoint("shapes-vl2"), "--outfile", scratch("m.gguf"), "--split"]
        let done = try program(arguments + ["--format", "json"])
        let report = try JSONValue(parsing: Array(done.output.utf8))
        #expect(done.status == 0 && report["files"]?.asArray?.count == 2)
        #expect(try scratch.names == ["m.gguf", "mmproj-m.gguf"])
        try FileManager.default.removeItem(atPath: scratch("mmproj-m.gguf"))
        let again = try program(arguments)
        #expect(again.status == 1 && again.errors.contains("--force"))
        #expect(try scratch.names == ["m.gguf"])
        #expect(try program(arguments + ["--text-only"]).status == 2)
        #expect(try program(["convert", "x", "--outfile", "y", "--mmproj", "z"]).status == 2)
        #expect(try program(arguments + ["--mmproj", scratch("m.gguf"), "--force"]).status == 1)
    }
}
