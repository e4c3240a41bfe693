/// Text that is free, in which boxes are legal: `<|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2], …]<|/det|>`.
///
/// A detection holds at least one box; numbers go from 0 to 999 without leading zeros, x1 <= x2 and y1 <= y2. A label is
/// any text without tags, and a detection follows it at once; a detection without a label is legal, too. Tags count
/// whether a special token or plain characters spell them, since readers of the answer see no difference.
struct BoxAutomaton: SymbolAutomaton {
    /// A state's parts; as a number, 4 bits of place, 8 of position and 34 of a box's numbers.
    private struct Parts {
        enum Place: Int {
            case text, label
            /// Between a label and its detection.
            case between
            case list
        }

        var place: Place
        /// The tag that may have begun, by `TagTree`; between, how much of the tag is there; in a list, a `List`.
        var position = 0
        var left = 0
        var top = 0
        var value = 0
        var digits = 0
        /// Which of a box's numbers, from 0.
        var field = 0

        init(_ place: Place, _ position: Int = 0) {
            self.place = place
            self.position = position
        }

        init(_ state: Int) {
            place = Place(rawValue: state & 15) ?? .text
            position = state >> 4 & 255
            left = state >> 12 & 1023
            top = state >> 22 & 1023
            value = state >> 32 & 1023
            digits = state >> 42 & 3
            field = state >> 44 & 3
        }

        var state: Int {
            place.rawValue | position << 4 | left << 12 | top << 22 | value << 32 | digits << 42 | field << 44
        }

        /// What the number at hand must reach.
        var least: Int { field == 2 ? left : field == 3 ? top : 0 }
    }

    /// Positions in a list of boxes.
    private enum List {
        static let listBracket = 0
        static let boxBracket = 1
        static let number = 2
        /// Behind a comma in a box.
        static let blank = 3
        static let boxEnd = 4
        /// Behind a comma between boxes.
        static let blankBetween = 5
        static let nextBracket = 6
        /// How much of the closing tag is there is added to this.
        static let closing = 7
    }

    private static let openDetection = Array("<|det|>".utf8)
    private static let closeDetection = Array("<|/det|>".utf8)
    private static let dead = -1

    private let tree = TagTree()
    /// What each tag costs, from its symbol on: a special token, or its characters.
    private let tagCosts: [Int]

    init(_ lexicon: Lexicon) {
        tagCosts = GrammarSymbol.tags.indices.map {
            lexicon.isSingle[GrammarSymbol.openReference + $0] ? 1 : GrammarSymbol.tags[$0].utf8.count
        }
    }

    var start: Int { Parts(.text).state }

    func isComplete(_ state: Int) -> Bool { Parts(state).place == .text }

    func isOver(_ state: Int) -> Bool { false }

    // MARK: Symbols

    func next(_ state: Int, _ symbol: Int) -> Int {
        let parts = Parts(state)
        switch parts.place {
        case .text: return text(parts, symbol)
        case .label: return label(parts, symbol)
        case .between:
            if symbol == GrammarSymbol.openDetection && parts.position == 0 { return Parts(.list).state }
            guard symbol == Int(Self.openDetection[parts.position]) else { return Self.dead }
            return parts.position + 1 == Self.openDetection.count
                ? Parts(.list).state : Parts(.between, parts.position + 1).state
        case .list: return list(parts, symbol)
        }
    }

    private func text(_ parts: Parts, _ symbol: Int) -> Int {
        var tag = symbol
        if symbol < 256 {
            let position = tree.next(parts.position, symbol)
            guard let found = tree.tag(position) else { return Parts(.text, position).state }
            tag = found
        }
        switch tag {
        case GrammarSymbol.openReference: return Parts(.label).state
        case GrammarSymbol.openDetection: return Parts(.list).state
        case GrammarSymbol.closeReference, GrammarSymbol.closeDetection: return Self.dead
        case GrammarSymbol.void: return parts.state
        default: return Parts(.text).state
        }
    }

    private func label(_ parts: Parts, _ symbol: Int) -> Int {
        if symbol == GrammarSymbol.closeReference { return Parts(.between).state }
        if symbol == GrammarSymbol.void { return parts.state }
        guard symbol < 256 else { return Self.dead }
        let position = tree.next(parts.position, symbol)
        guard let tag = tree.tag(position) else { return Parts(.label, position).state }
        return tag == GrammarSymbol.closeReference ? Parts(.between).state : Self.dead
    }

    private func list(_ parts: Parts, _ symbol: Int) -> Int {
        func move(_ expected: Character, _ position: Int) -> Int {
            guard symbol == Int(expected.asciiValue ?? 0) else { return Self.dead }
            var parts = parts
            parts.position = position
            return parts.state
        }
        switch parts.position {
        case List.listBracket: return move("[", List.boxBracket)
        case List.boxBracket, List.nextBracket:
            guard symbol == Int(UInt8(ascii: "[")) else { return Self.dead }
            return Parts(.list, List.number).state
        case List.number: return number(parts, symbol)
        case List.blank: return move(" ", List.number)
        case List.boxEnd:
            if symbol == Int(UInt8(ascii: "]")) { return Parts(.list, List.closing).state }
            return move(",", List.blankBetween)
        case List.blankBetween: return move(" ", List.nextBracket)
        default:
            let done = parts.position - List.closing
            if symbol == GrammarSymbol.closeDetection && done == 0 { return Parts(.text).state }
            guard symbol == Int(Self.closeDetection[done]) else { return Self.dead }
            return done + 1 == Self.closeDetection.count
                ? Parts(.text).state : Parts(.list, parts.position + 1).state
        }
    }

