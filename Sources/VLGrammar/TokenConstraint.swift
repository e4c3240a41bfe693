/// What an answer has to be; holds for any number of requests at once.
package final class TokenConstraint: Sendable {
    private enum Kind: Sendable {
        case boxes
        case grammar(BoundGrammar)
    }

    private let kind: Kind
    private let lexicon: Lexicon

    private init(_ kind: Kind, _ lexicon: Lexicon) {
        self.kind = kind
        self.lexicon = lexicon
    }

    /// Free text in which boxes are legal.
    package static func boxes(_ lexicon: Lexicon) -> TokenConstraint { TokenConstraint(.boxes, lexicon) }

    /// What a grammar allows.
    package static func grammar(_ grammar: BoundGrammar) -> TokenConstraint {
        TokenConstraint(.grammar(grammar), grammar.lexicon)
    }

    /// The beginning of an answer of at most so many tokens.
    package func begin(maxTokens: Int) -> any ConstraintState {
        switch kind {
        case .boxes: Matcher(BoxAutomaton(lexicon), lexicon, maxTokens: maxTokens)
        case .grammar(let grammar): Matcher(GrammarAutomaton(grammar), lexicon, maxTokens: maxTokens)
        }
    }
}

/// Where an answer under a constraint is; confined to one thread.
package protocol ConstraintState: AnyObject {
    /// Whether a token may come next: the grammar allows it, and behind it the answer can still be completed within its
    /// tokens.
    func permits(_ id: Int32) -> Bool
    /// Notes a token that was permitted.
    func accept(_ id: Int32)
    /// Whether the answer may end here.
    var isComplete: Bool { get }
    /// Whether the answer has to end here.
    var isOver: Bool { get }
    /// Sets the scores of tokens that must not come next to minus infinity.
    ///
    /// - Parameter isExact: whether to leave out, too, what the grammar allows but the tokens that are left do not.
    func restrict(_ scores: UnsafeMutableBufferPointer<Float>, isExact: Bool)
    /// The tokens that may come next, a bit each, from the lowest of the first word on.
    func allowedTokens() -> [UInt64]
    /// A token that may come next; nil if there is none.
    func anyToken() -> Int32?
}

/// Follows an answer through an automaton; masks are kept by state.
final class Matcher<Automaton: SymbolAutomaton>: ConstraintState {
    private var automaton: Automaton
    private let lexicon: Lexicon
    private var state: Int
    /// Tokens that may still come; nil if nothing is ever enough, so that the answer is cut wherever it is.
    private var remaining: Int?
    /// The last token that was asked about, and the state behind it.
    private var asked: (id: Int32, state: Int) = (-1, -1)
    private var walk: LexiconWalk
    /// Masks that took long to find, by state.
    private var masks = MaskCache()

    init(_ automaton: Automaton, _ lexicon: Lexicon, maxTokens: Int) {
        self.automaton = automaton
        self.lexicon = lexicon
        state = automaton.start
        remaining = automaton.cost(state) <= maxTokens ? maxTokens : nil
        walk = LexiconWalk(lexicon)
    }

    var isComplete: Bool { automaton.isComplete(state) }
    var isOver: Bool { automaton.isOver(state) }

    func permits(_ id: Int32) -> Bool {
        if lexicon.isEnd(id) { return isComplete }
        var new = state
        let isKnown = lexicon.spells(id) { symbol in
            new = automaton.next(new, symbol)
            return new >= 0
        }
        guard isKnown, fits(new) else { return false }
        asked = (id, new)
        return true
    }

    private func fits(_ new: Int) -> Bool {
        guard let remaining else { return true }
        return automaton.cost(new) < remaining
    }

    func accept(_ id: Int32) {
        guard !lexicon.isEnd(id), asked.id == id || permits(id) else { return }
        state = asked.state
        asked = (-1, -1)
        if let left = remaining { remaining = left - 1 }
        if let renamed = automaton.tidy(state) {
            state = renamed
            masks.clear()
        }
    }

    // MARK: Masks

    func restrict(_ scores: UnsafeMutableBufferPointer<Float>, isExact: Bool) {
        if isExact || isTight { return restrict(scores, fitting()) }
        if let known = masks.mask(state) { return restrict(scores, known) }
        restrict(scores, grammatical())
    }

    func allowedTokens() -> [UInt64] { isTight ? fitting() : grammatical() }

    func anyToken() -> Int32? {
        let words = fitting()
        guard let index = words.firstIndex(where: { $0 != 0 }) else { return nil }
        return Int32(index << 6 + words[index].trailingZeroBitCount)
    }

    /// Whether so few tokens are left that many that the grammar allows are too expensive.
    private var isTight: Bool {
        guard let remaining else { return false }
        return remaining <= automaton.cost(state) + 24
    }

    /// The tokens that the grammar allows.
    private func grammatical() -> [UInt64] {
        if let known = masks.mask(state) { return known }
        walk.clear()
        let visited = automaton.mark(state, lexicon, &walk)
        markEnds()
        if visited > MaskCache.worth { masks.keep(state, walk.words) }
        return walk.words
    }

    /// The tokens behind which the answer can still be completed.
    private func fitting() -> [UInt64] {
        guard let remaining else { return grammatical() }
        walk.clear()
        _ = walk.run(
            lexicon,
            0..<lexicon.nodeCount,
            from: state,
            passes: { self.automaton.cost($0) < remaining },
            { self.automaton.next($0, $1) }
        )
        markEnds()
        // Only a limit of the automaton's leaves nothing; then the tokens that are left count no longer.
        guard walk.words.contains(where: { $0 != 0 }) else {
            self.remaining = nil
            return grammatical()
        }
        return walk.words
    }

    private func markEnds() {
        if isComplete { for id in lexicon.endTokens { walk.insert(id) } }
    }

    private func restrict(_ scores: UnsafeMutableBufferPointer<Float>, _ words: [UInt64]) {
        words.withUnsafeBufferPointer { words in
            for (index, word) in words.enumerated() where word != .max {
                let first = index << 6
                let end = min(first + 64, scores.count)
                if word == 0 {
                    UnsafeMutableBufferPointer(rebasing: scores[first..<end]).update(repeating: -.infinity)
                } else {
                    for place in first..<end where word >> UInt64(place - first) & 1 == 0 {
                        scores[place] = -.infinity
                    }
                }
            }
        }
    }
}

/// The masks of states at which many tokens had to be looked at.
private struct MaskCache {
    /// Nodes of the lexicon from which on a mask is kept; fewer are looked at again as fast.
    static let worth = 1024
    private static let limit = 192

    private var masks: [Int: [UInt64]] = [:]
    /// The states of the masks, the oldest one at `oldest`.
    private var states: [Int] = []
    private var oldest = 0

    func mask(_ state: Int) -> [UInt64]? { masks[state] }

    mutating func keep(_ state: Int, _ words: [UInt64]) {
        if states.count < Self.limit {
            states.append(state)
        } else {
            masks[states[oldest]] = nil
            states[oldest] = state
            oldest = (oldest + 1) % Self.limit
        }
        masks[state] = words
    }

    /// Forgets all: states have other meanings now.
    mutating func clear() {
        masks.removeAll()
        states.removeAll()
        oldest = 0
    }
}
