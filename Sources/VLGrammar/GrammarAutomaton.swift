/// Follows a grammar in all ways that are possible at once.
///
/// A way is a node and a stack of the nodes behind the calls that are open. Stacks, sets of ways and what follows them
/// are found once and kept, so that a step that was seen before is one look into a table. Where there would be too many
/// ways or states, some are left out: the answer is right all the same.
struct GrammarAutomaton: SymbolAutomaton {
    /// Ways that are followed at once.
    private static let wayLimit = 512
    /// States that are kept; from `tidyLimit` on all are forgotten before the next token.
    private static let stateLimit = 24_576
    private static let tidyLimit = 8192
    private static let stackLimit = 1 << 20
    private static let unknown: Int32 = -2
    private static let dead: Int32 = -1

    private let bound: BoundGrammar
    private(set) var start = 0

    // Stacks: each adds one node to another one; stack 0 is empty.
    private var stackNodes: [Int32] = [0]
    private var stackParents: [Int32] = [0]
    private var stackHeights: [Int32] = [0]
    private var stackCosts: [Int32] = [0]
    private var stacks: [UInt64: Int32] = [:]

    /// The ways of state `i` are `ways[wayStarts[i]..<wayStarts[i + 1]]`: a node in the high half, a stack in the low one.
    private var ways: [UInt64] = []
    private var wayStarts: [Int32] = [0]
    private var completes: [Bool] = []
    private var costs: [Int32] = []
    private var states: [[UInt64]: Int32] = [:]
    /// What follows each state by each byte.
    private var table: [Int32] = []

    // Memory for finding a state.
    private var found: Set<UInt64> = []
    private var waiting: [UInt64] = []
    private var kept: [UInt64] = []

    init(_ bound: BoundGrammar) {
        self.bound = bound
        begin()
        start = Int(max(0, close()))
    }

    private mutating func begin() {
        waiting.removeAll(keepingCapacity: true)
        waiting.append(Self.way(bound.grammar.start, 0))
    }

