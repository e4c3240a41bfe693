import DeepSeekVL
import Foundation
import Testing
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

/// The way back of GGUF files that other programs wrote: without a word of what the checkpoint's folder held.
@Suite struct ForeignFileTests {
    private let scratch: ScratchFolder
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    init() throws { scratch = try ScratchFolder() }

    /// A kind of file that llama.cpp's converter writes, or once wrote.
    struct Kind: Sendable, CustomStringConvertible {
        let architecture: String
        let checkpoint: String
        var turnsRows = false
        var joinsLatent = false

        var description: String { "\(architecture) of \(checkpoint)\(joinsLatent ? ", joined" : "")" }
    }

    static let kinds = [
        Kind(architecture: "llama", checkpoint: "llm-linear"),
        Kind(architecture: "llama", checkpoint: "vl-7b-like"),
        Kind(architecture: "deepseek", checkpoint: "vl2-mha", turnsRows: true),
        Kind(architecture: "deepseek2-ocr", checkpoint: "vl2-mha"),
        Kind(architecture: "deepseek2", checkpoint: "vl2-mla-full"),
        Kind(architecture: "deepseek2", checkpoint: "vl2-mla-full", joinsLatent: true),
    ]

    /// Writes such a file: the language model alone, with the keys that all programs know.
    ///
    /// - Parameters:
    ///   - changes: values in place of others; nil leaves a key out.
    ///   - change: tensors in place of others.
    private func write(
        _ kind: Kind,
        _ path: String,
        from folder: String? = nil,
        type: DType? = nil,
        _ changes: [String: GGUFWriter.Value?] = [:],
        change: (StoredTensor) -> OutgoingTensor = { OutgoingTensor($0) }
    ) throws {
        var form = GGUFForm()
        form.isTextOnly = true
        (form.turnsRows, form.joinsLatent) = (kind.turnsRows, kind.joinsLatent)
        let ours = scratch("ours.gguf")
        try GGUFConverter(folder ?? checkpoint(kind.checkpoint), type: type, form: form, run: run)
            .write(ours, replaces: true)
        let file = try GGUF.open(ours)
        #expect(file["general.architecture"]?.asText == kind.architecture)
        var pairs: [(key: String, value: GGUFWriter.Value)] = []
        for pair in file.pairs where !pair.key.hasPrefix("deepseek-vl.") && !pair.key.contains("huggingface")
        {
            guard let value = changes[pair.key, default: .copy(file, pair)] else { continue }
            pairs.append((pair.key, value))
        }
        for (key, value) in changes where file[key] == nil {
            if let value { pairs.append((key, value)) }
        }
        try GGUFWriter.write(path, metadata: pairs, tensors: file.tensors.map(change))
        try FileManager.default.removeItem(atPath: ours)
    }

    private struct Answer {
        let ids: [Int]
        let tokens: [Int]
        let logits: [Float]
    }

    /// Ids, tokens and logits of a plain text that is continued, or of a question.
    private func answer(_ path: String, asks: Bool = false) throws -> Answer {
        let host = try ModelHost(path, threads: 2, compute: .float32)
        let trace = Trace()
        host.run.trace = trace
        var parameters = Parameters()
        parameters.maxTokens = 16
        let text = "Once upon a time: 1234 times, naïve 日本語!\n  def f(x):\n"
        let input = ConversationInput(
            form: .prompt(text, appliesTemplate: asks, system: ""),
            pictures: []
        )
        let answer = try #require(host.answer([input], parameters).first).answer
        return Answer(
            ids: answer.promptTokens,
            tokens: answer.tokens,
            logits: try #require(trace.entries["logits"]).values
        )
    }

    private func expectSame(_ folder: String, _ file: String, asks: Bool = false) throws {
        let (found, wanted) = (try answer(folder, asks: asks), try answer(file, asks: asks))
        #expect(found.ids == wanted.ids && wanted.ids.count > 20)
        #expect(found.tokens == wanted.tokens && !wanted.tokens.isEmpty)
        #expect(relativeError(found.logits, wanted.logits) < 1e-5)
    }

