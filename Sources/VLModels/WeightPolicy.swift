import VLTensor

/// In which types a model's matrices run: as they are stored, or converted while loading.
///
/// One place decides by a tensor's name what may be converted and to what.
package struct WeightPolicy: Sendable, Equatable {
    /// Type of the language model's matrices; nil keeps what the file holds.
    package var language: DType?
    /// Type of the vision towers' and projectors' matrices; nil keeps what the file holds.
    package var vision: DType?

    package init(language: DType? = nil, vision: DType? = nil) {
        self.language = language
        self.vision = vision
    }

    private static let visionParts = ["vision.", "vision_model.", "projector.", "aligner."]

    /// The type that a matrix runs in.
    ///
    /// - Parameters:
    ///   - name: its full name in the checkpoint.
    ///   - stored: the type that the file holds.
    ///   - columns: values that lie together (`columns(_:)`).
    ///   - isHead: whether it makes logits though its name does not say so: an embedding that is the output head, too.
    package func type(of name: String, stored: DType, columns: Int, isHead: Bool = false) -> DType {
        if Self.visionParts.contains(where: { name.hasPrefix($0) }) {
            return vision.map { Self.fitting($0, columns: columns, else: stored) } ?? stored
        }
        // The latent attention multiplies from both sides of this matrix, which packed rows do not allow.
        if name.hasSuffix(".kv_b_proj.weight") {
            guard let language else { return stored.isBlock ? .float32 : stored }
            return language.isBlock ? (stored.isBlock ? .bfloat16 : stored) : language
        }
        guard let language else { return stored }
        // The gate's ties decide which experts run: it stays as it is.
        if name.hasSuffix(".mlp.gate.weight") { return stored }
        // The output head decides between tokens: with few bits it costs the most, so it keeps six.
        if isHead || name.hasSuffix("lm_head.weight"), language.isBlock, language.bitsPerValue < 6.5 {
            return Self.fitting(.q6_k, columns: columns, else: stored)
        }
        return Self.fitting(language, columns: columns, else: stored)
    }

    /// The values of a tensor that lie together and are to be whole blocks: its last dimension, so that the kernels of
    /// convolutions, which are small and meet raw pixels, keep the type that they have.
    package static func columns(_ shape: [Int]) -> Int { shape.last ?? 1 }

    /// The wanted type, or the nearest larger one whose blocks fit rows of `columns`, as llama.cpp chooses; `stored` if
    /// there is none.
    package static func fitting(_ type: DType, columns: Int, else stored: DType) -> DType {
        if columns % type.blockLength == 0 { return type }
        guard columns % 32 == 0 else { return stored }
        switch type {
        case .q4_k: return .q5_0
        case .q5_k: return .q5_1
        case .q6_k: return .q8_0
        default: return stored
        }
    }
}
