import VLJSON

extension SchemaCompiler {
    // MARK: Texts

    /// The rule of strings.
    mutating func text(_ object: JSONObject, _ pointer: String) throws(GrammarError) -> Int32 {
        var parts: [FiniteAutomaton] = []
        for (keyword, pattern) in try patterns(object, pointer) {
            let inside: Expression
            do throws(PatternFailure) {
                inside = try PatternReader.read(pattern)
            } catch {
                throw .unsupported(keyword: keyword, pointer: pointer, reason: error.reason)
            }
            do throws(AutomatonFailure) {
                parts.append(try FiniteAutomaton(.sequence([.ascii("\""), inside, .ascii("\"")])))
            } catch {
                throw error.error("\(pointer)/\(keyword)")
            }
        }
        let least = try count("minLength", object, pointer)
        let most = try count("maxLength", object, pointer)
        if let most, most < least ?? 0 {
            throw .impossible(pointer: pointer, reason: "'maxLength' is less than 'minLength'")
        }
        if least ?? 0 > 0 || most != nil { parts.append(Self.lengths(least ?? 0, most)) }
        guard var result = parts.first else { return try builder.anyText() }
        for part in parts.dropFirst() {
            do throws(AutomatonFailure) {
                result = try result.intersection(part)
            } catch {
                throw error.error(pointer)
            }
        }
        guard !result.isEmpty else {
            throw .impossible(pointer: pointer, reason: "no text has the pattern, the format and the length")
        }
        return try builder.automaton(result)
    }

    private func patterns(
        _ object: JSONObject,
        _ pointer: String
    ) throws(GrammarError) -> [(keyword: String, pattern: String)] {
        var patterns: [(String, String)] = []
        for keyword in ["pattern", "format"] {
            guard let value = object[keyword] else { continue }
            guard let text = value.asString else {
                throw .invalid(keyword: keyword, pointer: pointer, expected: "a text", found: value.summary)
            }
            if keyword == "pattern" {
                patterns.append((keyword, text))
            } else if let pattern = TextFormat.pattern(text) {
                patterns.append((keyword, pattern))
            } else {
                throw .unsupported(
                    keyword: keyword,
                    pointer: pointer,
                    reason:
                        "expected one of \(TextFormat.names.joined(separator: ", ")), found \"\(text.excerpt())\""
                )
            }
        }
        return patterns
    }

    /// Strings of so many characters, each in the one way in which grammars write it.
    ///
    /// Made by hand: nothing has to be searched for in a chain that may be thousands of characters long.
    static func lengths(_ least: Int, _ most: Int?) -> FiniteAutomaton {
        typealias Edge = FiniteAutomaton.Edge
        var result = FiniteAutomaton(edges: [[]], isEnd: [false])
        func state() -> Int32 {
            result.edges.append([])
            result.isEnd.append(false)
            return Int32(result.edges.count - 1)
        }
        func connect(_ from: Int32, _ range: ClosedRange<UInt8>, _ to: Int32) {
            result.edges[Int(from)].append(Edge(first: range.lowerBound, last: range.upperBound, target: to))
        }
        /// Adds one character.
        func character(_ from: Int32, _ to: Int32) {
            let one = state()
            let two = state()
            let three = state()
            let escape = state()
            let shortest = (state(), state(), state(), state())
            connect(from, 0x20...0x21, to)
            connect(from, 0x23...0x5B, to)
            connect(from, 0x5C...0x5C, escape)
            connect(from, 0x5D...0x7F, to)
            connect(from, 0xC2...0xDF, one)
            connect(from, 0xE0...0xE0, shortest.0)
            connect(from, 0xE1...0xEC, two)
            connect(from, 0xED...0xED, shortest.1)
            connect(from, 0xEE...0xEF, two)
            connect(from, 0xF0...0xF0, shortest.2)
            connect(from, 0xF1...0xF3, three)
            connect(from, 0xF4...0xF4, shortest.3)
            connect(one, 0x80...0xBF, to)
            connect(two, 0x80...0xBF, one)
            connect(three, 0x80...0xBF, two)
            connect(shortest.0, 0xA0...0xBF, one)
            connect(shortest.1, 0x80...0x9F, one)
            connect(shortest.2, 0x90...0xBF, two)
            connect(shortest.3, 0x80...0x8F, two)
            for byte in "\"\\bfnr".utf8 { connect(escape, byte...byte, to) }
            let hexadecimal = (state(), state(), state(), state())
            connect(escape, 0x74...0x74, to)
            connect(escape, 0x75...0x75, hexadecimal.0)
            connect(hexadecimal.0, 0x30...0x30, hexadecimal.1)
            let digit = state()
            connect(hexadecimal.1, 0x30...0x30, digit)
            connect(digit, 0x30...0x30, hexadecimal.2)
            connect(digit, 0x31...0x31, hexadecimal.3)
            // Of the first sixteen, 8, 9, a, c and d have shorter escapes.
            connect(hexadecimal.2, 0x30...0x37, to)
            connect(hexadecimal.2, 0x62...0x62, to)
            connect(hexadecimal.2, 0x65...0x66, to)
            connect(hexadecimal.3, 0x30...0x39, to)
            connect(hexadecimal.3, 0x61...0x66, to)
        }
        let end = state()
        result.isEnd[Int(end)] = true
        var here = state()
        connect(0, 0x22...0x22, here)
        var count = 0
        while true {
            if count == most {
                connect(here, 0x22...0x22, end)
                break
            }
            let isLast = most == nil && count == least
            let next = isLast ? here : state()
            character(here, next)
            if count >= least {
                let place = result.edges[Int(here)].firstIndex { $0.first > 0x22 } ?? 0
                result.edges[Int(here)].insert(Edge(first: 0x22, last: 0x22, target: end), at: place)
            }
            if isLast { break }
            here = next
            count += 1
        }
        return result
    }

