import VLModels

/// From the names of a model's matrices to those of the tensors of a GGUF file.
enum ImportanceNames {
    /// The tensor's name, and the expert's number where experts are stacked.
    static func place(of matrix: String) -> GGUFNames.Place { GGUFNames.place(inCheckpoint: matrix) }

    /// Whether a matrix makes logits, or is looked up where it does not.
    static func isOutput(_ matrix: String) -> Bool {
        matrix.hasSuffix("lm_head.weight") || matrix.hasSuffix("embed_tokens.weight")
    }
}
