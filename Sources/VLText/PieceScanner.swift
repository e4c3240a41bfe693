/// Runs one pre-tokenizer step over one piece: what a pattern matches becomes a piece, and what lies between too.
struct PieceScanner {
    private let bytes: UnsafeBufferPointer<UInt8>
    private let piece: Range<Int>
    private let table = CharacterTable.shared

    init(_ bytes: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>) {
        self.bytes = bytes
        self.piece = piece
    }

    /// The character at a place: its classes and where the next one begins.
    @inline(__always)
    private func character(_ index: Int) -> (point: UInt32, kind: CharacterClass, next: Int) {
        let (point, length) = UTF8Scan.decode(bytes, index)
        return (point, table[point], index + length)
    }

    /// The end of the run of characters of `kinds` that begins at `index`.
    @inline(__always)
    private func runEnd(_ index: Int, _ kinds: CharacterClass) -> Int {
        var index = index
        while index < piece.upperBound {
            let (_, kind, next) = character(index)
            if kind.isDisjoint(with: kinds) { break }
            index = next
        }
        return index
    }

    /// Hands the pieces of a step to `body`, in order.
    func scan(
        _ step: PreTokenizer.Step,
        _ body: (Range<Int>) throws(TokenizerError) -> Void
    ) throws(TokenizerError) {
        switch step {
        case .lineBreaks: try walk(body) { isLineBreak($0) ? $0 + 1 : nil }
        case .spacedRun(let kinds): try walk(body) { spacedRun($0, kinds) }
        case .run(let kinds):
            try walk(body) { index in
                let end = runEnd(index, kinds)
                return end > index ? end : nil
            }
        case .trailingSpace: try splitTrailingSpace(body)
        case .digits: try walk(body) { character($0).kind.contains(.number) ? character($0).next : nil }
        case .digitRuns:
            try walk(body) { index in
                let end = runEnd(index, .number)
                return end > index ? end : nil
            }
        case .numbersOfThree: try walk(body) { numbersOfThree($0) }
        case .v3Words: try walk(body) { v3Word($0) }
        case .gpt2Words: try walk(body) { gpt2Word($0) }
        case .pattern(let pattern): try pattern.split(bytes, piece, body)
        }
    }

    /// Tries `match` at each character; a gap between matches is a piece of its own.
    @inline(__always)
    private func walk(
        _ body: (Range<Int>) throws(TokenizerError) -> Void,
        _ match: (Int) -> Int?
    ) throws(TokenizerError) {
        var index = piece.lowerBound
        var gap = index
        while index < piece.upperBound {
            if let end = match(index) {
                if gap < index { try body(gap..<index) }
                try body(index..<end)
                index = end
                gap = end
            } else {
                index = character(index).next
            }
        }
        if gap < piece.upperBound { try body(gap..<piece.upperBound) }
    }

    /// `\s+$` in one pass: tried from each place of a long run it would take quadratic time.
    private func splitTrailingSpace(
        _ body: (Range<Int>) throws(TokenizerError) -> Void
    ) throws(TokenizerError) {
        var index = piece.lowerBound
        var start = piece.upperBound
        while index < piece.upperBound {
            let (_, kind, next) = character(index)
            if !kind.contains(.space) {
                start = piece.upperBound
            } else if start == piece.upperBound {
                start = index
            }
            index = next
        }
        if piece.lowerBound < start { try body(piece.lowerBound..<start) }
        if start < piece.upperBound { try body(start..<piece.upperBound) }
    }

    private func isLineBreak(_ index: Int) -> Bool { bytes[index] == 0x0a || bytes[index] == 0x0d }

    /// The match of `\s?[kinds]+` at a place.
    private func spacedRun(_ index: Int, _ kinds: CharacterClass) -> Int? {
        let (_, kind, next) = character(index)
        if kind.contains(.space), next < piece.upperBound {
            let end = runEnd(next, kinds)
            if end > next { return end }
        }
        return kind.isDisjoint(with: kinds) ? nil : runEnd(next, kinds)
    }

