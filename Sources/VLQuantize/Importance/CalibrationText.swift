/// Cuts calibration texts as llama.cpp's `llama-imatrix` does.
package enum CalibrationText {
    /// Whole chunks of `size` tokens side by side, each with its first tokens replaced by what a text begins with.
    ///
    /// What is left at the end is dropped, unless it is all that there is.
    ///
    /// - Parameter begin: the begin token; empty for a model without one.
    package static func chunks(_ ids: [Int32], begin: [Int32], size: Int) -> [[Int32]] {
        let whole = begin + ids
        guard whole.count > begin.count else { return [] }
        guard whole.count >= size else { return [whole] }
        return stride(from: 0, through: whole.count - size, by: size).map { start in
            var chunk = Array(whole[start..<start + size])
            chunk.replaceSubrange(0..<min(begin.count, size), with: begin.prefix(size))
            return chunk
        }
    }
}