    // MARK: Numbers

    /// The rule of numbers.
    mutating func number(_ object: JSONObject, isWhole: Bool, _ pointer: String) throws(GrammarError) -> Int32
    {
        var language = NumberLanguage()
        if isWhole { language.fraction = 0 }
        for keyword in ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] {
            guard let value = object[keyword] else { continue }
            let bound = NumberBound(
                value: try decimal(value, keyword, pointer),
                isStrict: keyword.hasPrefix("exclusive")
            )
            if keyword.hasSuffix("inimum") {
                guard language.least == nil else {
                    throw .unsupported(
                        keyword: keyword,
                        pointer: pointer,
                        reason: "it stands beside 'minimum'"
                    )
                }
                language.least = bound
            } else {
                guard language.greatest == nil else {
                    throw .unsupported(
                        keyword: keyword,
                        pointer: pointer,
                        reason: "it stands beside 'maximum'"
                    )
                }
                language.greatest = bound
            }
        }
        if let value = object["multipleOf"] { try setDivisor(value, &language, pointer) }
        if language.least == nil, language.greatest == nil, object["multipleOf"] == nil {
            return try builder.anyNumber(isWhole: isWhole)
        }
        builder.pointer = pointer
        let automaton: FiniteAutomaton
        do throws(AutomatonFailure) {
            automaton = try language.automaton()
        } catch {
            throw error.error(pointer)
        }
        guard !automaton.isEmpty else {
            throw .impossible(
                pointer: pointer,
                reason:
                    "no number of \(NumberLanguage.wholeDigits) and \(language.fraction) digits lies between the bounds"
            )
        }
        return try builder.automaton(automaton)
    }

    private func decimal(
        _ value: JSONValue,
        _ keyword: String,
        _ pointer: String
    ) throws(GrammarError) -> Decimal {
        let text: String? =
            switch value {
            case .integer(let number): "\(number)"
            case .number(let number): number.isFinite ? "\(number)" : nil
            default: nil
            }
        guard let text, let decimal = Decimal(text) else {
            throw .invalid(
                keyword: keyword,
                pointer: pointer,
                expected: "a number of at most 40 digits",
                found: value.summary
            )
        }
        return decimal
    }

    private func setDivisor(
        _ value: JSONValue,
        _ language: inout NumberLanguage,
        _ pointer: String
    ) throws(GrammarError) {
        let decimal = try decimal(value, "multipleOf", pointer)
        if !decimal.isNegative, decimal.fraction.isEmpty, decimal.whole.count <= 4 {
            let divisor = decimal.whole.reduce(0) { $0 * 10 + $1 }
            if (1...NumberLanguage.divisorLimit).contains(divisor) {
                language.fraction = 0
                language.divisor = divisor
                return
            }
        }
        // 0.01 is two digits behind the point.
        if !decimal.isNegative, decimal.whole == [0], decimal.fraction.last == 1,
            decimal.fraction.dropLast().allSatisfy({ $0 == 0 }),
            decimal.fraction.count < NumberLanguage.fractionDigits
        {
            language.fraction = min(language.fraction, decimal.fraction.count)
            return
        }
        throw .unsupported(
            keyword: "multipleOf",
            pointer: pointer,
            reason:
                "expected a whole number from 1 to \(NumberLanguage.divisorLimit), or 0.1, 0.01 and so on, found \(value.summary)"
        )
    }
}
