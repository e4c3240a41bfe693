/// A set of Unicode scalars, as ranges in ascending order that do not touch.
struct ScalarSet: Equatable, Sendable {
    private(set) var ranges: [ClosedRange<UInt32>] = []

    /// Greatest scalar.
    private static let last: UInt32 = 0x10_FFFF
    private static let surrogates: ClosedRange<UInt32> = 0xD800...0xDFFF

    /// All scalars.
    static let all = ScalarSet([0...last])
    /// What a text of JSON cannot hold without an escape.
    static let escaped = ScalarSet([0x00...0x1F, 0x22...0x22, 0x5C...0x5C])
    static let digits = ScalarSet([0x30...0x39])
    static let word = ScalarSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
    /// What `\s` means in ECMAScript.
    static let space = ScalarSet(
        [
            0x09...0x0D, 0x20...0x20, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029,
            0x202F...0x202F, 0x205F...0x205F, 0x3000...0x3000, 0xFEFF...0xFEFF,
        ]
    )
    static let lineEnds = ScalarSet([0x0A...0x0A, 0x0D...0x0D, 0x2028...0x2029])

    /// Surrogates are left out.
    init(_ ranges: [ClosedRange<UInt32>] = []) {
        let sorted = ranges.flatMap(Self.withoutSurrogates).sorted { $0.lowerBound < $1.lowerBound }
        for range in sorted {
            if let before = self.ranges.last, range.lowerBound <= before.upperBound + 1 {
                let end = max(before.upperBound, range.upperBound)
                self.ranges[self.ranges.count - 1] = before.lowerBound...end
            } else {
                self.ranges.append(range)
            }
        }
    }

    private static func withoutSurrogates(_ range: ClosedRange<UInt32>) -> [ClosedRange<UInt32>] {
        var parts: [ClosedRange<UInt32>] = []
        if range.lowerBound < surrogates.lowerBound {
            parts.append(range.lowerBound...min(range.upperBound, surrogates.lowerBound - 1))
        }
        if range.upperBound > surrogates.upperBound {
            parts.append(max(range.lowerBound, surrogates.upperBound + 1)...range.upperBound)
        }
        return parts
    }

    var isEmpty: Bool { ranges.isEmpty }

    var complement: ScalarSet {
        var gaps: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges {
            if range.lowerBound > next { gaps.append(next...range.lowerBound - 1) }
            next = range.upperBound + 1
        }
        if next <= Self.last { gaps.append(next...Self.last) }
        return ScalarSet(gaps)
    }

    func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

    func intersection(_ other: ScalarSet) -> ScalarSet {
        var common: [ClosedRange<UInt32>] = []
        for a in ranges {
            for b in other.ranges where a.overlaps(b) { common.append(a.clamped(to: b)) }
        }
        return ScalarSet(common)
    }

    /// The sequences of byte ranges that are these scalars in UTF-8.
    var utf8: [[ClosedRange<UInt8>]] {
        var sequences: [[ClosedRange<UInt8>]] = []
        for range in ranges { Self.split(range.lowerBound, range.upperBound, &sequences) }
        return sequences
    }

    private static func split(_ low: UInt32, _ high: UInt32, _ sequences: inout [[ClosedRange<UInt8>]]) {
        for end in [0x7F, 0x7FF, 0xFFFF] as [UInt32] where low <= end && high > end {
            split(low, end, &sequences)
            return split(end + 1, high, &sequences)
        }
        // Bytes that follow must range over all that they can, or the ones before are fixed.
        let length = high <= 0x7F ? 1 : high <= 0x7FF ? 2 : high <= 0xFFFF ? 3 : 4
        for index in 1..<max(length, 2) where length > 1 {
            let mask = UInt32(1) << UInt32(6 * index) - 1
            guard low & ~mask != high & ~mask else { continue }
            if low & mask != 0 {
                split(low, low | mask, &sequences)
                return split((low | mask) + 1, high, &sequences)
            }
            if high & mask != mask {
                split(low, high & ~mask - 1, &sequences)
                return split(high & ~mask, high, &sequences)
            }
        }
        sequences.append(zip(encode(low, length), encode(high, length)).map { $0...$1 })
    }

    private static func encode(_ scalar: UInt32, _ length: Int) -> [UInt8] {
        func tail(_ shift: UInt32) -> UInt8 { UInt8(0x80 | scalar >> shift & 0x3F) }
        switch length {
        case 1: return [UInt8(scalar)]
        case 2: return [UInt8(0xC0 | scalar >> 6), tail(0)]
        case 3: return [UInt8(0xE0 | scalar >> 12), tail(6), tail(0)]
        default: return [UInt8(0xF0 | scalar >> 18), tail(12), tail(6), tail(0)]
        }
    }
}

/// A regular expression.
indirect enum Expression: Sendable {
    /// These bytes as they are.
    case bytes([UInt8])
    /// One of these bytes as they are.
    case byte(ClosedRange<UInt8>)
    /// A scalar, as texts of JSON spell it: escaped if it has to be, then in one way only.
    case scalar(ScalarSet)
    case sequence([Expression])
    /// One of these; none of them if there is none.
    case choice([Expression])
    case repeated(Expression, ClosedRange<Int>)
    /// At least so many.
    case unbounded(Expression, Int)

    static let empty = Expression.sequence([])
    static let none = Expression.choice([])

    static func ascii(_ text: String) -> Expression { .bytes(Array(text.utf8)) }
    static func optional(_ expression: Expression) -> Expression { .repeated(expression, 0...1) }
    static func digits(_ range: ClosedRange<Int>) -> Expression {
        .byte(UInt8(0x30 + range.lowerBound)...UInt8(0x30 + range.upperBound))
    }

    /// Whether the empty text is one of its texts.
    var isNullable: Bool {
        switch self {
        case .bytes(let bytes): bytes.isEmpty
        case .byte, .scalar: false
        case .sequence(let parts): parts.allSatisfy(\.isNullable)
        case .choice(let parts): parts.contains(where: \.isNullable)
        case .repeated(let part, let range): range.lowerBound == 0 || part.isNullable
        case .unbounded(let part, let least): least == 0 || part.isNullable
        }
    }

    /// A scalar's escape in a text of JSON, the shortest one.
    static func escape(_ scalar: UInt32) -> [UInt8] {
        switch scalar {
        case 0x22: return Array("\\\"".utf8)
        case 0x5C: return Array("\\\\".utf8)
        case 0x08: return Array("\\b".utf8)
        case 0x09: return Array("\\t".utf8)
        case 0x0A: return Array("\\n".utf8)
        case 0x0C: return Array("\\f".utf8)
        case 0x0D: return Array("\\r".utf8)
        default:
            let digits = Array("0123456789abcdef".utf8)
            return Array("\\u00".utf8) + [digits[Int(scalar >> 4)], digits[Int(scalar & 15)]]
        }
    }

    /// A text as a string of JSON, in the one way that grammars write it.
    static func quoted(_ text: String) -> [UInt8] {
        var bytes = [UInt8(ascii: "\"")]
        for scalar in text.unicodeScalars {
            if scalar.value < 0x20 || scalar.value == 0x22 || scalar.value == 0x5C {
                bytes += escape(scalar.value)
            } else {
                bytes += Array(String(scalar).utf8)
            }
        }
        return bytes + [UInt8(ascii: "\"")]
    }
}
