import DeepSeekVL
import Foundation
import Testing
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport
import VLText

@Suite struct ConvertTests {
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    @Test(
        "a converted model answers about a picture as its checkpoint does",
        arguments: ["shapes-vl2", "vl2-mha", "vl2-mla-full", "vl-7b-like", "llm-linear"]
    )
    func answers(_ name: String) throws {
        let scratch = try ScratchFolder()
        let path = scratch("model.gguf")
        let converter = try GGUFConverter(checkpoint(name), run: run)
        #expect(converter.fallbacks.isEmpty)
        var done = 0
        try converter.write(path) { done = $0 }
        #expect(done == converter.count)
        // Nothing is left beside the file.
        #expect(try scratch.names == ["model.gguf"])
        let wanted = try Reply(checkpoint(name))
        let found = try Reply(path)
        #expect(found.ids == wanted.ids && found.ids.count > 5)
        #expect(found.tokens == wanted.tokens)
        #expect(found.logits.count == wanted.logits.count)
        #expect(relativeError(found.logits, wanted.logits) < 1e-5)
    }

    @Test("the file of a model with eyes is inspected like its folder")
    func inspects() throws {
        let scratch = try ScratchFolder()
        let path = scratch("model.gguf")
        try GGUFConverter(checkpoint("shapes-vl2"), run: run).write(path)
        let found = try Inspection(path)
        let wanted = try Inspection(checkpoint("shapes-vl2"))
        #expect(found.architecture == "deepseek2" && found.name == "shapes-vl2")
        #expect(found.license == wanted.license && found.parameters == wanted.parameters)
        #expect(found.chatTemplate == wanted.chatTemplate && found.unsupported == nil)
        #expect(found.imageTokens.map(\.tokens) == wanted.imageTokens.map(\.tokens))
        #expect(found.tokenizer?.ends == wanted.tokenizer?.ends)
        #expect(try Registry.tokenizer(path).tokenID(of: "<image>") == 1016)
    }

    @Test(
        "matrices in each type are what loading the checkpoint in that type makes of them",
        arguments: DType.allCases
    )
    func types(_ type: DType) throws {
        let scratch = try ScratchFolder()
        let path = scratch("model.gguf")
        let converter = try GGUFConverter(checkpoint("shapes-vl2"), type: type, run: run)
        try converter.write(path)
        let vision: DType? = type.isBlock ? nil : type
        let policy = WeightPolicy(language: type, vision: vision)
        let wanted = try Reply(checkpoint("shapes-vl2"), weights: policy)
        let found = try Reply(path)
        #expect(found.tokens == wanted.tokens)
        #expect(relativeError(found.logits, wanted.logits) < 1e-4)
        let store = try WeightStore.open(path)
        for tensor in store.all {
            let isSmall = tensor.shape.count < 2 || !tensor.name.hasSuffix(".weight")
            if isSmall || tensor.name.hasSuffix("ffn_gate_inp.weight") {
                #expect(tensor.dtype == .float32, "\(tensor.name)")
            }
        }
        let wide = try #require(store.peek("blk.0.ffn_down.weight"))
        #expect(wide.shape == [192, 512] && wide.dtype.rawValue == type.rawValue.uppercased())
        // Rows of 192 are whole blocks of 32 and not of 256.
        let narrow = try #require(store.peek("blk.0.ffn_up.weight"))
        let expected: StoredDType? =
            switch type {
            case .q4_k: .q5_0
            case .q5_k: .q5_1
            case .q6_k: .q8_0
            default: StoredDType(rawValue: type.rawValue.uppercased())
            }
        #expect(narrow.dtype == expected)
        #expect(converter.fallbacks.contains { $0.tensor == narrow.name } == (type.blockLength == 256))
    }

    @Test("the same checkpoint gives the same bytes for any number of threads")
    func sameBytes() throws {
        let scratch = try ScratchFolder()
        for threads in [1, 3] {
            let run = Run(pool: ThreadPool(threads: threads), compute: .float32)
            try GGUFConverter(checkpoint("vl2-mla-full"), type: .q8_0, run: run)
                .write(scratch("\(threads).gguf"))
        }
        let one = try Data(contentsOf: URL(fileURLWithPath: scratch("1.gguf")))
        #expect(try one == Data(contentsOf: URL(fileURLWithPath: scratch("3.gguf"))) && one.count > 100_000)
    }

    @Test("a matrix that float16 cannot hold keeps its type, and is named")
    func overflow() throws {
        let scratch = try ScratchFolder()
        let folder = try scratch.copy(checkpoint("vl2-mha"))
        let file = folder + "/model.safetensors"
        try? FileManager.default.removeItem(atPath: folder + "/model.safetensors.index.json")
        let name = "language.model.layers.0.mlp.up_proj.weight"
        let tensors = try WeightStore.open(checkpoint("vl2-mha")).all.map { tensor in
            guard tensor.name == name else { return OutgoingTensor(tensor) }
            var bytes = [UInt8](tensor.bytes)
            bytes.withUnsafeMutableBytes { $0.storeBytes(of: Float(70000), toByteOffset: 40, as: Float.self) }
            return OutgoingTensor(name: name, dtype: tensor.dtype, shape: tensor.shape, bytes: bytes)
        }
        try SafetensorsWriter.write(file, tensors: tensors)
        let converter = try GGUFConverter(folder, type: .float16, run: run)
        #expect(converter.fallbacks.map(\.tensor) == ["blk.0.ffn_up.weight"])
        try converter.write(scratch("x.gguf"))
        let store = try WeightStore.open(scratch("x.gguf"))
        #expect(store.peek("blk.0.ffn_up.weight")?.dtype == .float32)
        #expect(store.peek("blk.0.ffn_down.weight")?.dtype == .float16)
    }

