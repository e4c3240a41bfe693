import DeepSeekVL
import VLEngine
import VLJSON

/// What an event adds to an answer to a conversation.
struct AnswerPiece {
    var text = ""
    /// Entries of its tokens; nil if probabilities are not reported.
    var probabilities: [JSONValue]?
    var grounding: [JSONValue] = []
}

/// What is known of one answer to a conversation while it is given.
struct AnswerSoFar: Sendable {
    private(set) var text = ""
    private(set) var tokens = 0
    private(set) var probabilities: [JSONValue] = []
    private(set) var grounding: [JSONValue] = []
    private(set) var problems: [String] = []
    /// Why it ended; nil before.
    private(set) var reason: FinishReason?
    /// The stop string that ended it.
    private(set) var stopString: String?
    private let frames: [Frame]
    /// What words probabilities; nil if they are not reported.
    private let reports: TokenReports?

    /// - Parameter prompt: what it answers, with the pictures that its boxes lie on.
    init(_ request: ChatRequest, _ prompt: DeskPrompt, _ model: ServedModel) {
        frames = prompt.frames
        reports = request.reportsProbabilities ? TokenReports(tokenizer: model.tokenizer) : nil
    }

    /// Notes what happened, and gives what it adds; nil for nothing.
    ///
    /// - Throws: `APIError` for an answer that did not come to an end.
    mutating func take(_ event: ServedEvent) throws(APIError) -> AnswerPiece? {
        switch event {
        case .token(let token, let new, let isEnd):
            guard !isEnd else { return nil }
            tokens += 1
            text += new
            let entries = reports.map { [$0.entry(token)] }
            probabilities += entries ?? []
            return new.isEmpty && entries == nil ? nil : AnswerPiece(text: new, probabilities: entries)
        case .box(let box):
            return GroundingReport.json(box, frames).map { AnswerPiece(grounding: [$0]) }
        case .finished(let end):
            guard end.reason.publicName != nil else { throw .unfinished(end) }
            text += end.rest
            reason = end.reason
            stopString = end.stopString
            grounding = end.boxes.compactMap { GroundingReport.json($0, frames) }
            problems = end.problems
            return AnswerPiece(text: end.rest)
        case .accepted, .started, .pictures, .prefilled, .scored: return nil
        }
    }

    /// The members of an answer that report its boxes; none for a conversation without pictures.
    var groundingMembers: [(key: String, value: JSONValue)] {
        guard !frames.isEmpty else { return [] }
        var members: [(key: String, value: JSONValue)] = [("grounding", .array(grounding))]
        if !problems.isEmpty {
            members.append(("grounding_problems", .array(problems.map { .string($0) })))
        }
        return members
    }
}

extension APIError {
    /// An answer that did not come to its end.
    static func unfinished(_ end: ServedEnd) -> APIError {
        end.isExpired
            ? APIError(504, "the answer took longer than this server allows", code: "timeout")
            : APIError(503, "the request was cancelled", code: "cancelled")
    }
}
