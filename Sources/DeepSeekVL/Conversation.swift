/// What was asked and answered so far, with its pictures: a value without a model.
public struct Conversation: Sendable {
    /// A question and its answer.
    public struct Turn: Sendable {
        /// The question, with a tag where each picture goes.
        public var question: String
        /// The question's pictures, in the order of their tags.
        public var pictures: [Picture]
        /// The answer with special tokens kept; empty for a question that was not answered.
        public var answer: String
        /// Why the answer ended, as in `Answer`; empty if it was not made here.
        public var finishReason = ""
        /// Tokens that the turn took.
        public var usage = Usage()
        /// Turns that the model no longer saw before this one.
        var forgottenBefore = 0

        /// A turn that was had elsewhere.
        public init(question: String, pictures: [Picture] = [], answer: String) {
            self.question = question
            self.pictures = pictures
            self.answer = answer
        }
    }

    /// A text that is put before the first turn.
    public var system: String?
    /// All turns, oldest first.
    public internal(set) var turns: [Turn]
    /// Turns at the beginning that no longer fit and that the model does not see.
    public internal(set) var forgottenTurns = 0

    /// A conversation that begins with these turns.
    public init(system: String? = nil, turns: [Turn] = []) {
        self.system = system
        self.turns = turns
    }
}

/// What happens while a conversation goes on.
public enum ChatEvent: Sendable {
    /// These turns, by their place from 0, no longer fit: the model does not see them from now on.
    case turnsDropped(Range<Int>)
    /// Pictures of earlier turns are tiled now, or no longer, since their number changed (`Tiling.auto`): they are
    /// encoded anew.
    case tilingChanged(isTiled: Bool)
    /// So many tiles of new pictures are encoded.
    case tilesEncoded(Int, of: Int)
    /// So many tokens of the prompt are computed, those that were known already included.
    case tokensPrefilled(Int, of: Int)
    /// More text of the answer: whole characters.
    case text(String)
    /// The answer is finished.
    case finished(Answer)
}

/// How a chat goes on.
public struct ChatSettings: Sendable, Equatable {
    /// How answers are generated.
    ///
    /// Each answer of a session draws from the seed after the one before, so that a second try differs.
    public var parameters: Parameters
    /// When pictures are cut into tiles.
    public var tiling = Tiling.auto
    /// What is done with a photo's orientation tag.
    public var exif = EXIFOrientation.apply
    /// Most tokens of a prompt; nil for what the model can take.
    public var historyTokens: Int?

    /// The values of the official terminal chat: temperature 0.2, top-p 0.95, repetition penalty 1.1, 512 tokens.
    public init() {
        parameters = Parameters()
        parameters.temperature = 0.2
        parameters.topP = 0.95
        parameters.repetitionPenalty = 1.1
        parameters.maxTokens = 512
    }

    /// Checks all ranges.
    ///
    /// - Throws: `DeepSeekVLError.parameter`.
    package func validate() throws(DeepSeekVLError) {
        try parameters.validate()
        if let historyTokens, historyTokens < 1 {
            throw .parameter(name: "history", expected: "a whole number from 1", found: "\(historyTokens)")
        }
    }
}

/// What a conversation costs.
public struct TokenReport: Sendable, Equatable {
    /// What a picture costs.
    public struct Image: Sendable, Equatable {
        /// File name, or what else messages call it.
        public var name: String
        /// Tokens in the prompt.
        public var tokens: Int
        /// Local tiles across and down.
        public var tilesAcross: Int
        /// Local tiles down.
        public var tilesDown: Int
    }

    /// What a turn costs.
    public struct Turn: Sendable, Equatable {
        /// Place in the conversation, from 0.
        public var number: Int
        /// Tokens of the question's text and of what stands around it; in the first turn also what every prompt begins
        /// with.
        public var text: Int
        /// The question's pictures.
        public var images: [Image]
        /// Tokens of the answer, its end token included.
        public var answer: Int

        /// All of the turn.
        public var total: Int { text + images.reduce(0) { $0 + $1.tokens } + answer }
    }

    /// Tokens of the system text.
    public var system: Int
    /// The turns that the model sees.
    public var turns: [Turn]
    /// Turns that it no longer sees.
    public var forgottenTurns: Int
    /// Tokens that prompt and answer together may have.
    public var context: Int
    /// Tokens of all that the model sees, whose keys and values are at hand.
    public var cached: Int

    /// Tokens of the whole conversation.
    public var used: Int { system + turns.reduce(0) { $0 + $1.total } }
    /// Tokens that are left for the next question and its answer.
    public var left: Int { max(0, context - used) }
}
