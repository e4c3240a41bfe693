import VLJSON

/// A box with corners from 0 to 999 of the picture's sides.
///
/// An answer may state one whose right or bottom lies before its left or top: it counts as a box,
/// and overlaps nothing.
struct Box: Equatable, Sendable {
    let left: Int
    let top: Int
    let right: Int
    let bottom: Int

    /// Nil unless these are four numbers from 0 to 999.
    init?(_ values: [Int]) {
        guard values.count == 4, values.allSatisfy((0...999).contains) else { return nil }
        left = values[0]
        top = values[1]
        right = values[2]
        bottom = values[3]
    }

    /// Nil unless this is an array of four such numbers, the first two no greater than the last two.
    init?(_ value: JSONValue) {
        guard let values = value.asArray else { return nil }
        let numbers = values.compactMap(\.asInt)
        guard numbers.count == values.count else { return nil }
        self.init(numbers)
        guard left <= right, top <= bottom else { return nil }
    }

    var area: Int { (right - left) * (bottom - top) }

    /// The area that both cover over the area that either covers; 0 for two boxes without area.
    func overlap(_ other: Box) -> Double {
        let width = max(0, min(right, other.right) - max(left, other.left))
        let height = max(0, min(bottom, other.bottom) - max(top, other.top))
        let union = area + other.area - width * height
        return union > 0 ? Double(width * height) / Double(union) : 0
    }
}

/// The boxes that an answer states; what is malformed is no box, and the rest is kept.
struct AnswerBoxes {
    /// The boxes in their order, with the text of the `ref` directly before their `det`.
    private(set) var boxes: [(label: String?, box: Box)] = []
    /// Whether there is a `<|det|>`, with boxes or without.
    private(set) var hasDetection = false

    private static let openRef = Array("<|ref|>".utf8)
    private static let closeRef = Array("<|/ref|>".utf8)
    private static let openDet = Array("<|det|>".utf8)
    private static let closeDet = Array("<|/det|>".utf8)

    init(_ answer: String) {
        let bytes = Array(answer.utf8)
        var index = 0
        var labelStart: Int?
        var label: (text: String, end: Int)?
        while index < bytes.count {
            if Self.has(Self.openRef, bytes, index) {
                index += Self.openRef.count
                labelStart = index
            } else if Self.has(Self.closeRef, bytes, index) {
                let end = index + Self.closeRef.count
                label = labelStart.map { (String(decoding: bytes[$0..<index], as: UTF8.self), end) }
                labelStart = nil
                index = end
            } else if Self.has(Self.openDet, bytes, index) {
                hasDetection = true
                let name = label?.end == index ? label?.text : nil
                index += Self.openDet.count
                let end = Self.endOfDetection(bytes, index)
                boxes += Self.boxes(bytes[index..<end]).map { (name, $0) }
                index = end
            } else {
                index += 1
            }
        }
    }

    private static func has(_ tag: [UInt8], _ bytes: [UInt8], _ index: Int) -> Bool {
        bytes[index] == UInt8(ascii: "<") && bytes[index...].starts(with: tag)
    }

    /// Where the list of boxes from `start` ends: at its closing tag, an opening one or the end of the text.
    private static func endOfDetection(_ bytes: [UInt8], _ start: Int) -> Int {
        bytes.indices[start...].first { index in
            has(closeDet, bytes, index) || has(openRef, bytes, index) || has(openDet, bytes, index)
        } ?? bytes.count
    }

    /// The innermost brackets that hold a box.
    private static func boxes(_ bytes: ArraySlice<UInt8>) -> [Box] {
        var found: [Box] = []
        var start: Int?
        for (index, byte) in zip(bytes.indices, bytes) {
            if byte == UInt8(ascii: "[") {
                start = index + 1
            } else if byte == UInt8(ascii: "]"), let first = start {
                if let box = box(bytes[first..<index]) { found.append(box) }
                start = nil
            }
        }
        return found
    }

    private static func box(_ bytes: ArraySlice<UInt8>) -> Box? {
        let parts = bytes.split(
            separator: UInt8(ascii: ","),
            maxSplits: 4,
            omittingEmptySubsequences: false
        )
        let numbers = parts.compactMap { part -> Int? in
            let digits = trimmed(part)
            guard (1...3).contains(digits.count),
                digits.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains)
            else { return nil }
            return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        }
        return numbers.count == parts.count ? Box(numbers) : nil
    }
}

/// The bytes without white space at both ends.
func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var rest = bytes.drop(while: isBlank)
    while let last = rest.last, isBlank(last) { rest.removeLast() }
    return rest
}
