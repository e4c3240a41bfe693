/// A limit of the work on one regular expression.
enum AutomatonFailure: Error {
    case tooLarge(Int)
}

/// A deterministic automaton over bytes, from each of whose states an end can be reached.
struct FiniteAutomaton: Sendable {
    struct Edge: Sendable, Equatable {
        let first: UInt8
        var last: UInt8
        let target: Int32
    }

    /// States of one automaton at most.
    static let stateLimit = 1 << 14
    /// Pairs of a state and an edge that are looked at at most while one is made.
    private static let workLimit = 5_000_000

    /// The edges of each state, by ascending bytes; state 0 is the first one.
    var edges: [[Edge]]
    var isEnd: [Bool]

    init(edges: [[Edge]], isEnd: [Bool]) {
        self.edges = edges
        self.isEnd = isEnd
    }

    /// Whether it has no text at all.
    var isEmpty: Bool { edges.isEmpty }

    /// The automaton of an expression.
    ///
    /// - Throws: `AutomatonFailure` if it would be too large.
    init(_ expression: Expression) throws(AutomatonFailure) {
        var net = Net()
        let end = try net.add(expression, from: 0)
        var sets: [[Int32]: Int32] = [:]
        var members: [[Int32]] = []
        edges = []
        isEnd = []
        var work = 0
        func state(_ set: [Int32]) throws(AutomatonFailure) -> Int32 {
            if let known = sets[set] { return known }
            guard members.count < Self.stateLimit else { throw .tooLarge(Self.stateLimit) }
            sets[set] = Int32(members.count)
            members.append(set)
            return Int32(members.count - 1)
        }
        _ = try state(net.closure([0]))
        var next = 0
        while next < members.count {
            let set = members[next]
            isEnd.append(set.contains(Int32(end)))
            let all = set.flatMap { net.edges[Int($0)] }
            var new: [Edge] = []
            for range in Self.parts(all) {
                work += all.count
                guard work < Self.workLimit else { throw .tooLarge(Self.workLimit) }
                let targets = all.compactMap {
                    $0.first <= range.first && range.last <= $0.last ? $0.target : nil
                }
                guard !targets.isEmpty else { continue }
                let closure = net.closure(targets)
                work += closure.count
                new.append(Edge(first: range.first, last: range.last, target: try state(closure)))
            }
            edges.append(Self.joined(new))
            next += 1
        }
        trim()
    }

    /// The ranges into which the edges' ends cut the bytes.
    private static func parts(_ edges: [Edge]) -> [(first: UInt8, last: UInt8)] {
        var starts = [Bool](repeating: false, count: 257)
        for edge in edges {
            starts[Int(edge.first)] = true
            starts[Int(edge.last) + 1] = true
        }
        let cuts = (0...256).filter { starts[$0] }
        return zip(cuts, cuts.dropFirst()).map { (UInt8($0), UInt8($1 - 1)) }
    }

    private static func joined(_ edges: [Edge]) -> [Edge] {
        var result: [Edge] = []
        for edge in edges {
            if let before = result.last, before.target == edge.target, before.last < 255,
                before.last + 1 == edge.first
            {
                result[result.count - 1].last = edge.last
            } else {
                result.append(edge)
            }
        }
        return result
    }

    /// Removes states from which no end can be reached; none is left if that is all.
    mutating func trim() {
        var sources = [[Int32]](repeating: [], count: edges.count)
        for (state, list) in edges.enumerated() {
            for edge in list { sources[Int(edge.target)].append(Int32(state)) }
        }
        var isAlive = isEnd
        var waiting = isEnd.indices.filter { isEnd[$0] }
        while let state = waiting.popLast() {
            for source in sources[state] where !isAlive[Int(source)] {
                isAlive[Int(source)] = true
                waiting.append(Int(source))
            }
        }
        guard isAlive.first == true else {
            edges = []
            isEnd = []
            return
        }
        var numbers = [Int32](repeating: -1, count: edges.count)
        var count: Int32 = 0
        for state in edges.indices where isAlive[state] {
            numbers[state] = count
            count += 1
        }
        let old = (edges, isEnd)
        edges = []
        isEnd = []
        for state in old.0.indices where isAlive[state] {
            edges.append(
                old.0[state].compactMap { edge in
                    let target = numbers[Int(edge.target)]
                    return target < 0 ? nil : Edge(first: edge.first, last: edge.last, target: target)
                }
            )
            isEnd.append(old.1[state])
        }
    }