    private func number(_ parts: Parts, _ symbol: Int) -> Int {
        var parts = parts
        let digit = symbol - Int(UInt8(ascii: "0"))
        if (0...9).contains(digit) {
            guard parts.digits < 3, parts.digits == 0 || parts.value > 0 else { return Self.dead }
            parts.value = parts.value * 10 + digit
            parts.digits += 1
            return Self.missingDigits(parts) == nil ? Self.dead : parts.state
        }
        guard parts.digits > 0, parts.value >= parts.least else { return Self.dead }
        guard parts.field < 3 else {
            return symbol == Int(UInt8(ascii: "]")) ? Parts(.list, List.boxEnd).state : Self.dead
        }
        guard symbol == Int(UInt8(ascii: ",")) else { return Self.dead }
        if parts.field == 0 { parts.left = parts.value }
        if parts.field == 1 { parts.top = parts.value }
        parts.field += 1
        parts.value = 0
        parts.digits = 0
        parts.position = List.blank
        return parts.state
    }

    /// Fewest digits behind which a number is great enough; nil if it never is.
    private static func missingDigits(_ parts: Parts) -> Int? {
        if parts.digits == 0 { return digits(parts.least) }
        var greatest = parts.value
        for missing in 0...(3 - parts.digits) {
            if greatest >= parts.least { return missing }
            // Nothing follows a leading zero.
            if parts.value == 0 { return nil }
            greatest = greatest * 10 + 9
        }
        return nil
    }

    private static func digits(_ value: Int) -> Int { value > 99 ? 3 : value > 9 ? 2 : 1 }

    // MARK: Costs

    func cost(_ state: Int) -> Int {
        let parts = Parts(state)
        switch parts.place {
        case .text: return 0
        case .label:
            let spelled = tree.missing(GrammarSymbol.closeReference, parts.position)
            return min(spelled, tagCosts[1]) + between(0)
        case .between: return between(parts.position)
        case .list: return list(parts)
        }
    }

    private func between(_ position: Int) -> Int {
        (position == 0 ? tagCosts[2] : Self.openDetection.count - position) + list(Parts(.list))
    }

    private func list(_ parts: Parts) -> Int {
        let close = tagCosts[3]
        switch parts.position {
        case List.listBracket: return 2 + box(Parts(.list))
        case List.boxBracket, List.nextBracket: return 1 + box(Parts(.list))
        case List.number: return box(parts)
        case List.blank: return 1 + box(parts)
        case List.boxEnd: return 1 + close
        case List.blankBetween: return 2 + box(Parts(.list))
        default:
            let done = parts.position - List.closing
            return done == 0 ? close : Self.closeDetection.count - done
        }
    }

    /// From within a number to the end of the detection.
    private func box(_ parts: Parts) -> Int {
        let missing = Self.missingDigits(parts) ?? 3
        var left = parts.left
        var top = parts.top
        if parts.field == 0 { left = parts.value }
        if parts.field == 1 { top = parts.value }
        var cost = missing
        // A comma, a blank and the fewest digits for each number that follows.
        for field in (parts.field + 1)..<4 where parts.field < 3 {
            cost += 2 + (field == 1 ? 1 : Self.digits(field == 2 ? left : top))
        }
        return cost + 2 + tagCosts[3]
    }
}

/// The beginnings of tags in plain characters.
///
/// A tag's first character is in none of them again, so that what fails is no beginning of another one, or its first
/// character.
struct TagTree {
    private var children: [[UInt8: Int]] = [[:]]
    private var tags: [Int?] = [nil]
    private var beginnings: [[UInt8]] = [[]]

    init() {
        for (index, tag) in GrammarSymbol.tags.enumerated() {
            var node = 0
            for byte in tag.utf8 {
                if let next = children[node][byte] {
                    node = next
                    continue
                }
                children[node][byte] = children.count
                beginnings.append(beginnings[node] + [byte])
                node = children.count
                children.append([:])
                tags.append(nil)
            }
            tags[node] = GrammarSymbol.openReference + index
        }
        // A tag that is complete is not gone on from: whoever finds one is at the root again.
        table = (0..<children.count).flatMap { node in
            (0..<256).map { byte in
                let next =
                    children[node][UInt8(byte)]
                    ?? (byte == UInt8(ascii: "<") ? children[0][UInt8(byte)] : nil)
                return UInt8(next ?? 0)
            }
        }
    }

    private var table: [UInt8] = []

    /// The beginning behind a byte.
    func next(_ node: Int, _ byte: Int) -> Int { Int(table[node << 8 | byte]) }

    /// The symbol of the tag that is complete.
    func tag(_ node: Int) -> Int? { tags[node] }

    /// How many characters a tag lacks, going on with what is there if that is its beginning.
    func missing(_ symbol: Int, _ node: Int) -> Int {
        let tag = Array(GrammarSymbol.tags[symbol - GrammarSymbol.openReference].utf8)
        return tag.starts(with: beginnings[node]) ? tag.count - beginnings[node].count : tag.count
    }
}