    @Test("sources that are quantized, GGUF files, and files that exist are refused by name")
    func refuses() throws {
        let scratch = try ScratchFolder()
        let path = scratch("x.gguf")
        let converter = try GGUFConverter(checkpoint("llm-linear"), run: run)
        try converter.write(path)
        let before = try Data(contentsOf: URL(fileURLWithPath: path))
        func refusal(_ words: String, _ body: () throws -> Void) {
            let error = #expect(throws: ConvertError.self, performing: body)
            #expect(error?.description.contains(words) == true, "\(String(describing: error))")
        }
        refusal("expected no such file, found one; --force") { try converter.write(path) }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
        try converter.write(path, replaces: true)
        refusal("found a GGUF file") { _ = try GGUFConverter(path, run: run) }
        let folder = try scratch.copy(checkpoint("llm-linear"))
        let config = folder + "/config.json"
        let text = try String(contentsOfFile: config, encoding: .utf8)
        let end = try #require(text.lastIndex(of: "}"))
        try (text[..<end] + #","quantization_config": {"quant_method": "fp8"}}"#)
            .write(toFile: config, atomically: true, encoding: .utf8)
        refusal("'quantization_config': it is quantized already") { _ = try GGUFConverter(folder, run: run) }
        try FileManager.default.removeItem(atPath: folder + "/tokenizer.json")
        try text.write(toFile: config, atomically: true, encoding: .utf8)
        refusal("tokenizer.json") { _ = try GGUFConverter(folder, run: run) }
    }

    @Test("damaged configurations in a file are refused by name, as those of a folder are")
    func damaged() throws {
        let scratch = try ScratchFolder()
        try GGUFConverter(checkpoint("vl2-mha"), run: run).write(scratch("x.gguf"))
        let gguf = try GGUF.open(scratch("x.gguf"))
        func refusal(_ key: String, _ value: GGUFWriter.Value?, _ words: String) throws {
            let pairs = gguf.pairs.compactMap { pair -> (key: String, value: GGUFWriter.Value)? in
                guard pair.key == key else { return (pair.key, .copy(gguf, pair)) }
                return value.map { (key, $0) }
            }
            try GGUFWriter.write(
                scratch("y.gguf"),
                metadata: pairs,
                tensors: WeightStore(gguf).all.map { OutgoingTensor($0) }
            )
            let error = #expect(throws: LoadError.self) { _ = try Registry.load(scratch("y.gguf"), run: run) }
            #expect(error?.description.contains(words) == true, "\(String(describing: error))")
        }
        try refusal("deepseek-vl.config", .text("{"), "config.json")
        try refusal("deepseek-vl.config", .uint32(1), "'deepseek-vl.config': expected a text")
        try refusal("tokenizer.huggingface.json", nil, "tokenizer.json")
        try refusal("tokenizer.huggingface.json", .text("{}"), "tokenizer.json")
        // More experts than the tensors stack.
        try refusal("deepseek2-ocr.expert_count", .uint32(7), "ffn_")
        try refusal("deepseek-vl.config", nil, "tensors that this model does not have")
    }

    @Test("the command converts, tells fallbacks, and refuses to replace a file without --force")
    func command() throws {
        let scratch = try ScratchFolder()
        let path = scratch("x.gguf")
        let arguments = ["convert", checkpoint("shapes-vl2"), "--outfile", path, "--type", "q4_k"]
        let first = try program(arguments)
        #expect(first.status == 0 && first.output.contains("tensors, deepseek2"))
        #expect(first.errors.contains("blk.0.ffn_up.weight: q5_0 in place of q4_k: its rows of 192"))
        let second = try program(arguments)
        #expect(second.status == 1 && second.errors.contains("--force"))
        let third = try program(arguments + ["--force", "--format", "json"])
        let report = try JSONValue(parsing: Array(third.output.utf8))
        #expect(third.status == 0 && report["architecture"]?.asString == "deepseek2")
        let fallbacks = try #require(report["fallbacks"]?.asArray)
        let up = try #require(fallbacks.first { $0["tensor"]?.asString == "blk.0.ffn_up.weight" })
        #expect(up["wanted"]?.asString == "q4_k" && up["type"]?.asString == "q5_0")
        #expect(try program(["convert", checkpoint("shapes-vl2")]).status == 2)
        let text = scratch("text.gguf")
        let alone = ["convert", checkpoint("shapes-vl2"), "--outfile", text, "--text-only"]
        #expect(try program(alone).status == 0)
        #expect(
            try WeightStore.open(text).names.allSatisfy {
                GGUFNames.name(of: .init(name: $0, slice: 0)) != nil
            }
        )
        let answer = try program([
            "ask", "--model", path, "--image", fixture("../../Examples/shapes.png"),
            "Where is the green cross?",
        ])
        #expect(answer.status == 0 && !answer.output.isEmpty)
    }
}