    /// The automaton of the texts that both have.
    ///
    /// - Throws: `AutomatonFailure` if it would be too large.
    func intersection(_ other: FiniteAutomaton) throws(AutomatonFailure) -> FiniteAutomaton {
        var result = FiniteAutomaton(edges: [], isEnd: [])
        guard !isEmpty, !other.isEmpty else { return result }
        var numbers: [SIMD2<Int32>: Int32] = [[0, 0]: 0]
        var pairs: [SIMD2<Int32>] = [[0, 0]]
        var next = 0
        while next < pairs.count {
            let pair = pairs[next]
            result.isEnd.append(isEnd[Int(pair.x)] && other.isEnd[Int(pair.y)])
            var new: [Edge] = []
            for a in edges[Int(pair.x)] {
                for b in other.edges[Int(pair.y)] where a.first <= b.last && b.first <= a.last {
                    let target: SIMD2<Int32> = [a.target, b.target]
                    var number = numbers[target]
                    if number == nil {
                        guard pairs.count < Self.stateLimit else { throw .tooLarge(Self.stateLimit) }
                        number = Int32(pairs.count)
                        numbers[target] = number
                        pairs.append(target)
                    }
                    new.append(
                        Edge(first: max(a.first, b.first), last: min(a.last, b.last), target: number ?? 0)
                    )
                }
            }
            new.sort { $0.first < $1.first }
            result.edges.append(Self.joined(new))
            next += 1
        }
        result.trim()
        return result
    }
}

/// A nondeterministic automaton while an expression is added to it.
private struct Net {
    var edges: [[FiniteAutomaton.Edge]] = [[]]
    private var silent: [[Int32]] = [[]]
    private static let limit = 50_000

    private mutating func node() throws(AutomatonFailure) -> Int {
        guard edges.count < Self.limit else { throw .tooLarge(Self.limit) }
        edges.append([])
        silent.append([])
        return edges.count - 1
    }

    private mutating func link(_ from: Int, _ to: Int) { silent[from].append(Int32(to)) }

    /// Adds an expression's texts behind a node.
    ///
    /// - Returns: the node behind them.
    mutating func add(_ expression: Expression, from: Int) throws(AutomatonFailure) -> Int {
        switch expression {
        case .bytes(let bytes):
            var last = from
            for byte in bytes { last = try add(byte...byte, from: last) }
            return last
        case .byte(let range): return try add(range, from: from)
        case .scalar(let set): return try add(set, from: from)
        case .sequence(let parts):
            var last = from
            for part in parts { last = try add(part, from: last) }
            return last
        case .choice(let parts):
            // A node of its own at the beginning, lest a loop of one part lead into another.
            let end = try node()
            for part in parts {
                let start = try node()
                link(from, start)
                link(try add(part, from: start), end)
            }
            return end
        case .repeated(let part, let range):
            var last = from
            let end = try node()
            for index in 0..<range.upperBound {
                if index >= range.lowerBound { link(last, end) }
                last = try add(part, from: last)
            }
            link(last, end)
            return end
        case .unbounded(let part, let least):
            var last = from
            for _ in 0..<least { last = try add(part, from: last) }
            let start = try node()
            link(last, start)
            link(try add(part, from: start), start)
            let end = try node()
            link(start, end)
            return end
        }
    }

    private mutating func add(_ range: ClosedRange<UInt8>, from: Int) throws(AutomatonFailure) -> Int {
        let end = try node()
        connect(range, from, end)
        return end
    }

    private mutating func connect(_ range: ClosedRange<UInt8>, _ from: Int, _ to: Int) {
        edges[from].append(
            FiniteAutomaton.Edge(first: range.lowerBound, last: range.upperBound, target: Int32(to))
        )
    }

    private mutating func add(_ set: ScalarSet, from: Int) throws(AutomatonFailure) -> Int {
        let end = try node()
        var sequences = set.intersection(ScalarSet.escaped.complement).utf8
        for range in set.intersection(.escaped).ranges {
            for scalar in range { sequences.append(Expression.escape(scalar).map { $0...$0 }) }
        }
        for sequence in sequences {
            var last = from
            for range in sequence.dropLast() { last = try add(range, from: last) }
            if let range = sequence.last { connect(range, last, end) }
        }
        return end
    }

    /// All nodes that can be reached without a byte, in ascending order.
    func closure(_ nodes: [Int32]) -> [Int32] {
        var seen: Set<Int32> = []
        var waiting = nodes
        while let node = waiting.popLast() {
            guard seen.insert(node).inserted else { continue }
            waiting.append(contentsOf: silent[Int(node)])
        }
        return seen.sorted()
    }
}
