import VLModels
import VLTensor

/// What a file is quantized to: one type, or a mixture that gives the tensors which cost the most a larger one.
package enum QuantizationTarget: String, Sendable, CaseIterable {
    case f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k_s, q4_k_m, q5_k_s, q5_k_m, q6_k

    /// A name as people write it: capitals do not count, and `q4_k` and `q5_k` are the mixtures with `_m`, as in llama.cpp.
    package init?(name: String) {
        let name = name.lowercased()
        self.init(rawValue: name == "q4_k" || name == "q5_k" ? name + "_m" : name)
    }

    /// The type of most matrices.
    package var base: DType {
        switch self {
        case .f32: .float32
        case .f16: .float16
        case .bf16: .bfloat16
        case .q8_0: .q8_0
        case .q4_0: .q4_0
        case .q4_1: .q4_1
        case .q5_0: .q5_0
        case .q5_1: .q5_1
        case .q4_k_s, .q4_k_m: .q4_k
        case .q5_k_s, .q5_k_m: .q5_k
        case .q6_k: .q6_k
        }
    }

    /// llama.cpp's number for such a file (`general.file_type`).
    package var fileType: UInt32 {
        switch self {
        case .f32: 0
        case .f16: 1
        case .bf16: 32
        case .q8_0: 7
        case .q4_0: 2
        case .q4_1: 3
        case .q5_0: 8
        case .q5_1: 9
        case .q4_k_s: 14
        case .q4_k_m: 15
        case .q5_k_s: 16
        case .q5_k_m: 17
        case .q6_k: 18
        }
    }

    /// What decides over a matrix's type besides its name.
    struct Model {
        /// Layers of the language model.
        var layers: Int
        /// Experts of a layer; 0 for none.
        var experts: Int
        /// `general.architecture`.
        var architecture: String
        var hasImportance: Bool
    }

    /// The type of a matrix of the language model, before its width is looked at: llama.cpp's choice.
    ///
    /// The head keeps six bits below eight. The mixtures with `_m` give values and the second matrix of the feed-forward
    /// network six bits in the first and the last eighth of the layers and in every third between; `q4_k_s` gives them five
    /// in the first layers. Models of eight experts have few keys and values beside them, and keep eight bits there.
    ///
    /// - Parameters:
    ///   - name: as in the file.
    ///   - isHead: whether it makes the logits.
    func type(of name: String, in model: Model, isHead: Bool) -> DType {
        guard base.isBlock else { return base }
        if isHead { return base != .q8_0 ? .q6_k : base }
        guard name.hasPrefix("blk."),
            let layer = name.split(separator: ".").dropFirst().first.flatMap({ Int($0) })
        else {
            return base
        }
        func isOne(of stems: String...) -> Bool { stems.contains { name.hasSuffix(".\($0).weight") } }
        // Latent attention's keys and values in one matrix count as values; apart, as anything else.
        if isOne(of: "attn_v", "attn_kv_b") {
            if model.experts == 8 { return .q8_0 }
            let type = more(layer, model.layers, first: 4)
            // Eight heads share these in the model of this size: they are few.
            return type == .q4_k && model.architecture == "llama" && model.layers == 80 ? .q5_k : type
        }
        if isOne(of: "attn_k"), model.experts == 8 { return .q8_0 }
        if isOne(of: "attn_output"), model.experts == 8, self == .q4_k_s || self == .q4_k_m { return .q5_k }
        if isOne(of: "ffn_down", "ffn_down_exps", "ffn_down_shexp") {
            let isFirst = layer < model.layers / 8
            if model.hasImportance, isFirst, self == .q4_0 { return .q4_1 }
            if model.hasImportance, isFirst, self == .q5_0 { return .q5_1 }
            return more(layer, model.layers, first: model.layers / 8)
        }
        return base
    }

    /// The type of what a mixture gives more bits in some layers.
    private func more(_ layer: Int, _ layers: Int, first: Int) -> DType {
        let eighth = layers / 8
        switch self {
        case .q4_k_m, .q5_k_m:
            let getsMore = layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
            return getsMore ? .q6_k : base
        case .q4_k_s: return layer < first ? .q5_k : base
        default: return base
        }
    }
}
