import Foundation
import Testing
import VLFormats
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

@Suite("Converted weights that are kept") struct ConvertedWeightsTests {
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    @Test("answer as weights that are converted while loading, and are made once")
    func sameAnswer() throws {
        let scratch = try ScratchFolder()
        let policy = WeightPolicy(language: .q4_k, vision: .q8_0)
        let file = try ConvertedWeights(of: checkpoint("shapes-vl2"), policy, in: scratch.path)
        #expect(!file.exists)
        var steps: [Int] = []
        try file.write(run) { steps.append($0 * 1000 / $1) }
        #expect(file.exists && steps.last == 1000 && steps.count > 20)
        #expect(try ConvertedWeights(of: checkpoint("shapes-vl2"), policy, in: scratch.path).exists)
        #expect(try scratch.names.count == 1)
        let wanted = try Reply(checkpoint("shapes-vl2"), weights: policy)
        let found = try Reply(file.path)
        #expect(found.tokens == wanted.tokens && found.ids == wanted.ids)
        #expect(relativeError(found.logits, wanted.logits) < 1e-4)
    }

    @Test(
        "of packed checkpoints answer as these do when they are converted while loading",
        arguments: [
            ("llm-linear", PackedFolder.Form(isSymmetric: false)),
            ("vl2-mha", PackedFolder.Form(hasActOrder: true)),
            ("vl2-mha", PackedFolder.Form(layout: "gemm", isSymmetric: false)),
            ("vl2-mla-full", PackedFolder.Form(layout: "gptq_v2", groupSize: -1, isSymmetric: false)),
        ]
    )
    func packed(_ name: String, _ form: PackedFolder.Form) throws {
        let scratch = try ScratchFolder()
        let source = try PackedFolder(name, form, in: scratch).packed
        let cache = try ScratchFolder()
        // Layers that stay packed go as blocks of the same numbers; act-order has none, and says what to give.
        let kept = WeightPolicy(vision: .float16)
        for policy in [WeightPolicy(language: .q8_0), kept]
        where policy == kept ? name != "llm-linear" : true {
            let file = try ConvertedWeights(of: source, policy, in: cache.path)
            if form.hasActOrder, policy == kept {
                let error = #expect(throws: ConvertError.self) { try file.write(run) }
                #expect(error?.description.contains("--weights with a cache") == true)
                #expect(!file.exists)
                continue
            }
            try file.write(run)
            let (found, wanted) = (try Reply(file.path), try Reply(source, weights: policy))
            #expect(found.ids == wanted.ids && found.tokens == wanted.tokens)
            #expect(relativeError(found.logits, wanted.logits) < 1e-4)
        }
    }

