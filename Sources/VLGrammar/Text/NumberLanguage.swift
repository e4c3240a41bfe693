/// A number in decimal digits, without an exponent.
struct Decimal: Sendable {
    var isNegative = false
    /// Digits before the point, at least one, without leading zeros.
    var whole: [Int]
    /// Digits behind the point, without zeros at the end.
    var fraction: [Int]

    /// Reads what Swift prints for a finite number; nil if it has more than 40 digits.
    init?(_ text: String) {
        var rest = Substring(text)
        if rest.hasPrefix("-") {
            isNegative = true
            rest = rest.dropFirst()
        }
        var exponent = 0
        if let mark = rest.firstIndex(where: { $0 == "e" || $0 == "E" }) {
            guard let value = Int(rest[rest.index(after: mark)...]), abs(value) <= 40 else { return nil }
            exponent = value
            rest = rest[..<mark]
        }
        let parts = rest.split(separator: ".", omittingEmptySubsequences: false)
        whole = parts[0].compactMap(\.wholeNumberValue)
        fraction = parts.count > 1 ? parts[1].compactMap(\.wholeNumberValue) : []
        while exponent > 0 {
            whole.append(fraction.isEmpty ? 0 : fraction.removeFirst())
            exponent -= 1
        }
        while exponent < 0 {
            fraction.insert(whole.popLast() ?? 0, at: 0)
            exponent += 1
        }
        while whole.first == 0 { whole.removeFirst() }
        if whole.isEmpty { whole = [0] }
        while fraction.last == 0 { fraction.removeLast() }
        if isZero { isNegative = false }
    }

    init(_ value: Int) {
        isNegative = value < 0
        whole = String(value.magnitude).compactMap(\.wholeNumberValue)
        fraction = []
    }

    var isZero: Bool { whole == [0] && fraction.isEmpty }
}

/// An end of a range of numbers.
struct NumberBound: Sendable {
    var value: Decimal
    /// Whether the number itself is outside.
    var isStrict: Bool
}

/// The numbers of JSON between two bounds, as texts.
struct NumberLanguage {
    /// Digits before the point at most; 64 signed bits hold so many.
    static let wholeDigits = 18
    /// Digits behind the point at most.
    static let fractionDigits = 15
    /// Greatest divisor for which remainders are followed.
    static let divisorLimit = 1000

    var least: NumberBound?
    var greatest: NumberBound?
    /// Digits behind the point at most; 0 for whole numbers.
    var fraction = NumberLanguage.fractionDigits
    /// What whole numbers must be multiples of.
    var divisor = 1

    /// - Throws: `AutomatonFailure` if the automaton would be too large.
    func automaton() throws(AutomatonFailure) -> FiniteAutomaton {
        var result = try FiniteAutomaton(syntax)
        if least != nil || greatest != nil {
            result = try result.intersection(try FiniteAutomaton(range))
        }
        if divisor > 1 { result = try result.intersection(Self.multiples(divisor)) }
        return result
    }

    /// How JSON writes numbers; minus zero only among fractions, and exponents only if nothing is asked of the value.
    private var syntax: Expression {
        let digit = Expression.digits(0...9)
        let positive = Expression.sequence(
            [.digits(1...9), .repeated(digit, 0...(Self.wholeDigits - 1))]
        )
        guard fraction > 0 else {
            return .choice([.ascii("0"), .sequence([.optional(.ascii("-")), positive])])
        }
        var parts: [Expression] = [
            .optional(.ascii("-")), .choice([.ascii("0"), positive]),
            .optional(.sequence([.ascii("."), .repeated(digit, 1...fraction)])),
        ]
        if least == nil && greatest == nil && fraction == Self.fractionDigits {
            parts.append(
                .optional(
                    .sequence(
                        [
                            .choice([.ascii("e"), .ascii("E")]),
                            .optional(.choice([.ascii("+"), .ascii("-")])), .repeated(digit, 1...2),
                        ]
                    )
                )
            )
        }
        return .sequence(parts)
    }

    /// The range, with more fractions than `syntax` has.
    private var range: Expression {
        var choices: [Expression] = []
        let zero = Decimal(0)
        // Numbers from zero on.
        if !(greatest?.value.isNegative ?? false) {
            let low =
                least.flatMap { $0.value.isNegative ? nil : $0 }
                ?? NumberBound(value: zero, isStrict: false)
            choices.append(Self.magnitudes(low, greatest))
        }
        // Those below, by their size.
        if least?.value.isNegative ?? true {
            let small =
                greatest.flatMap { $0.value.isNegative ? $0 : nil }
                ?? NumberBound(value: zero, isStrict: true)
            choices.append(.sequence([.ascii("-"), Self.magnitudes(small, least)]))
        }
        return .choice(choices)
    }

    /// The sizes from `low` to `high`, whose signs do not matter.
    private static func magnitudes(_ low: NumberBound, _ high: NumberBound?) -> Expression {
        var choices: [Expression] = []
        let lowCount = low.value.whole.count
        let highCount = high.map { $0.value.whole.count } ?? wholeDigits
        guard lowCount <= highCount, lowCount <= wholeDigits else { return .none }
        for count in lowCount...min(highCount, wholeDigits) {
            // The least number of so many digits takes the place of a lower bound of fewer.
            let first = count == 1 ? [0] : [1] + [Int](repeating: 0, count: count - 1)
            let start = count == lowCount ? low : nil
            let end = high.flatMap { $0.value.whole.count == count ? $0 : nil }
            choices.append(
                whole(
                    start.map(\.value.whole)?[...] ?? first[...],
                    end.map(\.value.whole)?[...],
                    start ?? NumberBound(value: Decimal(0), isStrict: false),
                    end,
                    count: count
                )
            )
        }
        return .choice(choices)
    }

