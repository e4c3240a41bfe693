/// Text of strangers that must not become control tokens, though it stands in a prompt whose control tokens are read
/// from text.
///
/// A mark, a code point that Unicode keeps out of texts, is put before the second character of whatever spells a
/// control token, so that nothing finds that token. The tokenizer (`removesGuards`) leaves the marks out, so that the
/// text has the tokens of its characters.
package struct GuardedText: Sendable {
    /// U+FDD0 as UTF-8.
    private static let mark: [UInt8] = [0xEF, 0xB7, 0x90]

    /// What must not be spelt, by its first byte.
    private let patterns: [UInt8: [[UInt8]]]

    /// - Parameters:
    ///   - tokenizer: whose special tokens are guarded.
    ///   - tags: further texts that mean something to a prompt, such as that of a picture.
    ///   - allowed: tokens that a text may spell.
    package init(_ tokenizer: Tokenizer, tags: [String], allowed: Set<String>) {
        let special = tokenizer.added.filter(\.isSpecial).map(\.text)
        let free = Set(allowed.map { Array($0.utf8) })
        let all = Set(special + tags.map { Array($0.utf8) }).subtracting(free).filter { !$0.isEmpty }
        patterns = Dictionary(grouping: all) { $0[0] }
    }

    /// The text with its marks; marks that it has itself become U+FFFD.
    package func guarded(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + 16)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == Self.mark[0], bytes[index...].starts(with: Self.mark) {
                result += [0xEF, 0xBF, 0xBD]
                index += Self.mark.count
                continue
            }
            let length = UTF8.width(byte)
            let found = patterns[byte]?.filter { bytes[index...].starts(with: $0) } ?? []
            // A token of one character has no second one: its mark stands before it.
            if found.contains(where: { $0.count <= length }) { result += Self.mark }
            result += bytes[index..<min(bytes.count, index + length)]
            if found.contains(where: { $0.count > length }) { result += Self.mark }
            index += length
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// Whether a mark stands right before a place.
    static func isGuarded(_ bytes: UnsafeBufferPointer<UInt8>, _ place: Int) -> Bool {
        place >= mark.count && (0..<mark.count).allSatisfy { bytes[place - mark.count + $0] == mark[$0] }
    }

    /// A range's bytes without marks; nil if there are none.
    static func plain(_ bytes: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> [UInt8]? {
        func isMark(_ index: Int) -> Bool {
            index + mark.count <= range.upperBound && bytes[index] == mark[0] && bytes[index + 1] == mark[1]
                && bytes[index + 2] == mark[2]
        }
        guard range.contains(where: isMark) else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(range.count)
        var index = range.lowerBound
        while index < range.upperBound {
            if isMark(index) {
                index += mark.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }
}

extension UTF8 {
    /// Bytes of the character that begins with a byte.
    fileprivate static func width(_ first: UInt8) -> Int {
        first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
    }
}
