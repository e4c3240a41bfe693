import DeepSeekVL
import Foundation
import Testing
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

/// The way back: from a GGUF file to a folder with safetensors.
@Suite struct RestoreTests {
    private let scratch: ScratchFolder
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    init() throws { scratch = try ScratchFolder() }

    private func bytes(_ path: String) throws -> Data {
        try #require(FileManager.default.contents(atPath: path), "\(path)")
    }

    /// Expects the same tensors, bit by bit, save those that the model does not read.
    private func expectSame(_ found: String, _ wanted: String) throws {
        let isUnused: (String) -> Bool
        if let folder = try? ModelFolder(wanted) {
            isUnused = try Registry.family(folder.modelType).isUnused
        } else {
            isUnused = { _ in false }
        }
        let left = try WeightStore.open(found)
        let right = try WeightStore.open(wanted)
        #expect(left.count > 10)
        for tensor in right.all {
            guard let other = left.peek(tensor.name) else {
                #expect(isUnused(tensor.name), "\(tensor.name) is missing")
                continue
            }
            #expect(other.dtype == tensor.dtype && other.shape == tensor.shape, "\(tensor.name)")
            #expect(other.bytes.elementsEqual(tensor.bytes), "\(tensor.name)")
        }
        #expect(left.names.allSatisfy { right.peek($0) != nil })
    }

    @Test(
        "a checkpoint comes back bit by bit, with its files, and makes the same GGUF file again",
        arguments: ["shapes-vl2", "vl2-mha", "vl2-mla-full", "vl-7b-like", "llm-linear"]
    )
    func roundTrip(_ name: String) throws {
        let source = checkpoint(name)
        let (gguf, folder) = (scratch("\(name).gguf"), scratch(name))
        try GGUFConverter(source, run: run).write(gguf)
        var told = 0
        let restorer = try CheckpointRestorer(gguf, run: run)
        #expect(restorer.fallbacks.isEmpty)
        try restorer.write(folder) { told = $0 }
        #expect(told == restorer.count)
        try expectSame(folder, source)
        for (file, _) in GGUFDocuments.keys where FileManager.default.fileExists(atPath: source + "/" + file)
        {
            #expect(try bytes(folder + "/" + file) == bytes(source + "/" + file), "\(file)")
        }
        #expect(try Reply(folder).tokens == Reply(source).tokens)
        try GGUFConverter(folder, run: run).write(scratch("again.gguf"))
        let (first, second) = (try GGUF.open(gguf), try GGUF.open(scratch("again.gguf")))
        try expectSame(scratch("again.gguf"), gguf)
        // The licence is told from the folder's README, which no GGUF file carries.
        let keys = first.pairs.map(\.key).filter { $0 != "general.license" }
        #expect(keys == second.pairs.map(\.key))
    }

    @Test(
        "every type of floating-point numbers goes there and back",
        arguments: [DType.float32, .float16, .bfloat16]
    )
    func types(_ type: DType) throws {
        let gguf = scratch("x.gguf")
        try GGUFConverter(checkpoint("vl2-mla-full"), type: type, run: run).write(gguf)
        try CheckpointRestorer(gguf, run: run).write(scratch("folder"))
        try GGUFConverter(scratch("folder"), run: run).write(scratch("again.gguf"))
        try expectSame(scratch("again.gguf"), gguf)
        try CheckpointRestorer(gguf, type: type, run: run).write(scratch("typed"))
        try expectSame(scratch("typed"), scratch("folder"))
        let config = try JSONValue(parsing: Array(bytes(scratch("typed/config.json"))))
        let expected = ["f32": "float32", "f16": "float16", "bf16": "bfloat16"][type.rawValue]
        #expect(config["torch_dtype"]?.asString == expected)
    }

