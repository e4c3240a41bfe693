extension JSONScanner {
    /// The longest number literal that is read, in bytes; no double needs more than 800.
    package static var numberLimit: Int { 1_000 }

    /// A number literal of the scanned bytes.
    struct Number {
        /// The literal's bytes.
        let range: Range<Int>
        /// Whether the literal has neither a fraction nor an exponent.
        let isInteger: Bool
        let isNegative: Bool
        /// The value without its sign, if the literal is an integer that fits.
        let magnitude: UInt64?
        /// The literal as a double; finite.
        let double: Double
    }

    /// Reads a number as a 64-bit integer, exactly.
    ///
    /// - Throws: `JSONError.expected` for `64.5` and `1e3`, `JSONError.outOfRange` for what 64 bits cannot
    ///   hold.
    package mutating func readInt64() throws(JSONError) -> Int64 {
        let start = try startOfNumber(.wholeNumber)
        let number = try scanInteger(.wholeNumber)
        guard let value = number.int64 else {
            throw .outOfRange(
                literal: literal(number),
                type: "a 64-bit whole number",
                at: position(at: start)
            )
        }
        return value
    }

    /// Reads a number as an integer of this machine, exactly.
    package mutating func readInt() throws(JSONError) -> Int {
        let start = try startOfNumber(.wholeNumber)
        let number = try scanInteger(.wholeNumber)
        guard let value = number.int64, let result = Int(exactly: value) else {
            throw .outOfRange(
                literal: literal(number),
                type: "a 64-bit whole number",
                at: position(at: start)
            )
        }
        return result
    }

    /// Reads a number as an unsigned 64-bit integer, exactly.
    package mutating func readUInt64() throws(JSONError) -> UInt64 {
        let start = try startOfNumber(.count)
        let number = try scanInteger(.count)
        if number.isNegative, number.magnitude != 0 {
            throw .expected(.count, found: literal(number), at: position(at: start))
        }
        guard let value = number.magnitude else {
            throw .outOfRange(
                literal: literal(number),
                type: "an unsigned 64-bit whole number",
                at: position(at: start)
            )
        }
        return value
    }

    /// Reads a number as a count or a size: a whole number from 0 that an `Int` holds.
    package mutating func readCount() throws(JSONError) -> Int {
        let start = try startOfNumber(.count)
        let value = try readUInt64()
        guard let result = Int(exactly: value) else {
            throw .outOfRange(
                literal: "\(value)",
                type: "a count of at most \(Int.max)",
                at: position(at: start)
            )
        }
        return result
    }

    /// Reads a number as the nearest double.
    ///
    /// - Throws: `JSONError.outOfRange` for a number that is infinite as a double.
    package mutating func readDouble() throws(JSONError) -> Double {
        _ = try startOfNumber(.number)
        return try scanNumber().double
    }

    private mutating func startOfNumber(_ expectation: JSONExpectation) throws(JSONError) -> Int {
        skipSpace()
        switch byte(at: offset) {
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return offset
        default: throw unexpected(expectation)
        }
    }

    private mutating func scanInteger(_ expectation: JSONExpectation) throws(JSONError) -> Number {
        let number = try scanNumber()
        guard number.isInteger else {
            throw .expected(expectation, found: literal(number), at: position(at: number.range.lowerBound))
        }
        return number
    }

    /// The literal in a form for messages.
    func literal(_ number: Number) -> String { bytes.string(in: number.range).excerpt(limit: 40) }

    /// Reads a number literal, whose first byte (a digit or a minus) is the next one.
    mutating func scanNumber() throws(JSONError) -> Number {
        let start = offset
        let isNegative = byte(at: offset) == UInt8(ascii: "-")
        if isNegative { offset += 1 }
        // 19 digits fit 64 bits; the 20th may not, and then the literal is parsed as text.
        var digits: UInt64 = 0
        var overflows = false
        var exponent = 0
        if byte(at: offset) == UInt8(ascii: "0") {
            offset += 1
            if isDigit(byte(at: offset)) { throw leadingZero(start) }
        } else {
            _ = try scanDigits(&digits, &overflows, from: start)
        }
        let integer = overflows ? nil : digits
        var isInteger = true
        if byte(at: offset) == UInt8(ascii: ".") {
            isInteger = false
            offset += 1
            exponent -= try scanDigits(&digits, &overflows, from: start)
        }
        if byte(at: offset) | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            offset += 1
            let isDownwards = byte(at: offset) == UInt8(ascii: "-")
            if isDownwards || byte(at: offset) == UInt8(ascii: "+") { offset += 1 }
            var power: UInt64 = 0
            var isHuge = false
            _ = try scanDigits(&power, &isHuge, from: start)
            let step = isHuge || power > 100_000 ? 100_000 : Int(power)
            exponent += isDownwards ? -step : step
        }
        let range = start..<offset
        let double = try value(
            of: range,
            digits: overflows ? nil : digits,
            exponent: exponent,
            isNegative: isNegative
        )
        return Number(
            range: range,
            isInteger: isInteger,
            isNegative: isNegative,
            magnitude: isInteger ? integer : nil,
            double: double
        )
    }

    /// Reads one or more digits behind those in `value`, and gives their number.
    private mutating func scanDigits(
        _ value: inout UInt64,
        _ overflows: inout Bool,
        from start: Int
    ) throws(JSONError) -> Int {
        let first = offset
        while isDigit(byte(at: offset)) {
            let (product, isTooBig) = value.multipliedReportingOverflow(by: 10)
            let (sum, isOver) = product.addingReportingOverflow(UInt64(bytes[offset] - UInt8(ascii: "0")))
            if isTooBig || isOver { overflows = true }
            value = sum
            offset += 1
            guard offset - start <= JSONScanner.numberLimit else {
                throw .numberTooLong(limit: JSONScanner.numberLimit, at: position(at: start))
            }
        }
        guard offset > first else { throw unexpected(.digit) }
        return offset - first
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private func leadingZero(_ start: Int) -> JSONError {
        .expected(.number, found: excerpt(at: start), at: position(at: start))
    }

    /// The double nearest to a literal.
    private func value(
        of range: Range<Int>,
        digits: UInt64?,
        exponent: Int,
        isNegative: Bool
    ) throws(JSONError) -> Double {
        // Both factors are exact in double, so the one operation rounds correctly.
        if let digits, digits < 1 << 53, abs(exponent) < JSONScanner.powersOfTen.count {
            let power = JSONScanner.powersOfTen[abs(exponent)]
            let magnitude = exponent < 0 ? Double(digits) / power : Double(digits) * power
            return isNegative ? -magnitude : magnitude
        }
        let text = bytes.string(in: range)
        guard let result = Double(text), result.isFinite else {
            throw .outOfRange(
                literal: text.excerpt(limit: 40),
                type: "a number that a double holds",
                at: position(at: range.lowerBound)
            )
        }
        return result
    }

    /// The powers of ten that are exact in double.
    private static let powersOfTen: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
        1e19,
        1e20, 1e21, 1e22,
    ]
}

extension JSONScanner.Number {
    /// The value, if the literal is an integer that 64 signed bits hold.
    var int64: Int64? {
        guard let magnitude else { return nil }
        return isNegative ? Int64(exactly: -Int128(magnitude)) : Int64(exactly: magnitude)
    }
}
