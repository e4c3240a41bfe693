/// A thing that the answer points at.
public struct GroundedObject: Sendable, Equatable {
    /// What the answer calls it.
    public var label: String
    /// Which picture of the conversation, from 0.
    ///
    /// The models name none: it is the last one, as in the official code.
    public var image: Int
    /// Left, top, right, bottom as answered, from 0 to 999 of the picture's sides.
    public var box: [Int]
    /// The box in pixels of the upright picture.
    public var pixels: [Int]
    /// The box in pixels of the picture as it is stored.
    public var storedPixels: [Int]
    /// Geometric mean of the probabilities of the tokens that spell the box, from 0 to 1.
    public var confidence: Double
}

/// How many tokens a request took.
public struct Usage: Sendable, Equatable {
    /// Tokens of the prompt, pictures included.
    public var promptTokens = 0
    /// Tokens of the prompt that are pictures.
    public var imageTokens = 0
    /// Tokens of the prompt that were in the cache already.
    public var cachedTokens = 0
    /// Tokens of the answer.
    public var completionTokens = 0
}

/// A finished answer.
public struct Answer: Sendable {
    /// The text with special tokens kept.
    public var text: String
    /// Why it ended: "stop", "length", "stop_string", "repetition" or "cancelled".
    public var finishReason: String
    /// The things that it points at.
    public var grounding: [GroundedObject]
    /// What is wrong with boxes that could not be used.
    public var groundingProblems: [String]
    /// Tokens that it took.
    public var usage: Usage
    /// Ids of the answer's tokens, without the final end token.
    public var tokens: [Int]
    /// The formatted prompt.
    public var prompt: String
    /// Ids of the prompt's tokens.
    public var promptTokens: [Int]
    /// Start and length of each picture's tokens in the prompt.
    public var imageSpans: [[Int]]

    /// The text without the tags of grounding, for people.
    public var plainText: String {
        var text = text
        for tag in ["<|ref|>", "<|/ref|>", "<|grounding|>"] {
            text = text.split(separator: tag, omittingEmptySubsequences: false).joined()
        }
        while let start = text.firstRange(of: "<|det|>") {
            let rest = text[start.upperBound...]
            let end = rest.firstRange(of: "<|/det|>")?.upperBound ?? text.endIndex
            text.removeSubrange(start.lowerBound..<end)
        }
        return text
    }
}

/// What happens while an answer is made.
public enum AnswerEvent: Sendable {
    /// So many tiles of all pictures are encoded.
    case tilesEncoded(Int, of: Int)
    /// So many tokens of the prompt are computed.
    case tokensPrefilled(Int, of: Int)
    /// More text of the answer: whole characters.
    case text(String)
    /// The answer is finished.
    case finished(Answer)
}