    @Test(
        "makes a folder with the checkpoint's tensors, bit for bit, that opens and answers as the file",
        arguments: kinds
    )
    func restores(_ kind: Kind) throws {
        let (file, folder) = (scratch("x.gguf"), scratch("folder"))
        try write(kind, file)
        try CheckpointRestorer(file, run: run).write(folder)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == [
                "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                "tokenizer_config.json",
            ]
        )
        let original = try WeightStore.open(checkpoint(kind.checkpoint))
        let restored = try WeightStore.open(folder)
        for tensor in restored.all {
            let prefixes = ["", "language.", "language_model."]
            let other = try #require(prefixes.compactMap { original.peek($0 + tensor.name) }.first)
            #expect(tensor.shape == other.shape)
            // Norms are float32 in such files, whatever they were.
            guard tensor.dtype == other.dtype else {
                #expect(tensor.dtype == .float32 && tensor.shape.count == 1, "\(tensor.name)")
                continue
            }
            #expect(tensor.bytes.elementsEqual(other.bytes), "\(tensor.name)")
        }
        let isLanguage = original.names.count { GGUFNames.isLanguage($0) && !$0.hasSuffix("inv_freq") }
        #expect(restored.count == isLanguage && isLanguage > 10)
        try expectSame(folder, file)
        if kind.checkpoint == "llm-linear" { try expectSame(folder, file, asks: true) }
    }

    @Test("the program restores, completes, and finds no difference between folder and file")
    func program() throws {
        let kind = Kind(architecture: "llama", checkpoint: "llm-linear")
        let (file, folder) = (scratch("x.gguf"), scratch("folder"))
        try write(kind, file, type: .q8_0)
        let done = try VLTestSupport.program(["convert", file, "--outfolder", folder, "--type", "f32"])
        #expect(done.status == 0 && !done.errors.contains("bf16"), "\(done.errors)")
        let both = try [folder, file].map {
            try VLTestSupport.program(["complete", "--model", $0, "--compute", "float32", "Once upon a time"])
        }
        #expect(both[0].status == 0 && both[0].output == both[1].output && !both[0].output.isEmpty)
        try scratch.write("text.txt", Array("Once upon a time: 1234 times, naïve. def f(x): x".utf8))
        let verified = try VLTestSupport.program([
            "verify", folder, file, "--compute-a", "float32", "--compute-b", "float32", "--file",
            scratch("text.txt"), "--context", "16", "--format", "json",
        ])
        let text = try #require(JSONValue(parsing: Array(verified.output.utf8))["text"])
        #expect(text["top1_agreement"]?.asDouble == 1)
        #expect(try #require(text["kl"]?["max"]?.asDouble) < 1e-6)
        // Codes have no type in safetensors: what becomes of them is told if nobody says it.
        let rounded = try VLTestSupport.program(["convert", file, "--outfolder", scratch("rounded")])
        #expect(rounded.status == 0 && rounded.errors.contains("--type f32 keeps"), "\(rounded.errors)")
    }

    @Test(
        "codes in any type give the numbers that they stand for",
        arguments: [DType.q8_0, .q4_0, .q4_1, .q5_k]
    )
    func codes(_ type: DType) throws {
        let kind = Kind(architecture: "deepseek", checkpoint: "vl2-mha", turnsRows: true)
        try write(kind, scratch("x.gguf"), type: type)
        try CheckpointRestorer(scratch("x.gguf"), type: .float32, run: run).write(scratch("folder"))
        try expectSame(scratch("folder"), scratch("x.gguf"))
    }

    @Test("values that other models have come back: gates, templates, no begin token")
    func variants() throws {
        let v3 =
            "{% for m in messages %}{{'<｜User｜>' + m['content'] + '<｜Assistant｜>'}}{% endfor %}<｜end▁of▁sentence｜>"
        let cases: [(String, [String: GGUFWriter.Value?])] = [
            (
                "sigmoid",
                [
                    "deepseek.expert_gating_func": .uint32(2), "deepseek.expert_weights_norm": .bool(true),
                    "deepseek.expert_weights_scale": .float32(2.5),
                ]
            ),
            ("v3", ["tokenizer.chat_template": .text(v3)]),
            (
                "begin",
                ["tokenizer.ggml.bos_token_id": nil, "tokenizer.ggml.add_bos_token": .bool(false)]
            ),
        ]
        let kind = Kind(architecture: "deepseek", checkpoint: "vl2-mha", turnsRows: true)
        for (name, changes) in cases {
            let (file, folder) = (scratch(name + ".gguf"), scratch(name))
            try write(kind, file, changes)
            try CheckpointRestorer(file, run: run).write(folder)
            try expectSame(folder, file)
            if name == "v3" { try expectSame(folder, file, asks: true) }
        }
        // A template that is not known is refused by both.
        try write(kind, scratch("other.gguf"), ["tokenizer.chat_template": .text("{{ messages }}")])
        try CheckpointRestorer(scratch("other.gguf"), run: run).write(scratch("other"))
        for path in ["other.gguf", "other"] {
            let error = #expect(throws: DeepSeekVLError.self, "\(path)") {
                try answer(scratch(path), asks: true)
            }
            #expect(error?.description.contains("template") == true, "\(String(describing: error))")
        }
    }

    @Test("biases of queries and keys are turned with their rows, and back")
    func biases() throws {
        let folder = try scratch.copy(checkpoint("llm-linear"))
        var config = try #require(FileContents.readJSON(folder + "/config.json").asObject)
        config["attention_bias"] = true
        try AtomicFile.write(folder + "/config.json", JSONWriter.encode(.object(config)))
        let store = try WeightStore.open(folder)
        var tensors = store.all.map { OutgoingTensor($0) }
        for tensor in store.all where tensor.name.contains(".self_attn.") {
            let values = (0..<tensor.shape[0]).map { Float($0 * 7919 % 101) / 50 - 1 }
            tensors.append(
                OutgoingTensor(
                    name: tensor.name.dropLast("weight".count) + "bias",
                    dtype: .float32,
                    shape: [values.count],
                    bytes: values.withUnsafeBytes { Array($0) }
                )
            )
        }
        let other = scratch("biased.safetensors")
        try SafetensorsWriter.write(other, tensors: tensors)
        try FileManager.default.removeItem(atPath: folder + "/model.safetensors")
        try FileManager.default.moveItem(atPath: other, toPath: folder + "/model.safetensors")
        try write(Kind(architecture: "llama", checkpoint: ""), scratch("x.gguf"), from: folder)
        let name = "blk.0.attn_q.bias"
        let written = try #require(WeightStore.open(scratch("x.gguf")).peek(name))
        let source = try #require(WeightStore.open(folder).peek("model.layers.0.self_attn.q_proj.bias"))
        // The second of a head's turned values is the first of its second half.
        let heads = try #require(config["num_attention_heads"]?.asInt)
        let half = source.elementCount / heads / 2
        func value(_ tensor: StoredTensor, _ index: Int) -> Float {
            tensor.bytes.loadUnaligned(fromByteOffset: 4 * index, as: Float.self)
        }
        #expect(value(written, 1) == value(source, half) && value(written, 2) == value(source, 1))
        try expectSame(scratch("x.gguf"), folder)
        try CheckpointRestorer(scratch("x.gguf"), run: run).write(scratch("folder"))
        let restored = try WeightStore.open(scratch("folder"))
        for tensor in try WeightStore.open(folder).all where tensor.name.hasSuffix(".bias") {
            #expect(restored.peek(tensor.name)?.bytes.elementsEqual(tensor.bytes) == true, "\(tensor.name)")
        }
    }

    @Test("heads that no config.json can describe are refused, and no folder is left")
    func otherHeads() throws {
        let kind = Kind(architecture: "deepseek2-ocr", checkpoint: "vl2-mha")
        try write(kind, scratch("x.gguf"))
        let file = try GGUF.open(scratch("x.gguf"))
        let heads = try #require(file["deepseek2-ocr.attention.head_count"]?.asInt)
        let width = try #require(file["deepseek2-ocr.embedding_length"]?.asInt)
        // Half of the heads, as wide as before.
        let changes: [String: GGUFWriter.Value?] = [
            "deepseek2-ocr.attention.head_count": .uint32(UInt32(heads / 2)),
            "deepseek2-ocr.attention.head_count_kv": .uint32(UInt32(heads / 2)),
            "deepseek2-ocr.attention.key_length": .uint32(UInt32(width / heads)),
            "deepseek2-ocr.attention.value_length": .uint32(UInt32(width / heads)),
            "deepseek2-ocr.rope.dimension_count": .uint32(UInt32(width / heads)),
        ]
        try write(kind, scratch("y.gguf"), changes) { tensor in
            let isInput = ["q", "k", "v"].contains { tensor.name.hasSuffix(".attn_\($0).weight") }
            guard isInput || tensor.name.hasSuffix(".attn_output.weight") else {
                return OutgoingTensor(tensor)
            }
            let (rows, columns) = (tensor.shape[0], tensor.shape[1])
            let (kept, wide) = (isInput ? rows / 2 : rows, isInput ? columns : columns / 2)
            let size = tensor.byteCount / rows / columns
            let bytes = (0..<kept).flatMap { row in
                Array(tensor.bytes[row * columns * size..<(row * columns + wide) * size])
            }
            return OutgoingTensor(name: tensor.name, dtype: tensor.dtype, shape: [kept, wide], bytes: bytes)
        }
        #expect(try answer(scratch("y.gguf")).tokens.count > 1)
        let error = #expect(throws: ConvertError.self) {
            try CheckpointRestorer(scratch("y.gguf"), run: run).write(scratch("folder"))
        }
        #expect(error?.description.contains("expected a network that the config.json") == true)
        #expect(try scratch.names == ["x.gguf", "y.gguf"])
    }
}