    /// Whole digits that are not less than `low` and not more than `high`, and the fractions that may follow.
    ///
    /// - Parameter count: how many.
    private static func whole(
        _ low: ArraySlice<Int>?,
        _ high: ArraySlice<Int>?,
        _ start: NumberBound,
        _ end: NumberBound?,
        count: Int
    ) -> Expression {
        if count == 0 {
            return tail(
                fractions(
                    low == nil ? nil : start.value.fraction[...],
                    low != nil && start.isStrict,
                    high == nil ? nil : end?.value.fraction[...],
                    high != nil && end?.isStrict ?? false
                )
            )
        }
        if low == nil && high == nil {
            let digit = Expression.digits(0...9)
            return .sequence([.repeated(digit, count...count), whole(nil, nil, start, end, count: 0)])
        }
        let a = low?.first ?? 0
        let b = high?.first ?? 9
        guard a <= b else { return .none }
        func rest(_ low: ArraySlice<Int>?, _ high: ArraySlice<Int>?) -> Expression {
            whole(low?.dropFirst(), high?.dropFirst(), start, end, count: count - 1)
        }
        if a == b {
            return .sequence([.digits(a...a), rest(low, high)])
        }
        var choices: [Expression] = []
        var middle = (a, b)
        if low != nil {
            choices.append(.sequence([.digits(a...a), rest(low, nil)]))
            middle.0 += 1
        }
        if high != nil {
            choices.append(.sequence([.digits(b...b), rest(nil, high)]))
            middle.1 -= 1
        }
        if middle.0 <= middle.1 {
            choices.append(.sequence([.digits(middle.0...middle.1), rest(nil, nil)]))
        }
        return .choice(choices)
    }

    /// A point and digits, or neither if no digits are enough.
    private static func tail(_ fractions: Expression) -> Expression {
        let point = Expression.sequence([.ascii("."), fractions])
        return fractions.isNullable ? .choice([.empty, point]) : point
    }

    private static let anyDigits = Expression.unbounded(.digits(0...9), 0)
    private static let zeros = Expression.unbounded(.digits(0...0), 0)

    /// Digits behind the point between two others.
    private static func fractions(
        _ low: ArraySlice<Int>?,
        _ isLowStrict: Bool,
        _ high: ArraySlice<Int>?,
        _ isHighStrict: Bool
    ) -> Expression {
        switch (low, high) {
        case (nil, nil): return anyDigits
        case (let low?, nil): return atLeast(low, isLowStrict)
        case (nil, let high?): return atMost(high, isHighStrict)
        case (let low?, let high?):
            guard let b = high.first else {
                // Nothing is below zero, and zero is not above itself.
                return low.isEmpty && !isLowStrict && !isHighStrict ? zeros : .none
            }
            let a = low.first ?? 0
            let rest = low.dropFirst()
            if a > b { return .none }
            // No digits at all are zero.
            var choices: [Expression] = low.isEmpty && !isLowStrict ? [.empty] : []
            if a == b {
                choices.append(
                    .sequence([.digits(a...a), fractions(rest, isLowStrict, high.dropFirst(), isHighStrict)])
                )
                return .choice(choices)
            }
            choices.append(.sequence([.digits(a...a), atLeast(rest, isLowStrict)]))
            choices.append(.sequence([.digits(b...b), atMost(high.dropFirst(), isHighStrict)]))
            if a + 1 <= b - 1 { choices.append(.sequence([.digits((a + 1)...(b - 1)), anyDigits])) }
            return .choice(choices)
        }
    }

    private static func atLeast(_ low: ArraySlice<Int>, _ isStrict: Bool) -> Expression {
        guard let a = low.first else {
            return isStrict ? .sequence([zeros, .digits(1...9), anyDigits]) : anyDigits
        }
        var choices: [Expression] = [.sequence([.digits(a...a), atLeast(low.dropFirst(), isStrict)])]
        if a < 9 { choices.append(.sequence([.digits((a + 1)...9), anyDigits])) }
        return .choice(choices)
    }

    private static func atMost(_ high: ArraySlice<Int>, _ isStrict: Bool) -> Expression {
        guard let b = high.first else { return isStrict ? .none : zeros }
        var choices: [Expression] = [
            .empty, .sequence([.digits(b...b), atMost(high.dropFirst(), isStrict)]),
        ]
        if b > 0 { choices.append(.sequence([.digits(0...(b - 1)), anyDigits])) }
        return .choice(choices)
    }

    /// Whole numbers that a divisor divides.
    private static func multiples(_ divisor: Int) -> FiniteAutomaton {
        // State 0 is the beginning, 1 is behind the sign, 2 + r is behind digits with the remainder r.
        var edges: [[FiniteAutomaton.Edge]] = []
        func digits(_ remainder: Int) -> [FiniteAutomaton.Edge] {
            (0...9).map {
                let byte = UInt8(0x30 + $0)
                return FiniteAutomaton.Edge(
                    first: byte,
                    last: byte,
                    target: Int32(2 + (remainder * 10 + $0) % divisor)
                )
            }
        }
        let minus = UInt8(ascii: "-")
        edges.append([FiniteAutomaton.Edge(first: minus, last: minus, target: 1)] + digits(0))
        edges.append(digits(0))
        for remainder in 0..<divisor { edges.append(digits(remainder)) }
        var result = FiniteAutomaton(edges: edges, isEnd: edges.indices.map { $0 == 2 })
        result.trim()
        return result
    }
}
