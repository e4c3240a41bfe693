#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A box that an answer states: `<|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2]]<|/det|>`.
package struct GroundedBox: Sendable, Equatable {
    /// The text between the `ref` tags; empty for a `det` without one.
    package var label: String
    /// Left, top, right, bottom from 0 to 999 of the picture's sides.
    package var box: [Int]
    /// Geometric mean of the probabilities of the tokens that spell the four numbers.
    ///
    /// A token counts once if it has a digit of one of them; brackets, commas and spaces between do not. Nil if a
    /// probability of such a token is not known. This is our definition: the official code has none.
    package var confidence: Double?
    /// Where the numbers stand in the answer, in bytes: what is between the inner brackets.
    package var range: Range<Int>

    /// The box in a picture's pixels, as the official program computes them: the fraction is cut off.
    package func pixels(width: Int, height: Int) -> [Int] {
        box.enumerated().map { index, value in
            Int(Double(value) / 999 * Double(index.isMultiple(of: 2) ? width : height))
        }
    }
}

/// What is wrong with a part of an answer that should be a box.
package enum GroundingProblem: Sendable, Equatable, CustomStringConvertible {
    /// A tag that is never closed, or not before the next one opens.
    case unclosed(tag: String, offset: Int)
    /// A closing tag without its opening one.
    case unopened(tag: String, offset: Int)
    /// A box of another number of values than four.
    case count(Int, offset: Int)
    /// A value that is no whole number from 0 to 999.
    case value(String, offset: Int)
    /// A box whose right or bottom lies before its left or top.
    case reversed([Int], offset: Int)
    /// A box whose bracket is not closed.
    case cutBox(offset: Int)
    /// A `det` without a list of boxes.
    case noBoxes(offset: Int)
    /// A `ref` that no `det` follows.
    case noDetection(label: String, offset: Int)

    package var description: String {
        switch self {
        case .unclosed(let tag, let offset):
            "byte \(offset): expected '\(tag)' to be closed, found no end of it"
        case .unopened(let tag, let offset):
            "byte \(offset): expected an opening tag before '\(tag)', found none"
        case .count(let count, let offset): "byte \(offset): expected four numbers in a box, found \(count)"
        case .value(let text, let offset):
            "byte \(offset): expected a whole number from 0 to 999, found '\(text)'"
        case .reversed(let box, let offset): "byte \(offset): expected x1 <= x2 and y1 <= y2, found \(box)"
        case .cutBox(let offset): "byte \(offset): expected ']' at the end of a box, found none"
        case .noBoxes(let offset):
            "byte \(offset): expected boxes between '<|det|>' and '<|/det|>', found none"
        case .noDetection(let label, let offset):
            "byte \(offset): expected boxes after the reference '\(label)', found none"
        }
    }
}