    /// The match of `\p{N}{1,3}` at a place.
    private func numbersOfThree(_ index: Int) -> Int? {
        var end = index
        var count = 0
        while end < piece.upperBound, count < 3 {
            let (_, kind, next) = character(end)
            if !kind.contains(.number) { break }
            end = next
            count += 1
        }
        return count > 0 ? end : nil
    }

    private func isASCIIPunctuation(_ point: UInt32) -> Bool {
        switch point {
        case 0x21...0x2f, 0x3a...0x40, 0x5b...0x60, 0x7b...0x7e: true
        default: false
        }
    }

    private func isASCIILetter(_ byte: UInt8) -> Bool { (0x41...0x5a).contains(byte & 0xdf) }

    /// DeepSeek-V3's alternatives, in their order.
    private func v3Word(_ index: Int) -> Int? {
        let (point, kind, next) = character(index)
        // Punctuation of ASCII with letters of ASCII.
        if isASCIIPunctuation(point) {
            var end = next
            while end < piece.upperBound, isASCIILetter(bytes[end]) { end += 1 }
            if end > next { return end }
        }
        // Letters and marks, perhaps with one other character before.
        let isBreak = point == 0x0a || point == 0x0d
        if !isBreak, kind.isDisjoint(with: [.letter, .punctuation, .symbol]), next < piece.upperBound {
            let end = runEnd(next, [.letter, .mark])
            if end > next { return end }
        }
        if !kind.isDisjoint(with: [.letter, .mark]) { return runEnd(next, [.letter, .mark]) }
        // Punctuation and symbols, perhaps with a space before and line breaks behind.
        let start = point == 0x20 ? next : index
        if start < piece.upperBound {
            var end = runEnd(start, [.punctuation, .symbol])
            if end > start {
                while end < piece.upperBound, isLineBreak(end) { end += 1 }
                return end
            }
        }
        return kind.contains(.space) ? spaces(index, untilLineBreak: true) : nil
    }

    /// `\s*[\r\n]+` if asked for, else `\s+(?!\S)` or `\s+`, at a space.
    private func spaces(_ index: Int, untilLineBreak: Bool) -> Int {
        var end = index
        var last = index
        var afterBreak: Int?
        while end < piece.upperBound {
            let (point, kind, next) = character(end)
            if !kind.contains(.space) { break }
            last = end
            end = next
            if point == 0x0a || point == 0x0d { afterBreak = next }
        }
        if untilLineBreak, let afterBreak { return afterBreak }
        // The last space is left to what follows, unless it is the only one or nothing follows.
        return end == piece.upperBound || last == index ? end : last
    }

    /// GPT-2's alternatives: contractions, letters, numbers, others (each perhaps after a space), white space.
    private func gpt2Word(_ index: Int) -> Int? {
        let (point, kind, next) = character(index)
        if point == 0x27, let end = contraction(next) { return end }
        let start = point == 0x20 ? next : index
        if start < piece.upperBound {
            let first = character(start).kind
            if first.contains(.letter) { return runEnd(start, .letter) }
            if first.contains(.number) { return runEnd(start, .number) }
            if !first.contains(.space) {
                var end = start
                while end < piece.upperBound {
                    let (_, kind, next) = character(end)
                    if !kind.isDisjoint(with: [.space, .letter, .number]) { break }
                    end = next
                }
                return end
            }
        }
        return kind.contains(.space) ? spaces(index, untilLineBreak: false) : nil
    }

    /// What follows an apostrophe in `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d`.
    private func contraction(_ index: Int) -> Int? {
        guard index < piece.upperBound else { return nil }
        let first = bytes[index]
        switch first {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return index + 1
        default: break
        }
        guard index + 1 < piece.upperBound else { return nil }
        switch (first, bytes[index + 1]) {
        case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
            (UInt8(ascii: "l"), UInt8(ascii: "l")):
            return index + 2
        default: return nil
        }
    }
}