    @Test("a language model alone, as llama.cpp reads it, comes back with a configuration made from its keys")
    func languageAlone() throws {
        for name in ["vl2-mha", "vl2-mla-full", "vl-7b-like", "llm-linear"] {
            let (gguf, folder) = (scratch("\(name).gguf"), scratch(name))
            var form = GGUFForm()
            form.isTextOnly = true
            form.turnsRows = name == "vl2-mha"
            try GGUFConverter(checkpoint(name), form: form, run: run).write(gguf)
            try CheckpointRestorer(gguf, run: run).write(folder)
            let left = try WeightStore.open(folder)
            let right = try WeightStore.open(checkpoint(name))
            for tensor in left.all {
                let known = ["", "language.", "language_model."].compactMap { right.peek($0 + tensor.name) }
                    .first
                let other = try #require(known, "\(tensor.name)")
                #expect(
                    other.dtype == tensor.dtype && other.bytes.elementsEqual(tensor.bytes),
                    "\(tensor.name)"
                )
            }
            // The same ids and the same network, read from the folder and from the file.
            let text = "Once upon a time: 1234 times, naïve 日本語!\n  def f(x):\n"
            let answers = try [gguf, folder].map { path -> [Int] in
                let host = try ModelHost(path, threads: 2, compute: .float32)
                var parameters = Parameters()
                parameters.maxTokens = 12
                let answer = try #require(
                    host.answer(
                        [
                            ConversationInput(
                                form: .prompt(text, appliesTemplate: false, system: ""),
                                pictures: []
                            )
                        ],
                        parameters
                    ).first
                ).answer
                return answer.promptTokens + answer.tokens
            }
            #expect(answers[0] == answers[1] && answers[0].count > 30, "\(name)")
        }
    }

    @Test("codes become the floating-point numbers that they stand for, in the type asked for")
    func codes() throws {
        let gguf = scratch("x.gguf")
        try GGUFConverter(checkpoint("shapes-vl2"), type: .q8_0, run: run).write(gguf)
        try CheckpointRestorer(gguf, type: .float32, run: run).write(scratch("exact"))
        try CheckpointRestorer(gguf, run: run).write(scratch("rounded"))
        let exact = try WeightStore.open(scratch("exact"))
        let rounded = try WeightStore.open(scratch("rounded"))
        let name = "language.model.layers.1.mlp.experts.3.up_proj.weight"
        let wide = try #require(exact.peek(name))
        let narrow = try #require(rounded.peek(name))
        #expect(wide.dtype == .float32 && narrow.dtype == .bfloat16 && wide.shape == narrow.shape)
        let stack = try #require(WeightStore.open(gguf).peek("blk.1.ffn_up_exps.weight"))
        let count = wide.elementCount
        var expected = [Float](repeating: 0, count: count)
        let start = try #require(stack.bytes.baseAddress) + 3 * count / 32 * 34
        run.decode(start, .q8_0, count: count, into: &expected)
        #expect(wide.bytes.elementsEqual(expected.withUnsafeBytes { Array($0) }))
        let config = try JSONValue(parsing: Array(bytes(scratch("exact/config.json"))))
        #expect(config["torch_dtype"]?.asString == "float32")
        #expect(config["language_config"]?["torch_dtype"]?.asString == "float32")
        #expect(config["vision_config"] != nil)
        // The folder computes what the file does.
        #expect(try relativeError(Reply(scratch("exact")).logits, Reply(gguf).logits) < 1e-5)
    }

    @Test("a checkpoint beyond the size of one file is several, with an index")
    func shards() throws {
        let gguf = scratch("x.gguf")
        try GGUFConverter(checkpoint("llm-linear"), run: run).write(gguf)
        let restorer = try CheckpointRestorer(gguf, run: run)
        try restorer.write(scratch("one"))
        try restorer.write(scratch("many"), shardBytes: 400_000)
        let names = try FileManager.default.contentsOfDirectory(atPath: scratch("many")).sorted()
        let files = names.filter { $0.hasSuffix(".safetensors") }
        #expect(files.count > 3 && files[0] == "model-00001-of-0000\(files.count).safetensors")
        #expect(names.contains("model.safetensors.index.json"))
        try expectSame(scratch("many"), scratch("one"))
        #expect(try WeightStore.open(scratch("many")).files == files)
    }

    @Test("what stands in the way is named, and nothing half-written remains")
    func refuses() throws {
        let gguf = scratch("x.gguf")
        try GGUFConverter(checkpoint("vl2-mha"), run: run).write(gguf)
        func refusal(_ words: String, _ body: () throws -> Void) {
            let error = #expect(throws: ConvertError.self, performing: body)
            #expect(error?.description.contains(words) == true, "\(String(describing: error))")
        }
        let restorer = try CheckpointRestorer(gguf, run: run)
        try FileManager.default.createDirectory(atPath: scratch("empty"), withIntermediateDirectories: false)
        try restorer.write(scratch("empty"))
        refusal("expected nothing, or an empty folder, found '") { try restorer.write(scratch("empty")) }
        refusal("found a file") { try restorer.write(gguf) }
        refusal("no such file or directory") { try restorer.write(scratch("none/folder")) }
        refusal("f32, bf16 or f16") { _ = try CheckpointRestorer(gguf, type: .q4_0, run: run) }
        refusal("expected a GGUF file") { _ = try CheckpointRestorer(checkpoint("vl2-mha"), run: run) }
        #expect(try scratch.names == ["empty", "x.gguf"])
        let done = try program(["convert", gguf, "--outfolder", scratch("folder"), "--format", "json"])
        #expect(done.status == 0 && done.output.contains("\"architecture\":\"deepseek_vl_v2\""))
        #expect(try program(["convert", gguf, "--outfolder", scratch("folder")]).status == 1)
        #expect(try program(["convert", gguf, "--outfolder", scratch("x"), "--force"]).status == 2)
    }
}