/// Reads boxes out of answers as data: nothing is evaluated, malformed boxes are reported and the rest is kept.
///
/// Takes an answer piece by piece and has a box as soon as its bracket is closed. Time is linear in the answer and
/// the same however it is cut. A label holds for all boxes of the next `det`, whatever text is between.
package struct GroundingParser: Sendable {
    /// The boxes so far, in the order of the answer.
    package private(set) var boxes: [GroundedBox] = []
    /// What could not be used so far, in the order in which it was noticed.
    package private(set) var problems: [GroundingProblem] = []

    private enum Place: Equatable, Sendable {
        case text
        case reference
        case detection
    }

    private var place = Place.text
    /// Bytes taken so far.
    private var offset = 0
    /// The bytes that may be the beginning of a tag.
    private var tag: [UInt8] = []
    /// Where the tag that is open now began.
    private var opening = 0
    /// The label of the next detection, and where its tag began.
    private var reference: (text: [UInt8], offset: Int)?
    /// The label of the open detection.
    private var label = ""
    /// Boxes of the open detection, whether good or not.
    private var found = 0
    private var box: BoxReader?
    private var piece = 0
    private var logProbability: Float?

    /// A parser that has seen nothing.
    package init() {}

    /// Parses a whole answer.
    ///
    /// - Parameters:
    ///   - bytes: the answer as its tokens spell it.
    ///   - tokens: where each token ends and its log-probability; empty if these are not known.
    package init(_ bytes: [UInt8], tokens: [(end: Int, logProbability: Float)] = []) {
        var start = 0
        for token in tokens {
            let end = min(max(start, token.end), bytes.count)
            push(bytes[start..<end], logProbability: token.logProbability)
            start = end
        }
        push(bytes[start...])
        finish()
    }

    /// Takes more of the answer: the bytes of a token, or any other piece.
    ///
    /// - Parameter logProbability: the natural logarithm of the token's probability; nil if it is not known.
    /// - Returns: the places of the new ones in `boxes`.
    @discardableResult
    package mutating func push(
        _ bytes: some Collection<UInt8>,
        logProbability: Float? = nil
    ) -> Range<Int> {
        let first = boxes.count
        self.logProbability = logProbability
        for byte in bytes { take(byte) }
        piece += 1
        return first..<boxes.count
    }

    /// Says that the answer has ended; what is still open is reported.
    package mutating func finish() {
        flushTag()
        close()
        reportUnusedReference()
    }

    // MARK: Tags

    private static let tags: [(bytes: [UInt8], text: String)] =
        ["<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>"].map { (Array($0.utf8), $0) }

    private mutating func take(_ byte: UInt8) {
        if byte == UInt8(ascii: "<") {
            flushTag()
            tag.append(byte)
        } else if tag.isEmpty {
            plain(byte, at: offset)
        } else {
            tag.append(byte)
            if let match = Self.tags.first(where: { $0.bytes == tag }) {
                tag.removeAll(keepingCapacity: true)
                handle(match.text, at: offset + 1 - match.bytes.count)
            } else if !Self.tags.contains(where: { $0.bytes.starts(with: tag) }) {
                offset += 1
                flushTag()
                return
            }
        }
        offset += 1
    }

    /// Takes back what looked like a tag: it is plain text.
    private mutating func flushTag() {
        guard !tag.isEmpty else { return }
        let bytes = tag
        tag.removeAll(keepingCapacity: true)
        for (index, byte) in bytes.enumerated() { plain(byte, at: offset - bytes.count + index) }
    }

    private mutating func handle(_ tag: String, at start: Int) {
        switch tag {
        case "<|ref|>":
            close()
            reportUnusedReference()
            place = .reference
            opening = start
            reference = ([], start)
        case "<|/ref|>":
            guard place == .reference else {
                problems.append(.unopened(tag: tag, offset: start))
                return
            }
            place = .text
        case "<|det|>":
            // The label of a reference that is not closed is the best one there is.
            close(keepsReference: true)
            label = String(decoding: reference?.text ?? [], as: UTF8.self)
            reference = nil
            place = .detection
            opening = start
            found = 0
        default:
            guard place == .detection else {
                problems.append(.unopened(tag: tag, offset: start))
                return
            }
            if let open = box, !open.isEmpty {
                problems.append(.cutBox(offset: open.start))
            } else if found == 0 {
                problems.append(.noBoxes(offset: opening))
            }
            box = nil
            place = .text
        }
    }

    /// Closes what is open when the next tag opens or the answer ends.
    private mutating func close(keepsReference: Bool = false) {
        switch place {
        case .text: break
        case .reference:
            problems.append(.unclosed(tag: "<|ref|>", offset: opening))
            if !keepsReference { reference = nil }
        case .detection:
            // That the end of the text cut a box, or left none, is no further news.
            problems.append(.unclosed(tag: "<|det|>", offset: opening))
            box = nil
        }
        place = .text
    }

    private mutating func reportUnusedReference() {
        guard let unused = reference else { return }
        let text = String(decoding: unused.text.prefix(100), as: UTF8.self)
        problems.append(.noDetection(label: text, offset: unused.offset))
        reference = nil
    }

    // MARK: Boxes

    private mutating func plain(_ byte: UInt8, at place: Int) {
        switch self.place {
        case .text: break
        case .reference: reference?.text.append(byte)
        case .detection:
            if byte == UInt8(ascii: "[") {
                // The first of two opening brackets begins the list.
                if let open = box, !open.isEmpty {
                    problems.append(.cutBox(offset: open.start))
                    found += 1
                }
                box = BoxReader(start: place + 1)
            } else if byte == UInt8(ascii: "]") {
                guard let open = box else { return }
                box = nil
                found += 1
                add(open, end: place)
            } else {
                box?.take(byte, at: place, piece: piece, logProbability: logProbability)
            }
        }
    }

    private mutating func add(_ reader: BoxReader, end: Int) {
        var reader = reader
        reader.endValue()
        if let problem = reader.problem {
            problems.append(problem)
        } else if reader.count != 4 {
            problems.append(.count(reader.count, offset: reader.start))
        } else if reader.values[0] > reader.values[2] || reader.values[1] > reader.values[3] {
            problems.append(.reversed(reader.values, offset: reader.start))
        } else {
            boxes.append(
                GroundedBox(
                    label: label,
                    box: reader.values,
                    confidence: reader.confidence,
                    range: reader.start..<end
                )
            )
        }
    }
}

