import DeepSeekVL
import Testing
import VLFormats
import VLJSON
import VLModels
import VLTensor
import VLTestSupport
import VLText

@Suite struct GGUFModelTests {
    private static let begin = "<｜begin▁of▁sentence｜>"
    private static let end = "<｜end▁of▁sentence｜>"
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

    @Test("a Llama with turned rows and shared key heads gives the logits of its safetensors")
    func llama() throws {
        let folder = try LlamaFolder()
        var conversion = GGUFConversion(try WeightStore.open(folder.path))
        (conversion.heads, conversion.keyValueHeads, conversion.permutes) = (4, 2, true)
        let path = folder.file("llama.gguf")
        let metadata = try folder.metadata()
        try conversion.write(path, layers: 2, metadata: metadata)
        try compare(path, folder.path)
        // What is left over is an error as with safetensors, and so is what is missing.
        try conversion.write(
            path,
            layers: 2,
            metadata: metadata.map { pair in
                pair.key == "llama.block_count" ? (pair.key, .uint32(1)) : pair
            }
        )
        #expect(throws: DeepSeekVLError.self) { try ModelHost(path, threads: 1, compute: .float32) }
        try conversion.write(path, layers: 1, metadata: metadata)
        #expect(throws: DeepSeekVLError.self) { try ModelHost(path, threads: 1, compute: .float32) }
    }

    @Test(
        "latent attention, joined and split, groups of experts and YaRN give the logits of their safetensors"
    )
    func deepseek2() throws {
        let original = fixture("models/checkpoints/vl2-mla-full")
        for form in [GGUFConversion.LatentForm.joined, .split] {
            let folder = try ScratchFolder()
            var conversion = GGUFConversion(try WeightStore.open(original), prefix: "language.")
            (conversion.heads, conversion.experts) = (4, 8)
            conversion.latent = (form, 16, 24, 32)
            let ending = form == .split ? "_mla" : ""
            let metadata: [(key: String, value: GGUFWriter.Value)] = [
                ("general.architecture", .text("deepseek2")),
                ("deepseek2.block_count", .uint32(3)), ("deepseek2.context_length", .uint32(2048)),
                ("deepseek2.embedding_length", .uint32(64)), ("deepseek2.vocab_size", .uint32(2304)),
                ("deepseek2.feed_forward_length", .uint32(160)),
                ("deepseek2.attention.head_count", .uint32(4)),
                ("deepseek2.attention.layer_norm_rms_epsilon", .float32(1e-5)),
                ("deepseek2.attention.q_lora_rank", .uint32(24)),
                ("deepseek2.attention.kv_lora_rank", .uint32(32)),
                ("deepseek2.attention.key_length\(ending)", .uint32(32)),
                ("deepseek2.attention.value_length\(ending)", .uint32(24)),
                ("deepseek2.rope.dimension_count", .uint32(16)),
                ("deepseek2.rope.scaling.type", .text("yarn")),
                ("deepseek2.rope.scaling.factor", .float32(8)),
                ("deepseek2.rope.scaling.original_context_length", .uint32(256)),
                ("deepseek2.rope.scaling.yarn_log_multiplier", .float32(0.0707)),
                ("deepseek2.leading_dense_block_count", .uint32(1)),
                ("deepseek2.expert_count", .uint32(8)), ("deepseek2.expert_used_count", .uint32(2)),
                ("deepseek2.expert_group_count", .uint32(4)),
                ("deepseek2.expert_group_used_count", .uint32(2)),
                ("deepseek2.expert_feed_forward_length", .uint32(48)),
                ("deepseek2.expert_shared_count", .uint32(2)),
                ("deepseek2.expert_weights_scale", .float32(2)),
                ("deepseek2.expert_weights_norm", .bool(true)),
                ("deepseek2.expert_gating_func", .uint32(2)),
            ]
            let path = folder("x.gguf")
            try conversion.write(
                path,
                layers: 3,
                metadata: metadata + tokenizer("vl2-mla-full", "deepseek-v3")
            )
            try compare(path, original)
        }
    }

    @Test("experts behind whole heads give the logits of their safetensors, with rows turned or not")
    func deepseek() throws {
        let original = fixture("models/checkpoints/vl2-mha")
        for architecture in ["deepseek", "deepseek2-ocr"] {
            let folder = try ScratchFolder()
            var conversion = GGUFConversion(try WeightStore.open(original), prefix: "language.")
            (conversion.heads, conversion.keyValueHeads, conversion.experts) = (4, 4, 8)
            conversion.permutes = architecture == "deepseek"
            let config = try JSONValue(parsing: fixtureBytes("models/checkpoints/vl2-mha/config.json"))
            let language = try #require(config["language_config"])
            func number(_ key: String) throws -> GGUFWriter.Value {
                .uint32(UInt32(try #require(language[key]?.asInt)))
            }
            let metadata: [(key: String, value: GGUFWriter.Value)] = [
                ("general.architecture", .text(architecture)),
                ("\(architecture).block_count", try number("num_hidden_layers")),
                ("\(architecture).context_length", try number("max_position_embeddings")),
                ("\(architecture).embedding_length", try number("hidden_size")),
                ("\(architecture).vocab_size", try number("vocab_size")),
                ("\(architecture).feed_forward_length", try number("intermediate_size")),
                ("\(architecture).attention.head_count", try number("num_attention_heads")),
                (
                    "\(architecture).attention.layer_norm_rms_epsilon",
                    .float32(Float(language["rms_norm_eps"]?.asDouble ?? 1e-6))
                ),
                ("\(architecture).leading_dense_block_count", try number("first_k_dense_replace")),
                ("\(architecture).expert_count", try number("n_routed_experts")),
                ("\(architecture).expert_used_count", try number("num_experts_per_tok")),
                ("\(architecture).expert_feed_forward_length", try number("moe_intermediate_size")),
                ("\(architecture).expert_shared_count", try number("n_shared_experts")),
            ]
            let layers = try #require(language["num_hidden_layers"]?.asInt)
            let path = folder("x.gguf")
            try conversion.write(
                path,
                layers: layers,
                metadata: metadata + tokenizer("vl2-mha", "deepseek-v3")
            )
            try compare(path, original)
            // A folder with just this file is the same model.
            #expect(try Inspection(folder.path).facts?.layers == layers)
        }
    }

    private func tokenizer(
        _ checkpoint: String,
        _ pre: String
    ) throws -> [(key: String, value: GGUFWriter.Value)] {
        try GGUFConversion.tokenizer(
            fixtureBytes("models/checkpoints/\(checkpoint)/tokenizer.json"),
            pre: pre,
            begin: Self.begin,
            end: Self.end
        )
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
