import Testing
import VLFormats
import VLJSON
import VLTestSupport

/// Writes a tiny checkpoint of float32 tensors as llama.cpp's converter would, for tests of the reader.
struct GGUFConversion {
    enum LatentForm {
        /// `attn_kv_b`, as files had it until 2025.
        case joined
        /// `attn_k_b` and `attn_v_b`.
        case split
    }

    let source: WeightStore
    /// What stands before the language model's names.
    let prefix: String
    var heads = 1
    var keyValueHeads = 1
    /// Whether rows of queries and keys are turned for rotation by pairs.
    var permutes = false
    var experts = 0
    var latent: (form: LatentForm, plain: Int, value: Int, rank: Int)?
    private var tensors: [OutgoingTensor] = []

    init(_ source: WeightStore, prefix: String = "") {
        self.source = source
        self.prefix = prefix
    }

    private func values(_ name: String) throws -> [Float] {
        try source.tensor(named: prefix + name).bytes.bindMemory(to: Float.self).map { $0 }
    }

    private func shape(_ name: String) throws -> [Int] { try source.tensor(named: prefix + name).shape }

    private mutating func add(_ name: String, _ shape: [Int], _ values: [Float]) {
        tensors.append(
            OutgoingTensor(
                name: name,
                dtype: .float32,
                shape: shape,
                bytes: values.withUnsafeBytes { Array($0) }
            )
        )
    }

    /// A head's rows (0, 1, …, half, half + 1, …) in the order (0, half, 1, half + 1, …).
    private static func turned(_ values: [Float], heads: Int, columns: Int) -> [Float] {
        let size = values.count / columns / heads
        var result: [Float] = []
        for head in 0..<heads {
            for row in 0..<size {
                let from = head * size + row / 2 + row % 2 * (size / 2)
                result += values[from * columns..<(from + 1) * columns]
            }
        }
        return result
    }

    private mutating func copy(_ name: String, _ target: String) throws {
        guard source.peek(prefix + name) != nil else { return }
        var values = try values(name)
        let shape = try shape(name)
        if permutes, name.hasSuffix("q_proj.weight") {
            values = Self.turned(values, heads: heads, columns: shape[1])
        } else if permutes, name.hasSuffix("k_proj.weight") {
            values = Self.turned(values, heads: keyValueHeads, columns: shape[1])
        }
        add(target, shape, values)
    }

    private mutating func layer(_ index: Int) throws {
        let (from, to) = ("model.layers.\(index).", "blk.\(index).")
        for (hub, file) in [
            ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"), ("self_attn.q_a_proj", "attn_q_a"),
            ("self_attn.q_a_layernorm", "attn_q_a_norm"), ("self_attn.q_b_proj", "attn_q_b"),
            ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
            ("self_attn.kv_a_layernorm", "attn_kv_a_norm"), ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"), ("mlp.gate", "ffn_gate_inp"),
            ("mlp.shared_experts.gate_proj", "ffn_gate_shexp"),
            ("mlp.shared_experts.up_proj", "ffn_up_shexp"),
            ("mlp.shared_experts.down_proj", "ffn_down_shexp"),
        ] {
            try copy("\(from)\(hub).weight", "\(to)\(file).weight")
        }
        try copy(from + "mlp.gate.e_score_correction_bias", to + "exp_probs_b.bias")
        if source.peek(prefix + from + "mlp.experts.0.up_proj.weight") != nil {
            for part in ["gate", "up", "down"] {
                let names = (0..<experts).map { "\(from)mlp.experts.\($0).\(part)_proj.weight" }
                add(
                    "\(to)ffn_\(part)_exps.weight",
                    [experts] + (try shape(names[0])),
                    try names.flatMap(values)
                )
            }
        }
        if let latent {
            let name = from + "self_attn.kv_b_proj.weight"
            switch latent.form {
            case .joined: try copy(name, to + "attn_kv_b.weight")
            case .split: try split(name, latent.plain, latent.value, latent.rank, to)
            }
        }
    }

    /// A head's rows are `plain` of keys and `value` of values; keys are transposed.
    private mutating func split(
        _ name: String,
        _ plain: Int,
        _ value: Int,
        _ rank: Int,
        _ target: String
    ) throws {
        let all = try values(name)
        var keys: [Float] = []
        var rest: [Float] = []
        for head in 0..<heads {
            let first = head * (plain + value)
            for column in 0..<rank {
                for row in 0..<plain { keys.append(all[(first + row) * rank + column]) }
            }
            rest += all[(first + plain) * rank..<(first + plain + value) * rank]
        }
        add(target + "attn_k_b.weight", [heads, rank, plain], keys)
        add(target + "attn_v_b.weight", [heads, value, rank], rest)
    }

    /// Writes the file.
    mutating func write(
        _ path: String,
        layers: Int,
        metadata: [(key: String, value: GGUFWriter.Value)]
    ) throws {
        tensors = []
        try copy("model.embed_tokens.weight", "token_embd.weight")
        try copy("model.norm.weight", "output_norm.weight")
        try copy("lm_head.weight", "output.weight")
        for index in 0..<layers { try layer(index) }
        try GGUFWriter.write(path, metadata: metadata, tensors: tensors)
    }

    /// The tokenizer section that a `tokenizer.json` becomes.
    static func tokenizer(
        _ bytes: [UInt8],
        pre: String,
        begin: String,
        end: String
    ) throws -> [(key: String, value: GGUFWriter.Value)] {
        let json = try JSONValue(parsing: bytes)
        let vocabulary = try #require(json["model"]?["vocab"]?.asObject)
        let added = try #require(json["added_tokens"]?.asArray)
        var texts: [Int: (text: String, kind: Int32)] = [:]
        for (text, id) in vocabulary { texts[try #require(id.asInt)] = (text, 1) }
        for token in added {
            let kind: Int32 = token["special"]?.asBool == true ? 3 : 4
            texts[try #require(token["id"]?.asInt)] = (try #require(token["content"]?.asString), kind)
        }
        let count = (texts.keys.max() ?? 0) + 1
        let tokens = (0..<count).map { texts[$0] ?? ("[PAD\($0)]", 5) }
        func id(_ text: String) throws -> UInt32 {
            UInt32(try #require(tokens.firstIndex { $0.text.utf8.elementsEqual(text.utf8) }))
        }
        let merges = try #require(json["model"]?["merges"]?.asArray).map { merge in
            merge.asString ?? merge.asArray?.compactMap(\.asString).joined(separator: " ") ?? ""
        }
        return [
            ("tokenizer.ggml.model", .text("gpt2")), ("tokenizer.ggml.pre", .text(pre)),
            ("tokenizer.ggml.tokens", .texts(tokens.map(\.text))),
            ("tokenizer.ggml.token_type", .int32s(tokens.map(\.kind))),
            ("tokenizer.ggml.merges", .texts(merges)),
            ("tokenizer.ggml.bos_token_id", .uint32(try id(begin))),
            ("tokenizer.ggml.eos_token_id", .uint32(try id(end))),
            ("tokenizer.ggml.add_bos_token", .bool(true)),
        ]
    }
}
