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
    /// Geometric mean of the probabilities of the tokens that spell the four numbers; nil without probabilities.
    package var confidence: Double?
    /// Where the numbers stand in the answer, in bytes.
    package var range: Range<Int>
}

/// What is wrong with a part of an answer that should be a box.
package enum GroundingProblem: Sendable, Equatable, CustomStringConvertible {
    /// A tag that is never closed.
    case unclosed(tag: String, offset: Int)
    /// A box of another number of values than four.
    case count(Int, offset: Int)
    /// A value that is no whole number from 0 to 999.
    case value(String, offset: Int)
    /// A box whose right or bottom lies before its left or top.
    case reversed([Int], offset: Int)
    /// A `det` without a list of boxes.
    case noBoxes(offset: Int)

    package var description: String {
        switch self {
        case .unclosed(let tag, let offset): "byte \(offset): expected '\(tag)' to be closed, found the end"
        case .count(let count, let offset): "byte \(offset): expected four numbers in a box, found \(count)"
        case .value(let text, let offset): "byte \(offset): expected a whole number from 0 to 999, found '\(text)'"
        case .reversed(let box, let offset): "byte \(offset): expected x1 <= x2 and y1 <= y2, found \(box)"
        case .noBoxes(let offset): "byte \(offset): expected boxes between '<|det|>' and '<|/det|>', found none"
        }
    }
}

/// Reads boxes out of answers as data: nothing is evaluated, malformed boxes are reported and the rest is kept.
package struct GroundingParser {
    package private(set) var boxes: [GroundedBox] = []
    package private(set) var problems: [GroundingProblem] = []
    private let bytes: [UInt8]
    /// End of each token in bytes, and its log-probability.
    private let tokens: [(end: Int, logProbability: Float)]

    /// Parses a whole answer, in time linear in its length.
    ///
    /// - Parameters:
    ///   - bytes: the answer as its tokens spell it.
    ///   - tokens: where each token ends and its log-probability; empty if these are not known.
    package init(_ bytes: [UInt8], tokens: [(end: Int, logProbability: Float)] = []) {
        self.bytes = bytes
        self.tokens = tokens
        parse()
    }

    private static let openRef = Array("<|ref|>".utf8)
    private static let closeRef = Array("<|/ref|>".utf8)
    private static let openDet = Array("<|det|>".utf8)
    private static let closeDet = Array("<|/det|>".utf8)

    private func has(_ tag: [UInt8], at index: Int) -> Bool {
        index + tag.count <= bytes.count && bytes[index..<index + tag.count].elementsEqual(tag)
    }

    private mutating func parse() {
        var label = ""
        var index = 0
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "<") else {
                index += 1
                continue
            }
            if has(Self.openRef, at: index) {
                let start = index + Self.openRef.count
                guard let end = find(Self.closeRef, from: start, orBefore: [Self.openRef, Self.openDet]) else {
                    problems.append(.unclosed(tag: "<|ref|>", offset: index))
                    index = start
                    continue
                }
                label = String(decoding: bytes[start..<end], as: UTF8.self)
                index = end + Self.closeRef.count
            } else if has(Self.openDet, at: index) {
                let start = index + Self.openDet.count
                let end = find(Self.closeDet, from: start, orBefore: [Self.openRef, Self.openDet])
                if end == nil { problems.append(.unclosed(tag: "<|det|>", offset: index)) }
                index = readBoxes(start, end, label) + (end == nil ? 0 : Self.closeDet.count)
                label = ""
            } else {
                index += 1
            }
        }
    }

    /// The place of `tag`, unless one of `stops` comes first.
    private func find(_ tag: [UInt8], from start: Int, orBefore stops: [[UInt8]]) -> Int? {
        var index = start
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "<") {
                if has(tag, at: index) { return index }
                if stops.contains(where: { has($0, at: index) }) { return nil }
            }
            index += 1
        }
        return nil
    }

    /// Reads the inner brackets of a list up to `end`, or as far as complete boxes go; returns where it stopped.
    private mutating func readBoxes(_ start: Int, _ end: Int?, _ label: String) -> Int {
        var limit = end ?? bytes.count
        if end == nil, let next = (start..<bytes.count).first(where: { bytes[$0] == UInt8(ascii: "<") }) { limit = next }
        var index = start
        var found = false
        while index < limit {
            let isOpening = bytes[index] == UInt8(ascii: "[")
            guard isOpening, index + 1 < limit, bytes[index + 1] != UInt8(ascii: "[") else {
                index += 1
                continue
            }
            let inner = index + 1
            let close = (inner..<limit).first { bytes[$0] == UInt8(ascii: "]") }
            if close == nil && end == nil { break }
            let boxEnd = close ?? limit
            found = true
            readBox(inner..<boxEnd, label)
            index = boxEnd + 1
        }
        if !found && end != nil { problems.append(.noBoxes(offset: start)) }
        return max(limit, start)
    }

    private mutating func readBox(_ range: Range<Int>, _ label: String) {
        let parts = bytes[range].split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        var values: [Int] = []
        for part in parts {
            let text = String(decoding: part.drop { $0 == 0x20 }.reversed().drop { $0 == 0x20 }.reversed(), as: UTF8.self)
            guard !text.isEmpty, text.utf8.count <= 4, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let value = Int(text),
                value <= 999
            else {
                problems.append(.value(String(text.prefix(20)), offset: part.startIndex))
                return
            }
            values.append(value)
        }
        guard values.count == 4 else {
            problems.append(.count(values.count, offset: range.lowerBound))
            return
        }
        guard values[0] <= values[2], values[1] <= values[3] else {
            problems.append(.reversed(values, offset: range.lowerBound))
            return
        }
        boxes.append(GroundedBox(label: label, box: values, confidence: confidence(range), range: range))
    }

    /// Geometric mean of the probabilities of the tokens that share a byte with the range.
    private func confidence(_ range: Range<Int>) -> Double? {
        guard !tokens.isEmpty else { return nil }
        // Tokens lie in order: the first that ends behind the range's start is found by halving.
        var low = 0
        var high = tokens.count
        while low < high {
            let middle = (low + high) / 2
            if tokens[middle].end > range.lowerBound { high = middle } else { low = middle + 1 }
        }
        var total = 0.0
        var count = 0
        var start = low == 0 ? 0 : tokens[low - 1].end
        while low < tokens.count, start < range.upperBound {
            total += Double(tokens[low].logProbability)
            count += 1
            start = tokens[low].end
            low += 1
        }
        return count == 0 ? nil : exp(total / Double(count))
    }
}
