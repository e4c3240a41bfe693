/// What texts may be: rules that call each other, made of nodes with edges of bytes between them.
///
/// A rule is a node where it begins; it ends at nodes that are ends, behind which whoever called it goes on.
struct Grammar: Sendable {
    typealias Edge = FiniteAutomaton.Edge

    struct Call: Sendable {
        /// Where the called rule begins.
        let rule: Int32
        /// The node behind it.
        let next: Int32
    }

    /// Nodes of one grammar at most.
    static let nodeLimit = 300_000

    var edges: [[Edge]] = []
    var calls: [[Call]] = []
    /// Nodes that stand for each node as well.
    var silent: [[Int32]] = []
    var isEnd: [Bool] = []
    /// Whether a node is one of a large text's: what may follow there is found once for all places that call it.
    var isText: [Bool] = []
    /// Where the grammar begins.
    var start: Int32 = 0

    var count: Int { edges.count }

    /// The node behind a byte, negative if there is none.
    ///
    /// For nodes with one edge for each byte at most.
    @inline(__always)
    func next(_ node: Int32, _ byte: Int) -> Int32 {
        edges[Int(node)].withUnsafeBufferPointer { edges in
            for edge in edges where Int(edge.last) >= byte {
                return Int(edge.first) <= byte ? edge.target : -1
            }
            return -1
        }
    }
}

/// Builds grammars of JSON.
struct GrammarBuilder {
    private(set) var grammar = Grammar()
    private var blankRule: Int32?
    private var textRule: Int32?
    private var numberRules: [Bool: Int32] = [:]
    private var valueRule: Int32?
    private var objectRule: Int32?
    /// Where the part of the schema that is built now stands, for errors.
    var pointer = "#"

    init() {}

    // MARK: Nodes

    mutating func node(isEnd: Bool = false) throws(GrammarError) -> Int32 {
        guard grammar.count < Grammar.nodeLimit else {
            throw .limit("states", pointer: pointer, expected: Grammar.nodeLimit)
        }
        grammar.edges.append([])
        grammar.calls.append([])
        grammar.silent.append([])
        grammar.isEnd.append(isEnd)
        grammar.isText.append(false)
        return Int32(grammar.count - 1)
    }

    mutating func link(_ from: Int32, _ to: Int32) { grammar.silent[Int(from)].append(to) }

    mutating func connect(_ from: Int32, _ byte: UInt8, _ to: Int32) {
        let edges = grammar.edges[Int(from)]
        // Edges stay in order; a node that has the byte already gets another way by a node of its own.
        let place = edges.firstIndex { $0.first > byte } ?? edges.count
        grammar.edges[Int(from)].insert(Grammar.Edge(first: byte, last: byte, target: to), at: place)
    }

    mutating func call(_ from: Int32, _ rule: Int32, _ to: Int32) {
        grammar.calls[Int(from)].append(Grammar.Call(rule: rule, next: to))
    }

    mutating func setStart(_ node: Int32) { grammar.start = node }

    /// Adds a fixed text behind a node that has no edge for its first byte yet.
    ///
    /// - Returns: the node behind it.
    mutating func literal(_ from: Int32, _ bytes: some Sequence<UInt8>) throws(GrammarError) -> Int32 {
        var last = from
        for byte in bytes {
            let new = try node()
            connect(last, byte, new)
            last = new
        }
        return last
    }

    /// Adds white space, which may be none, behind a node.
    mutating func blank(_ from: Int32) throws(GrammarError) -> Int32 {
        let next = try node()
        call(from, try blanks(), next)
        return next
    }

    /// Adds a rule's texts behind a node.
    mutating func call(_ from: Int32, _ rule: Int32) throws(GrammarError) -> Int32 {
        let next = try node()
        call(from, rule, next)
        return next
    }

    // MARK: Rules

    /// A rule of fixed texts.
    mutating func literals(_ texts: [[UInt8]]) throws(GrammarError) -> Int32 {
        let start = try node()
        for text in texts {
            var last = start
            for byte in text {
                let known = grammar.next(last, Int(byte))
                if known >= 0 {
                    last = known
                } else {
                    let new = try node()
                    connect(last, byte, new)
                    last = new
                }
            }
            grammar.isEnd[Int(last)] = true
        }
        return start
    }

    /// A rule of an automaton's texts.
    mutating func automaton(_ automaton: FiniteAutomaton, isText: Bool = true) throws(GrammarError) -> Int32 {
        guard !automaton.isEmpty else { return try node() }
        let first = Int32(grammar.count)
        for (edges, isEnd) in zip(automaton.edges, automaton.isEnd) {
            let new = Int(try node(isEnd: isEnd))
            grammar.isText[new] = isText
            grammar.edges[new] = edges.map {
                Grammar.Edge(first: $0.first, last: $0.last, target: $0.target + first)
            }
        }
        return first
    }

