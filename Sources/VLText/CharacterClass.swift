/// What the pre-tokenizer patterns ask of a code point; several bits may be set.
struct CharacterClass: OptionSet {
    let rawValue: UInt16

    static let letter = CharacterClass(rawValue: 1 << 0)
    static let mark = CharacterClass(rawValue: 1 << 1)
    static let number = CharacterClass(rawValue: 1 << 2)
    static let punctuation = CharacterClass(rawValue: 1 << 3)
    static let symbol = CharacterClass(rawValue: 1 << 4)
    /// The property White_Space, Oniguruma's `\s`.
    static let space = CharacterClass(rawValue: 1 << 5)
    /// The letters that DeepSeek-LLM's pattern lists: those with two cases.
    static let cased = CharacterClass(rawValue: 1 << 6)
    /// The set of DeepSeek-LLM's third pattern.
    static let llmPunctuation = CharacterClass(rawValue: 1 << 7)
    /// The set of DeepSeek-LLM's fifth pattern.
    static let llmIdeograph = CharacterClass(rawValue: 1 << 8)
    /// The set of DeepSeek-V3's second pattern.
    static let v3Ideograph = CharacterClass(rawValue: 1 << 9)
}

/// The classes of all code points, in pages of 256; equal pages are stored once.
final class CharacterTable: Sendable {
    static let shared = CharacterTable()

    private let pages: [UInt16]
    private let classes: [UInt16]

    private init() {
        let runs = UnicodeRanges.runs
        var pages: [UInt16] = []
        var classes: [UInt16] = []
        // Pages that lie within one run: their number by the run's bits.
        var uniform: [UInt16: UInt16] = [:]
        pages.reserveCapacity(0x1100)
        var run = 0
        for page in 0..<0x1100 {
            let first = UInt32(page) << 8
            while run + 1 < runs.count && runs[run + 1] >> 10 <= first { run += 1 }
            let isUniform = run + 1 == runs.count || runs[run + 1] >> 10 >= first + 256
            let bits = UInt16(runs[run] & 0x3ff)
            if isUniform, let known = uniform[bits] {
                pages.append(known)
                continue
            }
            let number = UInt16(classes.count >> 8)
            pages.append(number)
            if isUniform {
                uniform[bits] = number
                classes.append(contentsOf: repeatElement(bits, count: 256))
                continue
            }
            var current = run
            for point in first..<first + 256 {
                while current + 1 < runs.count && runs[current + 1] >> 10 <= point { current += 1 }
                classes.append(UInt16(runs[current] & 0x3ff))
            }
        }
        self.pages = pages
        self.classes = classes
    }

    /// The classes of a code point below 0x110000.
    subscript(point: UInt32) -> CharacterClass {
        CharacterClass(rawValue: classes[Int(pages[Int(point >> 8)]) << 8 | Int(point & 0xff)])
    }
}
