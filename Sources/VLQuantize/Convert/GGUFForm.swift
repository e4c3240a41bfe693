/// What goes into a GGUF file, and which of the layouts that readers of it know.
package struct GGUFForm: Sendable {
    /// Which tensors of a checkpoint.
    package enum Part: Sendable {
        case all
        /// The language model alone, with the keys that llama.cpp reads.
        case language
        /// What sees, alone: the vision tower and the projector, for a file beside that of the language model.
        case vision
    }

    package var part = Part.all
    /// Whether `kv_b_proj` stays one tensor, as readers from before 2025 want it.
    package var joinsLatent = false
    /// Whether experts behind whole heads are of the architecture "deepseek", whose rows of queries and keys are
    /// turned for rotation by pairs, and not "deepseek2-ocr"; counts for the language model alone.
    package var turnsRows = false

    /// Whether only the language model goes into the file.
    package var isTextOnly: Bool {
        get { part == .language }
        set { part = newValue ? .language : .all }
    }

    /// The layout that llama.cpp's converter writes today, with all that the checkpoint holds.
    package init() {}
}
