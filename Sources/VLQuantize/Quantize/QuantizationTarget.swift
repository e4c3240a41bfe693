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

    /// The type of a matrix of the language model, before its width is looked at.
    ///
    /// The head keeps six bits below eight. The mixtures with `_m` give values and the second matrix of the feed-forward
    /// network six bits in the first and the last eighth of the layers and in every third between; `q4_k_s` gives them five
    /// in the first layers.
    ///
    /// - Parameters:
    ///   - name: as in the file.
    ///   - layers: of the language model.
    ///   - isHead: whether it makes the logits.
    func type(of name: String, layers: Int, isHead: Bool) -> DType {
        if isHead { return base.isBlock && base != .q8_0 ? .q6_k : base }
        guard name.hasPrefix("blk."),
            let layer = name.split(separator: ".").dropFirst().first.flatMap({ Int($0) })
        else {
            return base
        }
        let isValue = name.hasSuffix(".attn_v.weight")
        let isDown = ["ffn_down.weight", "ffn_down_exps.weight", "ffn_down_shexp.weight"].contains {
            name.hasSuffix("." + $0)
        }
        guard isValue || isDown else { return base }
        let eighth = layers / 8
        switch self {
        case .q4_k_m, .q5_k_m:
            let getsMore = layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
            return getsMore ? .q6_k : base
        case .q4_k_s: return layer < (isValue ? 4 : eighth) ? .q5_k : base
        default: return base
        }
    }
}