    /// A rule of an expression's texts.
    mutating func expression(_ expression: Expression, isText: Bool = true) throws(GrammarError) -> Int32 {
        let automaton: FiniteAutomaton
        do throws(AutomatonFailure) {
            automaton = try FiniteAutomaton(expression)
        } catch {
            throw error.error(pointer)
        }
        return try self.automaton(automaton, isText: isText)
    }

    /// Blanks between the parts of a value: none, one, or a new line and up to 40 blanks.
    ///
    /// JSON allows any number; a model that never stops writing them would never answer.
    private mutating func blanks() throws(GrammarError) -> Int32 {
        if let blankRule { return blankRule }
        let rest = Expression.repeated(.choice([.ascii(" "), .ascii("\t")]), 0...40)
        let rule = try expression(
            .choice([.empty, .ascii(" "), .sequence([.ascii("\n"), rest])]),
            isText: false
        )
        blankRule = rule
        return rule
    }

    /// Any string, with any escapes.
    mutating func anyText() throws(GrammarError) -> Int32 {
        if let textRule { return textRule }
        func one(_ bytes: String) -> Expression { .choice(bytes.utf8.map { .byte($0...$0) }) }
        let digit = one("0123456789abcdefABCDEF")
        let dee = one("dD")
        let plain = Expression.sequence([.choice([one("0123456789abcefABCEF")]), digit, digit, digit])
        let belowSurrogates = Expression.sequence([dee, one("01234567"), digit, digit])
        let pair = Expression.sequence(
            [dee, one("89abAB"), digit, digit, .ascii("\\u"), dee, one("cdefCDEF"), digit, digit]
        )
        let escape = Expression.choice(
            [one("\"\\/bfnrt"), .sequence([.ascii("u"), .choice([plain, belowSurrogates, pair])])]
        )
        let character = Expression.choice(
            [.scalar(ScalarSet.escaped.complement), .sequence([.ascii("\\"), escape])]
        )
        let rule = try expression(.sequence([.ascii("\""), .unbounded(character, 0), .ascii("\"")]))
        textRule = rule
        return rule
    }

    /// Any number.
    mutating func anyNumber(isWhole: Bool) throws(GrammarError) -> Int32 {
        if let rule = numberRules[isWhole] { return rule }
        var language = NumberLanguage()
        if isWhole { language.fraction = 0 }
        let rule = try number(language)
        numberRules[isWhole] = rule
        return rule
    }

    /// The numbers of a language.
    mutating func number(_ language: NumberLanguage) throws(GrammarError) -> Int32 {
        let automaton: FiniteAutomaton
        do throws(AutomatonFailure) {
            automaton = try language.automaton()
        } catch {
            throw error.error(pointer)
        }
        return try self.automaton(automaton)
    }

    /// Any value.
    mutating func anyValue() throws(GrammarError) -> Int32 {
        if let valueRule { return valueRule }
        let rule = try node()
        valueRule = rule
        for part in [
            try literals([Array("null".utf8), Array("true".utf8), Array("false".utf8)]),
            try anyNumber(isWhole: false),
            try anyText(), try anyObject(), try array(rule, 0...),
        ] {
            link(rule, part)
        }
        return rule
    }

    /// Any object.
    mutating func anyObject() throws(GrammarError) -> Int32 {
        if let objectRule { return objectRule }
        let rule = try node()
        objectRule = rule
        let open = try blank(try literal(rule, [UInt8(ascii: "{")]))
        let end = try node(isEnd: true)
        connect(open, UInt8(ascii: "}"), end)
        let key = try node()
        link(open, key)
        let colon = try literal(try call(key, try anyText()), [UInt8(ascii: ":")])
        let value = try call(try blank(colon), try anyValue())
        link(try blank(try literal(value, [UInt8(ascii: ",")])), key)
        connect(try blank(value), UInt8(ascii: "}"), end)
        return rule
    }

    /// Arrays of a rule's values.
    mutating func array(_ item: Int32, _ counts: PartialRangeFrom<Int>) throws(GrammarError) -> Int32 {
        try array(item, least: counts.lowerBound, most: nil)
    }

    /// Arrays of a rule's values, so many.
    mutating func array(_ item: Int32, least: Int, most: Int?) throws(GrammarError) -> Int32 {
        let rule = try node()
        let end = try node(isEnd: true)
        var here = try blank(try literal(rule, [UInt8(ascii: "[")]))
        if least == 0 { connect(here, UInt8(ascii: "]"), end) }
        if most == 0 { return rule }
        var count = 0
        while true {
            let start = here
            let value = try call(start, item)
            count += 1
            if count >= least { connect(try blank(value), UInt8(ascii: "]"), end) }
            if count == most { return rule }
            let next = try blank(try literal(value, [UInt8(ascii: ",")]))
            if most == nil && count >= max(least, 1) {
                // One more item is as good as the last one.
                let again = try call(next, item)
                link(again, value)
                return rule
            }
            here = next
        }
    }
}

extension AutomatonFailure {
    /// The error of a schema's part.
    func error(_ pointer: String) -> GrammarError {
        switch self {
        case .tooLarge(let limit): .limit("states of a text or a number", pointer: pointer, expected: limit)
        }
    }
}
