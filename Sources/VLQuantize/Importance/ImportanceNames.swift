import VLModels

/// From the names of a model's matrices to those of the tensors of a GGUF file.
enum ImportanceNames {
    /// Where the language model lies in a checkpoint that sees.
    private static let languages = ["language_model.", "language."]

    /// The tensor's name, and the expert's number where experts are stacked.
    static func place(of matrix: String) -> GGUFNames.Place {
        for prefix in languages where matrix.hasPrefix(prefix) {
            if let place = GGUFNames.place(of: String(matrix.dropFirst(prefix.count))) { return place }
        }
        return GGUFNames.place(of: matrix) ?? GGUFNames.Place(name: matrix)
    }

    /// Whether a matrix makes logits, or is looked up where it does not.
    static func isOutput(_ matrix: String) -> Bool {
        matrix.hasSuffix("lm_head.weight") || matrix.hasSuffix("embed_tokens.weight")
    }
}
