import DeepSeekVL
import Testing
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport
import VLText

@Suite struct GGUFModelTests {
    private static let text = "Question: 12 + 7? Eine Antwort, 图像 <ø> and more."

    /// Ids, tokens and the last logits of a greedy continuation in float32.
    private func run(_ path: String) throws -> (ids: [Int], tokens: [Int], logits: [Float]) {
        let host = try ModelHost(path, threads: 2, compute: .float32)
        let trace = Trace()
        host.run.trace = trace
        var parameters = Parameters()
        parameters.maxTokens = 12
        let input = ConversationInput(
            form: .prompt(Self.text, appliesTemplate: false, system: ""),
            pictures: []
        )
        let answer = try #require(host.answer([input], parameters).first).answer
        return (answer.promptTokens, answer.tokens, try #require(trace.entries["logits"]).values)
    }

    private func compare(_ gguf: String, _ original: String) throws {
        let found = try run(gguf)
        let wanted = try run(original)
        #expect(found.ids == wanted.ids && found.ids.count > 10)
        #expect(found.tokens == wanted.tokens)
        #expect(found.logits.count == wanted.logits.count)
        #expect(relativeError(found.logits, wanted.logits) < 1e-5)
    }

    /// Converts the language model of a checkpoint.
    private func convert(
        _ checkpoint: String,
        _ path: String,
        joinsLatent: Bool = false,
        turnsRows: Bool = false
    ) throws {
        var form = GGUFForm()
        form.isTextOnly = true
        form.joinsLatent = joinsLatent
        form.turnsRows = turnsRows
        let run = Run(pool: ThreadPool(threads: 2), compute: .float32)
        try GGUFConverter(checkpoint, form: form, run: run).write(path, replaces: true)
    }

    /// Writes a file again with some pairs replaced and some tensors left out.
    private func rewrite(
        _ path: String,
        _ target: String,
        replacing pairs: [String: GGUFWriter.Value] = [:],
        without isGone: (String) -> Bool = { _ in false }
    ) throws {
        let gguf = try GGUF.open(path)
        try GGUFWriter.write(
            target,
            metadata: gguf.pairs.map { ($0.key, pairs[$0.key] ?? .copy(gguf, $0)) },
            tensors: WeightStore(gguf).all.filter { !isGone($0.name) }.map { OutgoingTensor($0) }
        )
    }

    @Test("a Llama with turned rows and shared key heads gives the logits of its safetensors")
    func llama() throws {
        let folder = try LlamaFolder()
        let path = folder.file("llama.gguf")
        try convert(folder.path, path)
        try compare(path, folder.path)
        // What is left over is an error as with safetensors, and so is what is missing.
        let other = folder.file("other.gguf")
        try rewrite(path, other, replacing: ["llama.block_count": .uint32(1)])
        #expect(throws: DeepSeekVLError.self) { try ModelHost(other, threads: 1, compute: .float32) }
        try rewrite(path, other, without: { $0.hasPrefix("blk.1.") })
        #expect(throws: DeepSeekVLError.self) { try ModelHost(other, threads: 1, compute: .float32) }
        try rewrite(path, other)
        try compare(other, folder.path)
    }

    @Test(
        "latent attention, joined and split, groups of experts and YaRN give the logits of their safetensors"
    )
    func deepseek2() throws {
        let original = fixture("models/checkpoints/vl2-mla-full")
        for joined in [true, false] {
            let folder = try ScratchFolder()
            let path = folder("x.gguf")
            try convert(original, path, joinsLatent: joined)
            let names = try WeightStore.open(path).names
            #expect(names.contains("blk.0.attn_kv_b.weight") == joined)
            #expect(names.contains("blk.0.attn_k_b.weight") != joined)
            try compare(path, original)
        }
    }

    @Test("experts behind whole heads give the logits of their safetensors, with rows turned or not")
    func deepseek() throws {
        let original = fixture("models/checkpoints/vl2-mha")
        for architecture in ["deepseek", "deepseek2-ocr"] {
            let folder = try ScratchFolder()
            let path = folder("x.gguf")
            try convert(original, path, turnsRows: architecture == "deepseek")
            #expect(try GGUF.open(path)["general.architecture"]?.asText == architecture)
            try compare(path, original)
            // A folder with just this file is the same model.
            #expect(try Inspection(folder.path).facts?.layers == Inspection(original).facts?.layers)
        }
    }

    @Test("names go to GGUF and back")
    func names() {
        for (hub, file, slice) in [
            ("model.embed_tokens.weight", "token_embd.weight", nil), ("lm_head.weight", "output.weight", nil),
            ("model.norm.weight", "output_norm.weight", nil),
            ("model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight", nil),
            ("model.layers.3.self_attn.q_proj.bias", "blk.3.attn_q.bias", nil),
            ("model.layers.12.mlp.gate.weight", "blk.12.ffn_gate_inp.weight", nil),
            ("model.layers.1.mlp.gate.e_score_correction_bias", "blk.1.exp_probs_b.bias", nil),
            ("model.layers.1.mlp.experts.63.gate_proj.weight", "blk.1.ffn_gate_exps.weight", 63),
            ("model.layers.1.mlp.shared_experts.down_proj.weight", "blk.1.ffn_down_shexp.weight", nil),
            ("model.layers.0.self_attn.kv_b_proj.weight", "blk.0.attn_kv_b.weight", nil),
        ] as [(String, String, Int?)] {
            let place = GGUFNames.Place(name: file, slice: slice)
            #expect(GGUFNames.place(of: hub) == place)
            #expect(GGUFNames.name(of: place) == hub)
            #expect(GGUFNames.isStacked(file) == (slice != nil))
        }
        for name in ["", "model", "model.layers.x.mlp.gate.weight", "blk.0.attn_q.weight", "vision.x.weight"]
        {
            #expect(GGUFNames.place(of: name) == nil, "\(name)")
        }
    }

    @Test("a file whose model cannot be is refused by what is wrong, and other sound ones are listed")
    func refusesModels() throws {
        let bytes = try fixtureBytes("badfiles/gguf/expectations.tsv")
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n").dropFirst() {
            let fields = line.split(separator: "\t").map(String.init)
            let path = fixture("badfiles/gguf/\(fields[0])")
            do throws(LoadError) {
                let found = try Inspection(path)
                #expect(fields[1] == "accept" || fields[1] == "either", "\(fields[0]): \(fields[2])")
                #expect(found.parameters >= 0 && found.architecture == "llama")
            } catch {
                #expect(fields[1] != "accept", "\(error)")
                #expect(error.description.contains("expected"), "\(error)")
            }
        }
        for (name, words) in [
            ("m_block_count_huge", "'llama.block_count': expected a whole number from 1 to 1024"),
            ("m_embedding_type", "'llama.embedding_length'"), ("m_rope_nan", "'llama.rope.freq_base'"),
            ("m_bos_out_of_range", "'tokenizer.ggml.bos_token_id'"),
            ("m_token_type_short", "'tokenizer.ggml.token_type': expected 3 elements"),
            ("m_token_type_narrow", "'tokenizer.ggml.token_type': expected an array of i32"),
            ("m_scores_type", "'tokenizer.ggml.scores': expected an array of f32"),
            ("m_tokens_type", "'tokenizer.ggml.tokens': expected an array of texts"),
            ("m_arch_unknown", "'llama.expert_used_count': expected at most"),
        ] {
            let error = #expect(throws: LoadError.self) {
                try Inspection(fixture("badfiles/gguf/\(name).gguf"))
            }
            #expect(error?.description.contains(words) == true, "\(String(describing: error))")
        }
    }

    @Test("an inspection counts what the bundled model's card says, and knows its parts")
    func inspects() throws {
        let found = try Inspection(fixture("models/checkpoints/vl2-mla-full"))
        let store = try WeightStore.open(fixture("models/checkpoints/vl2-mla-full"))
        #expect(found.format == .safetensors && found.architecture == "deepseek_vl_v2")
        #expect(found.parameters == store.all.reduce(0) { $0 + $1.elementCount })
        #expect(found.types.map(\.dtype) == [.float32])
        #expect(found.unsupported == nil && found.chatTemplate == "deepseek")
        #expect(found.tokenizer?.tokenizer.preTokenizerName == "deepseek-v3")
        // 2 tokens along a tile's side: 2 * 3 of the whole, 1 between, 2 * 3 of one tile.
        #expect(found.imageTokens.first.map { [$0.across, $0.down, $0.tokens] } == [1, 1, 13])
        let alone = try Inspection(fixture("models/checkpoints/vl2-mla-full/model.safetensors"))
        #expect(alone.architecture == nil && alone.parameters == found.parameters && alone.tokenizer == nil)
    }
}
