import VLModels

/// From the names of a model's matrices to those of the tensors of a GGUF file.
enum ImportanceNames {
    /// Where the language model lies in a checkpoint that sees.
    private static let languages = ["language_model.", "language."]

    /// Where DeepSeek-VL's towers lie: with these before them, names are longer than a GGUF file allows.
    private static let towers = [
        ("vision_model.vision_tower_high.vision_tower.", "vision_high."),
        ("vision_model.vision_tower_low.vision_tower.", "vision_low."),
    ]

    /// The tensor's name, and the expert's number where experts are stacked.
    static func place(of matrix: String) -> GGUFNames.Place {
        for prefix in languages where matrix.hasPrefix(prefix) {
            if let place = GGUFNames.place(of: String(matrix.dropFirst(prefix.count))) { return place }
        }
        if let place = GGUFNames.place(of: matrix) { return place }
        for (long, short) in towers where matrix.hasPrefix(long) {
            return GGUFNames.Place(name: short + matrix.dropFirst(long.count))
        }
        return GGUFNames.Place(name: matrix)
    }

    /// Whether a matrix makes logits, or is looked up where it does not.
    static func isOutput(_ matrix: String) -> Bool {
        matrix.hasSuffix("lm_head.weight") || matrix.hasSuffix("embed_tokens.weight")
    }
}