/// The numbers between two brackets while they are read.
private struct BoxReader: Sendable {
    let start: Int
    /// The first four.
    private(set) var values: [Int] = []
    /// How many there are.
    private(set) var count = 0
    /// The first value that is none.
    private(set) var problem: GroundingProblem?
    /// Whether there is nothing but blanks so far.
    private(set) var isEmpty = true

    private var value = 0
    private var digits = 0
    private var hasEnded = false
    private var isWrong = false
    /// The beginning of the value as it is written, for messages.
    private var text: [UInt8] = []
    private var valueStart = 0

    private var logSum = 0.0
    private var tokens = 0
    private var lastPiece = -1
    private var isKnown = true

    init(start: Int) {
        self.start = start
        valueStart = start
    }

    /// The geometric mean over the tokens that have digits.
    var confidence: Double? {
        guard isKnown, tokens > 0 else { return nil }
        let mean = exp(logSum / Double(tokens))
        return mean.isNaN ? nil : min(mean, 1)
    }

    mutating func take(_ byte: UInt8, at place: Int, piece: Int, logProbability: Float?) {
        if byte == UInt8(ascii: ",") {
            isEmpty = false
            endValue()
            valueStart = place + 1
            return
        }
        if byte == 0x20 || (0x09...0x0d).contains(byte) {
            if !text.isEmpty { hasEnded = true }
            return
        }
        isEmpty = false
        if text.isEmpty { valueStart = place }
        if text.count < 20 { text.append(byte) }
        guard (0x30...0x39).contains(byte), !hasEnded else {
            isWrong = true
            return
        }
        digits += 1
        // Four digits are enough to see that a number is too great; leading zeros are harmless.
        value = min(value * 10 + Int(byte - 0x30), 10_000)
        if piece != lastPiece {
            lastPiece = piece
            tokens += 1
            if let logProbability { logSum += Double(logProbability) } else { isKnown = false }
        }
    }

    /// Ends the value before a comma or the closing bracket.
    mutating func endValue() {
        // "[]" has no value at all, "[1,]" an empty second one.
        if isEmpty && count == 0 { return }
        count += 1
        if isWrong || digits == 0 || value > 999 {
            if problem == nil {
                problem = .value(String(decoding: text, as: UTF8.self), offset: valueStart)
            }
        } else if values.count < 4 {
            values.append(value)
        }
        value = 0
        digits = 0
        hasEnded = false
        isWrong = false
        text.removeAll(keepingCapacity: true)
    }
}
