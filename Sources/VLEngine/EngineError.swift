/// Why a request cannot run.
package enum EngineError: Error, CustomStringConvertible {
    /// A prompt without tokens.
    case emptyPrompt
    /// The prompt does not fit; `imageTokens` says what each picture costs.
    case contextTooLong(tokens: Int, context: Int, imageTokens: [Int])
    /// A token that the model has no embedding for.
    case tokenOutOfRange(id: Int, vocabulary: Int)

    package var description: String {
        switch self {
        case .emptyPrompt:
            return "prompt: expected at least one token, found none"
        case .contextTooLong(let tokens, let context, let imageTokens):
            var text =
                "prompt: expected at most \(context - 1) tokens (the context is \(context)), found \(tokens): "
            text += "\(tokens - context + 1) too many"
            if !imageTokens.isEmpty {
                let images = imageTokens.enumerated().map { "image \($0 + 1): \($1)" }.joined(separator: ", ")
                text +=
                    "; the images cost \(imageTokens.reduce(0, +)) tokens (\(images)), and fewer or untiled images cost less"
            }
            return text
        case .tokenOutOfRange(let id, let vocabulary):
            return
                "prompt: expected tokens below \(vocabulary), found \(id): the tokenizer does not fit the model"
        }
    }
}
