/// What may follow what, symbol by symbol; states are numbers.
protocol SymbolAutomaton {
    /// Where an answer begins.
    var start: Int { get }
    /// The state behind a symbol, negative if the symbol may not come.
    mutating func next(_ state: Int, _ symbol: Int) -> Int
    /// Whether the answer may end.
    func isComplete(_ state: Int) -> Bool
    /// Whether the answer has to end: it is complete, and nothing may follow.
    func isOver(_ state: Int) -> Bool
    /// Tokens that complete the answer at most, if the cheapest ones are taken; 0 for a complete one.
    ///
    /// From every state there is a token behind which this is smaller.
    func cost(_ state: Int) -> Int
    /// Forgets states if there are many.
    ///
    /// - Returns: the new number of a state; nil if nothing was forgotten, else no other number is good any more.
    mutating func tidy(_ state: Int) -> Int?
    /// Sets the bits of all tokens that may come; nodes of the lexicon that were looked at.
    mutating func mark(_ state: Int, _ lexicon: Lexicon, _ walk: inout LexiconWalk) -> Int
}

extension SymbolAutomaton {
    mutating func tidy(_ state: Int) -> Int? { nil }

    mutating func mark(_ state: Int, _ lexicon: Lexicon, _ walk: inout LexiconWalk) -> Int {
        walk.run(lexicon, 0..<lexicon.nodeCount, from: state) { next($0, $1) }
    }
}

/// A walk through a lexicon's tree that collects tokens, with the memory that it needs.
struct LexiconWalk {
    /// A bit for each token of the vocabulary.
    var words: [UInt64]
    /// The state behind each symbol of the branch at hand.
    private var states: [Int]

    init(_ lexicon: Lexicon) {
        words = [UInt64](repeating: 0, count: (lexicon.vocabularySize + 63) / 64)
        states = [Int](repeating: 0, count: lexicon.depth + 1)
    }

    /// Forgets all tokens.
    mutating func clear() {
        words.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
    }

    /// Adds the tokens of another mask.
    mutating func merge(_ other: [UInt64]) {
        for index in words.indices { words[index] |= other[index] }
    }

    /// Adds a token.
    mutating func insert(_ id: Int32) { words[Int(id) >> 6] |= 1 << UInt64(id & 63) }

    /// Walks from a state through a range of nodes, which is the tree or the inside of a branch, and adds the tokens.
    ///
    /// - Parameter passes: whether a token may end in a state; nil if it may in all.
    /// - Returns: nodes that were looked at.
    @inline(__always)
    mutating func run(
        _ lexicon: Lexicon,
        _ nodes: Range<Int>,
        from state: Int,
        passes: ((Int) -> Bool)? = nil,
        _ next: (Int, Int) -> Int
    ) -> Int {
        run(lexicon, nodes, from: state, passes: passes) { state, symbol, _ in next(state, symbol) }
    }

    /// The same; `next` is told the node of the lexicon, too.
    @inline(__always)
    mutating func run(
        _ lexicon: Lexicon,
        _ nodes: Range<Int>,
        from state: Int,
        passes: ((Int) -> Bool)? = nil,
        _ next: (Int, Int, Int) -> Int
    ) -> Int {
        guard !nodes.isEmpty else { return 0 }
        var visited = 0
        lexicon.symbols.withUnsafeBufferPointer { symbols in
            lexicon.depths.withUnsafeBufferPointer { depths in
                lexicon.tokenStarts.withUnsafeBufferPointer { tokenStarts in
                    let base = Int(depths[nodes.lowerBound]) - 1
                    states[base] = state
                    var node = nodes.lowerBound
                    while node < nodes.upperBound {
                        visited += 1
                        let depth = Int(depths[node])
                        let new = next(states[depth - 1], Int(symbols[node]), node)
                        if new < 0 {
                            node = Int(lexicon.skips[node])
                            continue
                        }
                        states[depth] = new
                        let first = Int(tokenStarts[node])
                        let end = Int(tokenStarts[node + 1])
                        if first < end, passes?(new) ?? true {
                            for place in first..<end { insert(lexicon.tokens[place]) }
                        }
                        node += 1
                    }
                }
            }
        }
        return visited
    }
}
