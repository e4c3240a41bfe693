/// What a model's tensors are called in GGUF files, both ways.
///
/// Models know the names of Hugging Face checkpoints only. `docs/gguf.md` has the table for people.
package enum GGUFNames {
    /// Where a tensor lies: in a tensor of its own, or as a slice of one that stacks those of all experts.
    package struct Place: Equatable, Sendable {
        package var name: String
        /// Number of the slice along the first axis.
        package var slice: Int?

        package init(name: String, slice: Int? = nil) {
            self.name = name
            self.slice = slice
        }
    }

    /// Tensors outside of the layers.
    private static let globals = [
        ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"),
    ]

    /// Tensors of a layer: behind "model.layers.N." here, behind "blk.N." there.
    private static let layers = [
        ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_a_proj", "attn_q_a"), ("self_attn.q_a_layernorm", "attn_q_a_norm"),
        ("self_attn.q_b_proj", "attn_q_b"), ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
        ("self_attn.kv_a_layernorm", "attn_kv_a_norm"), ("self_attn.kv_b_proj", "attn_kv_b"),
        // `kv_b_proj` in two, a head's keys transposed; no Hugging Face checkpoint has it so.
        ("self_attn.k_b_proj", "attn_k_b"), ("self_attn.v_b_proj", "attn_v_b"),
        ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
        ("mlp.gate", "ffn_gate_inp"),
        ("mlp.shared_experts.gate_proj", "ffn_gate_shexp"), ("mlp.shared_experts.up_proj", "ffn_up_shexp"),
        ("mlp.shared_experts.down_proj", "ffn_down_shexp"),
    ]

    /// Matrices of an expert, which the file stacks.
    private static let experts = [
        ("gate_proj", "ffn_gate_exps"), ("up_proj", "ffn_up_exps"), ("down_proj", "ffn_down_exps"),
    ]

    private static let correction = ("mlp.gate.e_score_correction_bias", "exp_probs_b.bias")

    private static let toFile = Dictionary(globals + layers) { first, _ in first }
    private static let fromFile = Dictionary((globals + layers).map { ($1, $0) }) { first, _ in first }

    /// A name cut behind its last dot: "a.b.weight" is ("a.b", ".weight").
    private static func split(_ name: Substring) -> (stem: String, ending: String) {
        guard let dot = name.lastIndex(of: ".") else { return (String(name), "") }
        return (String(name[..<dot]), String(name[dot...]))
    }

    /// The number behind a prefix, and what follows the dot behind it.
    private static func numbered(_ name: Substring, _ prefix: String) -> (number: Int, rest: Substring)? {
        guard name.hasPrefix(prefix) else { return nil }
        let behind = name.dropFirst(prefix.count)
        guard let dot = behind.firstIndex(of: "."), let number = Int(behind[..<dot]), number >= 0 else {
            return nil
        }
        return (number, behind[behind.index(after: dot)...])
    }

    /// The place of a tensor with a Hugging Face name; nil for a name without one.
    package static func place(of name: String) -> Place? {
        guard let (layer, rest) = numbered(name[...], "model.layers.") else {
            let (stem, ending) = split(name[...])
            return toFile[stem].map { Place(name: $0 + ending) }
        }
        let block = "blk.\(layer)."
        if rest == correction.0 { return Place(name: block + correction.1) }
        if let (expert, part) = numbered(rest, "mlp.experts.") {
            let (stem, ending) = split(part)
            guard let found = experts.first(where: { $0.0 == stem }) else { return nil }
            return Place(name: block + found.1 + ending, slice: expert)
        }
        let (stem, ending) = split(rest)
        return toFile[stem].map { Place(name: block + $0 + ending) }
    }

    /// Where the language model lies in a checkpoint that sees.
    private static let languages = ["language_model.", "language."]

    /// Where DeepSeek-VL's towers lie: with these before them, names are longer than a GGUF file allows.
    private static let towers = [
        ("vision_model.vision_tower_high.vision_tower.", "vision_high."),
        ("vision_model.vision_tower_low.vision_tower.", "vision_low."),
    ]

    /// The place of any tensor of a checkpoint, that of a model with eyes, too: what is no part of the language model
    /// keeps its name, or a shorter one.
    package static func place(inCheckpoint name: String) -> Place {
        for prefix in languages where name.hasPrefix(prefix) {
            if let place = place(of: String(name.dropFirst(prefix.count))) { return place }
        }
        if let place = place(of: name) { return place }
        for (long, short) in towers where name.hasPrefix(long) {
            return Place(name: short + name.dropFirst(long.count))
        }
        return Place(name: name)
    }

    /// The checkpoint's name of a tensor that is no part of the language model.
    package static func checkpointName(ofTower name: String) -> String {
        for (long, short) in towers where name.hasPrefix(short) { return long + name.dropFirst(short.count) }
        return name
    }

    /// Whether a tensor of a checkpoint belongs to its language model.
    package static func isLanguage(_ name: String) -> Bool {
        languages.contains { name.hasPrefix($0) } || place(of: name) != nil
    }

    /// The Hugging Face name of a file's tensor, with a function of the slice's number where experts are stacked; nil
    /// for a name without one.
    package static func name(of place: Place) -> String? {
        guard let (block, rest) = numbered(place.name[...], "blk.") else {
            let (stem, ending) = split(place.name[...])
            return fromFile[stem].map { $0 + ending }
        }
        let layer = "model.layers.\(block)."
        if rest == correction.1 { return layer + correction.0 }
        let (stem, ending) = split(rest)
        if let found = experts.first(where: { $0.1 == stem }) {
            return place.slice.map { "\(layer)mlp.experts.\($0).\(found.0)\(ending)" }
        }
        return fromFile[stem].map { layer + $0 + ending }
    }

    /// The heads of a file's tensor whose rows lie in pairs for rotation: those of queries and keys, weights and biases.
    ///
    /// - Parameter heads: of queries and of keys; nil for files whose rows lie as in a checkpoint.
    package static func turnedHeads(_ name: String, _ heads: (queries: Int, keys: Int)?) -> Int? {
        guard let heads, let (_, rest) = numbered(name[...], "blk.") else { return nil }
        switch split(rest).stem {
        case "attn_q": return heads.queries
        case "attn_k": return heads.keys
        default: return nil
        }
    }

    /// Whether a file's tensor stacks those of all experts.
    package static func isStacked(_ name: String) -> Bool {
        guard let (_, rest) = numbered(name[...], "blk.") else { return false }
        let stem = split(rest).stem
        return experts.contains { $0.1 == stem }
    }
}
