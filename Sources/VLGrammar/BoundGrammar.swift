import Synchronization

/// A grammar that has texts, and how deep its rules have to call each other at least.
package struct ConstraintGrammar: Sendable {
    let grammar: Grammar
    /// The fewest calls that are open at once from each node to the end of its rule; `unreachable` if it has none.
    let heights: [Int32]

    static let unreachable = Int32.max / 4
    /// Calls that may be open at once.
    static let heightLimit: Int32 = 128
    private static let workLimit = 100_000_000

    /// - Throws: `GrammarError.impossible` for a grammar without texts, `GrammarError.limit`.
    init(_ grammar: Grammar) throws(GrammarError) {
        self.grammar = grammar
        heights = try Self.leastValues(grammar, edge: { _, _ in 0 }, call: { max($0 + 1, $1) })
        guard heights[Int(grammar.start)] < Self.unreachable else {
            throw .impossible(pointer: "#", reason: "every value would have to hold another one without end")
        }
        guard heights[Int(grammar.start)] < Self.heightLimit else {
            throw .limit("levels", pointer: "#", expected: Int(Self.heightLimit) / 2)
        }
    }

    /// For each node the least value of a way to the end of its rule.
    ///
    /// - Parameters:
    ///   - edge: what an edge adds.
    ///   - call: the value of a call from those of the called rule and of what follows.
    static func leastValues(
        _ grammar: Grammar,
        edge: (Int, Grammar.Edge) -> Int32,
        call: (Int32, Int32) -> Int32,
        other: (Int, [Int32]) -> Int32 = { _, _ in unreachable }
    ) throws(GrammarError) -> [Int32] {
        var values = [Int32](repeating: unreachable, count: grammar.count)
        var work = 0
        var isForward = false
        while true {
            var hasChanged = false
            func visit(_ node: Int) {
                var value = grammar.isEnd[node] ? 0 : values[node]
                for next in grammar.edges[node] where values[Int(next.target)] < unreachable {
                    value = min(value, values[Int(next.target)] + edge(node, next))
                }
                for next in grammar.silent[node] { value = min(value, values[Int(next)]) }
                for next in grammar.calls[node] {
                    let rule = values[Int(next.rule)]
                    let rest = values[Int(next.next)]
                    if rule < unreachable && rest < unreachable { value = min(value, call(rule, rest)) }
                }
                value = min(value, other(node, values))
                if value < values[node] {
                    values[node] = value
                    hasChanged = true
                }
                work += 1 + grammar.edges[node].count
            }
            // Most ways lead to nodes that were made later.
            if isForward {
                for node in values.indices { visit(node) }
            } else {
                for node in values.indices.reversed() { visit(node) }
            }
            isForward.toggle()
            guard hasChanged else { return values }
            guard work < workLimit else {
                throw .limit("steps to see where it ends", pointer: "#", expected: workLimit)
            }
        }
    }
}

/// A grammar over a vocabulary; immutable but for what it remembers, one value serves any number of requests.
package final class BoundGrammar: Sendable {
    /// What may follow within a node's rule, for all places that call it.
    struct Inside: Sendable {
        /// Tokens that stay within the rule, a bit each.
        let words: [UInt64]
        /// Nodes of the lexicon at which the rule may end within a token that goes on.
        let exits: [Int32]
    }

    let grammar: Grammar
    let heights: [Int32]
    let lexicon: Lexicon
    /// Tokens from each node to the end of its rule, if they are chosen for that.
    let costs: [Int32]
    private let insides = Mutex<[Int32: Inside]>([:])
    /// Kept parts at most; each has a bit for every token.
    private static let insideLimit = 512

    /// - Throws: `GrammarError.impossible` if the vocabulary has no text of the grammar.
    package init(_ source: ConstraintGrammar, _ lexicon: Lexicon) throws(GrammarError) {
        grammar = source.grammar
        heights = source.heights
        self.lexicon = lexicon
        let grammar = source.grammar
        let chains = Self.chains(grammar, lexicon)
        costs = try ConstraintGrammar.leastValues(
            grammar,
            edge: { _, edge in
                for byte in edge.first...edge.last where lexicon.isSingle[Int(byte)] { return 1 }
                return ConstraintGrammar.unreachable
            },
            call: { min($0 + $1, ConstraintGrammar.unreachable) },
            other: { node, values in
                chains[node]?.reduce(ConstraintGrammar.unreachable) { min($0, 1 + values[Int($1)]) }
                    ?? ConstraintGrammar.unreachable
            }
        )
        guard costs[Int(grammar.start)] < ConstraintGrammar.unreachable else {
            throw .impossible(pointer: "#", reason: "the model's vocabulary cannot spell it")
        }
    }

    /// For nodes from which one way leads, where its tokens of several bytes end.
    private static func chains(_ grammar: Grammar, _ lexicon: Lexicon) -> [Int: [Int32]] {
        var result: [Int: [Int32]] = [:]
        func single(_ node: Int32) -> (byte: UInt8, next: Int32)? {
            let node = Int(node)
            guard grammar.edges[node].count == 1, grammar.calls[node].isEmpty, grammar.silent[node].isEmpty,
                let edge = grammar.edges[node].first, edge.first == edge.last
            else { return nil }
            return (edge.first, edge.target)
        }
        for node in 0..<Int32(grammar.count) {
            var here = node
            var place = -1
            var ends: [Int32] = []
            while let step = single(here), let next = lexicon.child(place, Int(step.byte)) {
                place = next
                here = step.next
                if lexicon.hasTokens(place) { ends.append(here) }
            }
            if !ends.isEmpty { result[Int(node)] = ends }
        }
        return result
    }

    /// What may follow a node within its rule.
    func inside(_ node: Int32, _ walk: inout LexiconWalk) -> Inside {
        if let known = insides.withLock({ $0[node] }) { return known }
        walk.clear()
        var exits: [Int32] = []
        _ = walk.run(lexicon, 0..<lexicon.nodeCount, from: Int(node)) { state, symbol, place in
            guard symbol < 256 else { return -1 }
            let next = grammar.next(Int32(state), symbol)
            if next >= 0, grammar.isEnd[Int(next)], Int(lexicon.skips[place]) > place + 1 {
                exits.append(Int32(place))
            }
            return Int(next)
        }
        let new = Inside(words: walk.words, exits: exits)
        insides.withLock {
            if $0.count >= Self.insideLimit { $0.removeAll() }
            $0[node] = new
        }
        return new
    }
}
