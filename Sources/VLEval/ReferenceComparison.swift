import VLJSON

/// The answer of the official code to one question.
package struct ReferenceAnswer: Sendable, Equatable {
    /// The question's name.
    package let id: String
    /// The number of tokens of the prompt; nil where the file does not state it.
    package let promptTokenCount: Int?
    /// The tokens of the answer, without the one that ends it.
    package let tokens: [Int]
    /// The answer.
    package let text: String
    /// The smallest distance in logits by which a token of the answer won.
    package let lead: Double
}

/// Compares answers with those of the official code.
package struct ReferenceComparison: Sendable {
    /// An answer that is not the reference's.
    package struct Difference: Sendable, Equatable {
        /// The reference's answer.
        package let reference: ReferenceAnswer
        /// The other answer: its text, or its tokens as a list.
        package let found: String

        /// The question's name.
        package var id: String { reference.id }
        /// The reference's smallest lead.
        package var lead: Double { reference.lead }
        /// Whether rounding explains the difference: some token of the reference won by next to nothing.
        package var isForgiven: Bool { reference.lead < ReferenceComparison.forgivenLead }
    }

    private enum Outcome {
        case same
        case different(String)
    }

    /// The lead in logits below which a difference is forgiven.
    package static let forgivenLead = 0.01

    /// The answers of the file in the order of its lines.
    package let references: [ReferenceAnswer]
    private var outcomes: [Outcome?]
    private let places: [ExactString: Int]

    /// A comparison that has seen no answer.
    ///
    /// - Parameter references: the official code's answers; of two with one id the later counts.
    package init(_ references: [ReferenceAnswer]) {
        self.references = references
        outcomes = Array(repeating: nil, count: references.count)
        places = Dictionary(references.enumerated().map { (ExactString($1.id), $0) }) { $1 }
    }

    /// Reads a file of reference answers, one JSON object a line.
    ///
    /// - Parameters:
    ///   - bytes: the file.
    ///   - file: its name for errors.
    /// - Returns: a comparison that has seen no answer.
    /// - Throws: an error that names the first line that is no reference answer.
    package static func parse(_ bytes: [UInt8], file: String) throws(EvalError) -> ReferenceComparison {
        var references: [ReferenceAnswer] = []
        for (id, line) in try JSONLine.parse(bytes, file: file) {
            references.append(try reference(id, line))
        }
        return ReferenceComparison(references)
    }

    private static func reference(_ id: String, _ line: JSONLine) throws(EvalError) -> ReferenceAnswer {
        guard let lead = line.record["lead"]?.asDouble, lead >= 0 else {
            throw line.error("a number that is not negative", at: "lead")
        }
        let count = line.record["prompt_tokens"]
        guard count == nil || count?.asInt.map({ $0 >= 0 }) == true else {
            throw line.error("a whole number that is not negative", at: "prompt_tokens")
        }
        return ReferenceAnswer(
            id: id,
            promptTokenCount: count?.asInt,
            tokens: try line.array("ids", of: "token ids", \.asInt),
            text: try line.string("text"),
            lead: lead
        )
    }

    /// The reference's answer to the question `id`, if it has one.
    package func reference(_ id: String) -> ReferenceAnswer? {
        places[ExactString(id)].map { references[$0] }
    }

    /// Compares the tokens of an answer, without the one that ends it; a later answer replaces one before.
    ///
    /// - Returns: whether they are the reference's; nil if it has no answer to `id`.
    @discardableResult
    package mutating func add(_ id: String, tokens: [some BinaryInteger & Sendable]) -> Bool? {
        guard let place = places[ExactString(id)] else { return nil }
        let isSame = references[place].tokens.elementsEqual(tokens) { $0 == $1 }
        outcomes[place] = isSame ? .same : .different("[\(tokens.map { "\($0)" }.joined(separator: ", "))]")
        return isSame
    }

    /// Compares the text of an answer to the byte; a later answer replaces one before.
    ///
    /// - Returns: whether it is the reference's; nil if it has no answer to `id`.
    @discardableResult
    package mutating func add(_ id: String, text: String) -> Bool? {
        guard let place = places[ExactString(id)] else { return nil }
        let isSame = references[place].text.utf8.elementsEqual(text.utf8)
        outcomes[place] = isSame ? .same : .different(text)
        return isSame
    }

    /// The number of questions with an answer.
    package var comparedCount: Int { outcomes.count { $0 != nil } }

    /// The number of answers that are the reference's.
    package var sameCount: Int { comparedCount - differences.count }

    /// The names of the questions without an answer, in the order of the file.
    package var missing: [String] { zip(references, outcomes).filter { $0.1 == nil }.map(\.0.id) }

    /// The answers that are not the reference's, in the order of the file.
    package var differences: [Difference] {
        zip(references, outcomes).compactMap { reference, outcome in
            guard case .different(let found)? = outcome else { return nil }
            return Difference(reference: reference, found: found)
        }
    }

    /// Whether each answer is the reference's or forgiven.
    package var passes: Bool { differences.allSatisfy(\.isForgiven) }

    /// One line with the counts, and one for each difference with its lead.
    package var text: String {
        let found = differences
        let forgiven = found.count { $0.isForgiven }
        var text = "\(sameCount) of \(comparedCount) answers are the reference's"
        text += ", \(forgiven) differ at a lead below \(Self.forgivenLead)"
        text += ", \(found.count - forgiven) differ otherwise\n"
        for difference in found {
            text += "\(difference.id)  lead \(difference.lead)"
            text += difference.isForgiven ? "  forgiven\n" : "  different\n"
        }
        return text
    }
}
