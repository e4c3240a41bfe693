/// What goes into a GGUF file, and which of the layouts that readers of it know.
package struct GGUFForm: Sendable {
    /// Whether only the language model goes into the file, with the keys that llama.cpp reads.
    package var isTextOnly = false
    /// Whether `kv_b_proj` stays one tensor, as readers from before 2025 want it.
    package var joinsLatent = false
    /// Whether experts behind whole heads are of the architecture "deepseek", whose rows of queries and keys are
    /// turned for rotation by pairs, and not "deepseek2-ocr"; counts for `isTextOnly`.
    package var turnsRows = false

    /// The layout that llama.cpp's converter writes today, with all that the checkpoint holds.
    package init() {}
}