    @Test(
        "of GGUF files, in one or in two, answer as these do when they are converted while loading",
        arguments: ["shapes-vl2", "vl2-mha", "vl-7b-like", "llm-linear"]
    )
    func gguf(_ name: String) throws {
        let scratch = try ScratchFolder()
        let cache = try ScratchFolder()
        let sees = name != "llm-linear"
        // Loading pads rows that no block divides, which a file cannot say.
        let tower: DType? = sees ? (name == "vl2-mha" ? .float16 : .q8_0) : nil
        let policy = WeightPolicy(language: .q4_0, vision: tower)
        var form = GGUFForm()
        try GGUFConverter(checkpoint(name), run: run).write(scratch("whole.gguf"))
        var paths = [(scratch("whole.gguf"), String?.none)]
        if sees {
            form.part = .language
            try GGUFConverter(checkpoint(name), form: form, run: run).write(scratch("x.gguf"))
            form.part = .vision
            try GGUFConverter(checkpoint(name), form: form, run: run).write(scratch("y.gguf"))
            paths.append((scratch("x.gguf"), scratch("y.gguf")))
        }
        for (path, vision) in paths {
            let file = try ConvertedWeights(of: path, vision: vision, policy, in: cache.path)
            #expect(!file.exists)
            try file.write(run)
            #expect(try ConvertedWeights(of: path, vision: vision, policy, in: cache.path).exists)
            let wanted = try Reply(path, vision: vision, weights: policy)
            // It has what sees in it, and nothing of its own is left to convert.
            let found = try Reply(file.path)
            #expect(found.ids == wanted.ids && found.tokens == wanted.tokens && found.ids.count > 5)
            #expect(relativeError(found.logits, wanted.logits) < 1e-4)
            let entries = try GGUF.open(file.path).entries
            #expect(entries.contains { $0.dtype == .q4_0 && $0.name.hasPrefix("blk.") })
            #expect(
                entries.contains {
                    $0.name.hasPrefix("vision") && $0.dtype.rawValue.lowercased() == tower?.rawValue
                }
                    == sees
            )
        }
        #expect(try cache.names.count == paths.count)
    }

    @Test("the program keeps and takes them for a model in two files and for a packed one")
    func command() throws {
        let scratch = try ScratchFolder()
        try FileManager.default.createDirectory(atPath: scratch("cache"), withIntermediateDirectories: false)
        var form = GGUFForm()
        form.part = .language
        try GGUFConverter(checkpoint("shapes-vl2"), form: form, run: run).write(scratch("x.gguf"))
        form.part = .vision
        try GGUFConverter(checkpoint("shapes-vl2"), form: form, run: run).write(scratch("y.gguf"))
        let question = [
            "ask", "--model", scratch("x.gguf"), "--mmproj", scratch("y.gguf"), "--weights", "q8_0",
            "--image",
            fixture("../../Examples/shapes.png"), "Where is the green cross?",
        ]
        let plain = try program(question)
        let cached = question + ["--weights-cache", scratch("cache")]
        let first = try program(cached)
        #expect(first.status == 0 && first.errors.contains("converted weights are in"), "\(first.errors)")
        let second = try program(cached)
        #expect(second.status == 0 && !second.errors.contains("converted weights are in"))
        #expect(first.output == plain.output && second.output == plain.output && !plain.output.isEmpty)
        // A file of what sees belongs to no folder.
        let folder = try program([
            "complete", "--model", checkpoint("llm-linear"), "--mmproj", scratch("y.gguf"), "--weights",
            "q8_0",
            "--weights-cache", scratch("cache"), "Hello",
        ])
        #expect(folder.status == 1 && folder.errors.contains("known: a GGUF file"), "\(folder.errors)")
    }

    @Test("are other files for other types and for a checkpoint that was written anew")
    func isBoundToItsSource() throws {
        let scratch = try ScratchFolder()
        let source = try scratch.copy(checkpoint("llm-linear"))
        func path(_ policy: WeightPolicy) throws -> String {
            try ConvertedWeights(of: source, policy, in: scratch.path).path
        }
        let policy = WeightPolicy(language: .q8_0)
        let first = try path(policy)
        #expect(try path(policy) == first)
        #expect(try path(WeightPolicy(language: .q4_0)) != first)
        #expect(try path(WeightPolicy(language: .q8_0, vision: .q8_0)) != first)
        let config = URL(fileURLWithPath: source + "/config.json")
        try (Data(contentsOf: config) + Data(" ".utf8)).write(to: config)
        #expect(try path(policy) != first)
    }

    @Test("are refused for what is no folder, and where no file can be written")
    func refusals() throws {
        let scratch = try ScratchFolder()
        let policy = WeightPolicy(language: .q8_0)
        #expect(throws: ConvertError.self) {
            try ConvertedWeights(of: scratch("none.gguf"), policy, in: scratch.path)
        }
        let nowhere = try ConvertedWeights(of: checkpoint("llm-linear"), policy, in: scratch("none"))
        #expect(throws: ConvertError.self) { try nowhere.write(run) }
        #expect(try scratch.names.isEmpty)
    }
}
