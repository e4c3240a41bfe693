/// Decodes a stream of tokens into text that is never half a character.
///
/// What it gives, joined, equals `Tokenizer.decode` of all ids at once.
package struct StreamingDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let skipsSpecial: Bool
    /// Bytes of a character that is not complete yet.
    private var pending: [UInt8] = []
    /// Whether a token was decoded already: tokens that spell no bytes are joined by spaces.
    private var hasDecoded = false

    package init(_ tokenizer: Tokenizer, skipsSpecial: Bool = false) {
        self.tokenizer = tokenizer
        self.skipsSpecial = skipsSpecial
    }

    /// Takes a token and gives the text that is certain now.
    package mutating func push(_ id: Int32) -> String {
        if skipsSpecial && tokenizer.isSpecial(id) { return "" }
        guard tokenizer.decodes(id) else { return "" }
        if hasDecoded && tokenizer.joinsBySpaces { pending.append(0x20) }
        hasDecoded = true
        pending.append(contentsOf: tokenizer.bytes(of: id))
        let whole = pending.count - Self.incompleteTail(pending)
        guard whole > 0 else { return "" }
        let text = String(decoding: pending[..<whole], as: UTF8.self)
        pending.removeFirst(whole)
        return text
    }

    /// What is left when no token follows: U+FFFD for a character that was never completed.
    package mutating func finish() -> String {
        defer { pending.removeAll() }
        return String(decoding: pending, as: UTF8.self)
    }

    /// Bytes at the end that could still become one character.
    private static func incompleteTail(_ bytes: [UInt8]) -> Int {
        for back in 1...min(3, max(1, bytes.count)) where bytes.count >= back {
            let byte = bytes[bytes.count - back]
            if byte & 0xc0 == 0x80 { continue }
            let length =
                byte >= 0xf0 && byte <= 0xf4
                ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc2 && byte < 0xe0 ? 2 : 1
            guard length > back else { return 0 }
            // A second byte that the first one does not allow ends the character here already.
            if back >= 2 {
                let second = bytes[bytes.count - back + 1]
                let allowed: ClosedRange<UInt8> =
                    switch byte {
                    case 0xe0: 0xa0...0xbf
                    case 0xed: 0x80...0x9f
                    case 0xf0: 0x90...0xbf
                    case 0xf4: 0x80...0x8f
                    default: 0x80...0xbf
                    }
                if !allowed.contains(second) { return 0 }
            }
            return back
        }
        return 0
    }
}