    private static func way(_ node: Int32, _ stack: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: node)) << 32 | UInt64(UInt32(bitPattern: stack))
    }

    private static func node(_ way: UInt64) -> Int32 { Int32(truncatingIfNeeded: way >> 32) }
    private static func stack(_ way: UInt64) -> Int32 { Int32(truncatingIfNeeded: way) }

    // MARK: States

    func isComplete(_ state: Int) -> Bool { completes[state] }

    func isOver(_ state: Int) -> Bool { completes[state] && wayStarts[state] == wayStarts[state + 1] }

    func cost(_ state: Int) -> Int { Int(costs[state]) }

    mutating func next(_ state: Int, _ symbol: Int) -> Int {
        guard symbol < 256 else { return -1 }
        let place = state << 8 | symbol
        let known = table[place]
        if known != Self.unknown { return Int(known) }
        let grammar = bound.grammar
        waiting.removeAll(keepingCapacity: true)
        for index in Int(wayStarts[state])..<Int(wayStarts[state + 1]) {
            let next = grammar.next(Self.node(ways[index]), symbol)
            if next >= 0 { waiting.append(Self.way(next, Self.stack(ways[index]))) }
        }
        let new = waiting.isEmpty ? Self.dead : close()
        table[place] = new
        return Int(new)
    }

    mutating func tidy(_ state: Int) -> Int? {
        guard completes.count > Self.tidyLimit || stackNodes.count > Self.stackLimit / 2 else { return nil }
        // Only the ways at hand go on; their stacks are made anew.
        let old = (stackNodes, stackParents)
        let here = Array(ways[Int(wayStarts[state])..<Int(wayStarts[state + 1])])
        let isComplete = completes[state]
        stackNodes = [0]
        stackParents = [0]
        stackHeights = [0]
        stackCosts = [0]
        stacks.removeAll()
        ways.removeAll()
        wayStarts = [0]
        completes.removeAll()
        costs.removeAll()
        states.removeAll()
        table.removeAll()
        begin()
        start = Int(max(0, close()))
        var renamed: [Int32: Int32] = [0: 0]
        func rename(_ stack: Int32) -> Int32 {
            var chain: [Int32] = []
            var last = stack
            while renamed[last] == nil {
                chain.append(last)
                last = old.1[Int(last)]
            }
            var new = renamed[last] ?? 0
            for item in chain.reversed() {
                new = push(old.0[Int(item)], new)
                renamed[item] = new
            }
            return new
        }
        kept = here.map { Self.way(Self.node($0), rename(Self.stack($0))) }.sorted()
        return Int(intern(isComplete: isComplete))
    }

    /// A stack with a node more, or the empty one if there is no room.
    private mutating func push(_ node: Int32, _ stack: Int32) -> Int32 {
        let key = Self.way(node, stack)
        if let known = stacks[key] { return known }
        stackNodes.append(node)
        stackParents.append(stack)
        stackHeights.append(stackHeights[Int(stack)] + 1)
        stackCosts.append(
            min(stackCosts[Int(stack)] + bound.costs[Int(node)], ConstraintGrammar.unreachable)
        )
        let new = Int32(stackNodes.count - 1)
        stacks[key] = new
        return new
    }

    /// The state of all ways that those of `waiting` are without a byte; `dead` if there is none.
    private mutating func close() -> Int32 {
        found.removeAll(keepingCapacity: true)
        kept.removeAll(keepingCapacity: true)
        var isComplete = false
        let grammar = bound.grammar
        while let way = waiting.popLast() {
            let node = Int(Self.node(way))
            let stack = Self.stack(way)
            // Ways without an end, and those that would have to call deeper than is allowed, are none.
            guard bound.costs[node] < ConstraintGrammar.unreachable,
                stackHeights[Int(stack)] + bound.heights[node] <= ConstraintGrammar.heightLimit,
                found.count < 16 * Self.wayLimit, found.insert(way).inserted
            else { continue }
            if grammar.isEnd[node] {
                if stack == 0 {
                    isComplete = true
                } else {
                    waiting.append(Self.way(stackNodes[Int(stack)], stackParents[Int(stack)]))
                }
            }
            for next in grammar.silent[node] { waiting.append(Self.way(next, stack)) }
            for call in grammar.calls[node] where stackNodes.count < Self.stackLimit {
                guard bound.costs[Int(call.rule)] < ConstraintGrammar.unreachable,
                    bound.costs[Int(call.next)] < ConstraintGrammar.unreachable
                else { continue }
                waiting.append(Self.way(call.rule, push(call.next, stack)))
            }
            if !grammar.edges[node].isEmpty { kept.append(way) }
        }
        guard isComplete || !kept.isEmpty else { return Self.dead }
        kept.sort()
        if kept.count > Self.wayLimit { kept.removeLast(kept.count - Self.wayLimit) }
        return intern(isComplete: isComplete)
    }

    /// The state of the ways in `kept`.
    private mutating func intern(isComplete: Bool) -> Int32 {
        // The flag is a way of its own in the key.
        let key = isComplete ? kept + [.max] : kept
        if let known = states[key] { return known }
        guard completes.count < Self.stateLimit else { return Self.dead }
        var cost = isComplete ? 0 : ConstraintGrammar.unreachable
        for way in kept where !isComplete {
            cost = min(cost, bound.costs[Int(Self.node(way))] + stackCosts[Int(Self.stack(way))])
        }
        ways.append(contentsOf: kept)
        wayStarts.append(Int32(ways.count))
        completes.append(isComplete)
        costs.append(cost)
        table.append(contentsOf: repeatElement(Self.unknown, count: 256))
        let new = Int32(completes.count - 1)
        states[key] = new
        return new
    }

    // MARK: Masks

    mutating func mark(_ state: Int, _ lexicon: Lexicon, _ walk: inout LexiconWalk) -> Int {
        var words = [UInt64](repeating: 0, count: walk.words.count)
        var visited = 0
        var light: [UInt64] = []
        for way in ways[Int(wayStarts[state])..<Int(wayStarts[state + 1])] {
            let node = Self.node(way)
            guard bound.grammar.isText[Int(node)] else {
                light.append(way)
                continue
            }
            let inside = bound.inside(node, &walk)
            for index in words.indices { words[index] |= inside.words[index] }
            visited += lexicon.nodeCount
            let stack = Self.stack(way)
            guard stack != 0 else { continue }
            waiting.removeAll(keepingCapacity: true)
            waiting.append(Self.way(stackNodes[Int(stack)], stackParents[Int(stack)]))
            let outside = Int(close())
            guard outside >= 0 else { continue }
            walk.clear()
            for exit in inside.exits {
                let branch = Int(exit) + 1..<Int(lexicon.skips[Int(exit)])
                _ = walk.run(lexicon, branch, from: outside) { next($0, $1) }
            }
            for index in words.indices { words[index] |= walk.words[index] }
        }
        walk.clear()
        if !light.isEmpty {
            kept = light
            let start = Int(intern(isComplete: false))
            if start >= 0 {
                visited += walk.run(lexicon, 0..<lexicon.nodeCount, from: start) { next($0, $1) }
            }
        }
        walk.merge(words)
        return visited
    }
}
