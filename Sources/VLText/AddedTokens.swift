/// A token with a text of its own that is found before anything else is done.
package struct AddedToken: Sendable {
    package var id: Int32
    package var text: [UInt8]
    package var isSpecial: Bool
    var isNormalized: Bool
    var stripsLeft: Bool
    var stripsRight: Bool
    var isSingleWord: Bool
}

/// Finds added tokens in a text, the leftmost first and of those the longest, in time linear in the text.
struct AddedTokenFinder: Sendable {
    private let tokens: [AddedToken]
    /// A trie over bytes: children by (node, byte), and the token that ends at a node.
    private var children: [UInt64: Int32] = [:]
    private var ends: [Int32] = [-1]
    private var starts = [Bool](repeating: false, count: 256)

    init(_ tokens: [AddedToken]) {
        self.tokens = tokens
        for (index, token) in tokens.enumerated() {
            guard let first = token.text.first else { continue }
            starts[Int(first)] = true
            var node: Int32 = 0
            for byte in token.text {
                let key = UInt64(UInt32(bitPattern: node)) << 8 | UInt64(byte)
                if let child = children[key] {
                    node = child
                } else {
                    let child = Int32(ends.count)
                    children[key] = child
                    ends.append(-1)
                    node = child
                }
            }
            if ends[Int(node)] < 0 { ends[Int(node)] = Int32(index) }
        }
    }

    var isEmpty: Bool { tokens.isEmpty }

    /// A place where a token was found; its bytes may include white space that it strips.
    struct Match {
        var range: Range<Int>
        var id: Int32
    }

    /// All matches in a range of the text, in order.
    ///
    /// Special tokens are left out if `parsesSpecial` is false.
    func matches(_ bytes: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, parsesSpecial: Bool) -> [Match] {
        guard !tokens.isEmpty else { return [] }
        var found: [Match] = []
        var index = range.lowerBound
        var free = index
        while index < range.upperBound {
            guard starts[Int(bytes[index])],
                let (token, end) = longest(bytes, index, range.upperBound, parsesSpecial)
            else {
                index += 1
                continue
            }
            if token.isSingleWord && !isWord(bytes, index..<end, range) {
                index = end
                continue
            }
            var match = index..<end
            if token.stripsLeft { match = space(before: index, bytes, free)..<match.upperBound }
            if token.stripsRight { match = match.lowerBound..<space(after: end, bytes, range.upperBound) }
            found.append(Match(range: match, id: token.id))
            index = match.upperBound
            free = index
        }
        return found
    }

    private func longest(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ start: Int,
        _ limit: Int,
        _ parsesSpecial: Bool
    ) -> (AddedToken, Int)? {
        var node: Int32 = 0
        var index = start
        var best: (AddedToken, Int)?
        while index < limit,
            let child = children[UInt64(UInt32(bitPattern: node)) << 8 | UInt64(bytes[index])]
        {
            node = child
            index += 1
            let end = ends[Int(node)]
            if end >= 0, parsesSpecial || !tokens[Int(end)].isSpecial { best = (tokens[Int(end)], index) }
        }
        return best
    }

    /// Whether no word character touches the range.
    private func isWord(_ bytes: UnsafeBufferPointer<UInt8>, _ match: Range<Int>, _ range: Range<Int>) -> Bool
    {
        let table = CharacterTable.shared
        func isWordCharacter(_ index: Int) -> Bool {
            let (point, _) = UTF8Scan.decode(bytes, index)
            return point == 0x5f || !table[point].isDisjoint(with: [.letter, .mark, .number])
        }
        if match.upperBound < range.upperBound, isWordCharacter(match.upperBound) { return false }
        guard match.lowerBound > range.lowerBound else { return true }
        var before = match.lowerBound - 1
        while before > range.lowerBound, bytes[before] & 0xc0 == 0x80 { before -= 1 }
        return !isWordCharacter(before)
    }

    private func space(after index: Int, _ bytes: UnsafeBufferPointer<UInt8>, _ limit: Int) -> Int {
        var index = index
        while index < limit {
            let (point, length) = UTF8Scan.decode(bytes, index)
            if !CharacterTable.shared[point].contains(.space) { break }
            index += length
        }
        return index
    }

    private func space(before index: Int, _ bytes: UnsafeBufferPointer<UInt8>, _ limit: Int) -> Int {
        var index = index
        while index > limit {
            var before = index - 1
            while before > limit, bytes[before] & 0xc0 == 0x80 { before -= 1 }
            let (point, _) = UTF8Scan.decode(bytes, before)
            if !CharacterTable.shared[point].contains(.space) { break }
            index = before
        }
        return index
    }
}
