/// How a text is cut into pieces before merging: steps that run one after the other, each on the pieces of the former.
///
/// The patterns of the published tokenizers are known by heart and scanned by hand; others go through PCRE2.
package struct PreTokenizer: Sendable {
    /// One step.
    enum Step: Sendable {
        /// `[\r\n]`
        case lineBreaks
        /// `\s?[…]+` for a set of classes.
        case spacedRun(CharacterClass)
        /// `[…]+` for a set of classes.
        case run(CharacterClass)
        /// `\s+$`
        case trailingSpace
        /// Each number character alone.
        case digits
        /// Number characters together.
        case digitRuns
        /// `\p{N}{1,3}`
        case numbersOfThree
        /// DeepSeek-V3's third pattern.
        case v3Words
        /// GPT-2's pattern.
        case gpt2Words
        /// Any other pattern, isolated or removed or merged as the file says.
        case pattern(CompiledPattern)
    }

    var steps: [Step] = []

    static let v3Ideographs = "[一-龥\u{3040}-ゟ゠-ヿ]+"
    static let v3WordsPattern =
        ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\##u{0d}\##u{0a}\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\##u{0d}\##u{0a}]*|\s*[\##u{0d}\##u{0a}]+|\s+(?!\S)|\s+"##
    static let llmPunctuationPattern = "\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+"
    static let llmIdeographPattern = "[一-龥ࠀ-一가-\u{d7ff}]+"

    /// The step of a known pattern, by its text; nil for any other.
    static func known(_ pattern: String) -> Step? {
        // Compared by bytes: Swift's == would also equate texts that differ in normal form.
        func matches(_ other: String) -> Bool { pattern.utf8.elementsEqual(other.utf8) }
        if matches("[\r\n]") { return .lineBreaks }
        if matches("\\p{N}{1,3}") { return .numbersOfThree }
        if matches(v3Ideographs) { return .run(.v3Ideograph) }
        if matches(v3WordsPattern) { return .v3Words }
        if matches("\\s+$") { return .trailingSpace }
        if matches(llmPunctuationPattern) { return .spacedRun(.llmPunctuation) }
        if matches(llmIdeographPattern) { return .run(.llmIdeograph) }
        if matches("\\s?\\p{L}+") { return .spacedRun(.letter) }
        if matches("\\s?\\p{P}+") { return .spacedRun(.punctuation) }
        if pattern.utf8.count > 400 && isCasedLetters(pattern) { return .spacedRun(.cased) }
        return nil
    }

    /// Whether a pattern is DeepSeek-LLM's `\s?[…]+` over cased letters: its set is compared with the table.
    private static func isCasedLetters(_ pattern: String) -> Bool {
        let scalars = Array(pattern.unicodeScalars)
        guard scalars.prefix(4).elementsEqual("\\s?[".unicodeScalars),
            scalars.suffix(2).elementsEqual("]+".unicodeScalars)
        else { return false }
        var points: Set<UInt32> = []
        let body = scalars.dropFirst(4).dropLast(2).map(\.value)
        var index = 0
        while index < body.count {
            if index + 2 < body.count && body[index + 1] == 0x2d {
                guard body[index] <= body[index + 2], body[index + 2] - body[index] < 0x10000 else {
                    return false
                }
                points.formUnion(body[index]...body[index + 2])
                index += 3
            } else {
                points.insert(body[index])
                index += 1
            }
        }
        let table = CharacterTable.shared
        var count = 0
        for point in UInt32(0)..<0x1ffff where table[point].contains(.cased) {
            count += 1
            if !points.contains(point) { return false }
        }
        return count == points.count
    }

    /// Cuts a text's bytes into pieces and hands each to `body`, in order.
    ///
    /// - Throws: `TokenizerError.patternLimit` if a pattern of the file's own runs too long.
    func split(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ range: Range<Int>,
        _ body: (Range<Int>) throws(TokenizerError) -> Void
    ) throws(TokenizerError) {
        guard !range.isEmpty else { return }
        if steps.isEmpty { return try body(range) }
        var pieces = [range]
        var next: [Range<Int>] = []
        for (index, step) in steps.enumerated() where index + 1 < steps.count {
            next.removeAll(keepingCapacity: true)
            for piece in pieces {
                try PieceScanner(bytes, piece).scan(step) { (found) throws(TokenizerError) in
                    next.append(found)
                }
            }
            swap(&pieces, &next)
        }
        guard let last = steps.last else { return }
        for piece in pieces { try PieceScanner(bytes, piece).scan(last, body) }
    }
}
