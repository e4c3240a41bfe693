/// Why a pattern is not read.
struct PatternFailure: Error {
    let reason: String
}

/// Reads the part of ECMAScript's regular expressions that automata can follow: no look-around, no back-references, no
/// word boundaries.
///
/// As in JSON Schema a pattern may stand anywhere in a text unless anchors say otherwise; these are read at its
/// beginning and its end, and of its alternatives.
struct PatternReader {
    static let lengthLimit = 4096
    private static let nestingLimit = 32
    private static let repeatLimit = 1000

    private let scalars: [UInt32]
    private var place = 0
    private var nesting = 0

    /// The expression of the texts, without quotes, in which a pattern is found.
    ///
    /// - Throws: `PatternFailure`.
    static func read(_ pattern: String) throws(PatternFailure) -> Expression {
        guard pattern.utf8.count <= lengthLimit else {
            throw PatternFailure(reason: "it is longer than \(lengthLimit) bytes")
        }
        var reader = PatternReader(pattern)
        let expression = try reader.alternatives(isOutermost: true)
        guard reader.place == reader.scalars.count else { throw reader.failure("a ')' without its '('") }
        return expression
    }

    private init(_ pattern: String) { scalars = pattern.unicodeScalars.map(\.value) }

    private func failure(_ what: String) -> PatternFailure {
        PatternFailure(reason: "character \(place + 1): \(what)")
    }

    private func has(_ character: Unicode.Scalar) -> Bool {
        place < scalars.count && scalars[place] == character.value
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard has(character) else { return false }
        place += 1
        return true
    }

    private mutating func alternatives(isOutermost: Bool) throws(PatternFailure) -> Expression {
        nesting += 1
        guard nesting <= Self.nestingLimit else {
            throw failure("groups nested deeper than \(Self.nestingLimit)")
        }
        defer { nesting -= 1 }
        let anything = Expression.unbounded(.scalar(.all), 0)
        var choices: [Expression] = []
        repeat {
            let begins = isOutermost && take("^")
            var parts: [Expression] = []
            var ends = false
            while place < scalars.count, !has("|"), !has(")") {
                if isOutermost, has("$"), place + 1 == scalars.count || scalars[place + 1] == 0x7C {
                    place += 1
                    ends = true
                    break
                }
                parts.append(try repeated(try atom()))
            }
            if isOutermost {
                if !begins { parts.insert(anything, at: 0) }
                if !ends { parts.append(anything) }
            }
            choices.append(.sequence(parts))
        } while take("|")
        return choices.count == 1 ? choices[0] : .choice(choices)
    }

    private mutating func repeated(_ atom: Expression) throws(PatternFailure) -> Expression {
        var result = atom
        if take("*") {
            result = .unbounded(atom, 0)
        } else if take("+") {
            result = .unbounded(atom, 1)
        } else if take("?") {
            result = .optional(atom)
        } else if has("{") {
            place += 1
            guard let least = try count() else { throw failure("'{' without a number behind it") }
            if take(",") {
                if let most = try count() {
                    guard most >= least else { throw failure("a greatest count below the least one") }
                    result = .repeated(atom, least...most)
                } else {
                    result = .unbounded(atom, least)
                }
            } else {
                result = .repeated(atom, least...least)
            }
            guard take("}") else { throw failure("a count without its '}'") }
        } else {
            return atom
        }
        // Whether few or many are preferred says nothing about which texts fit.
        _ = take("?")
        if has("*") || has("+") || has("?") || has("{") { throw failure("a count of a count") }
        return result
    }

    private mutating func count() throws(PatternFailure) -> Int? {
        var value: Int?
        while place < scalars.count, (0x30...0x39).contains(scalars[place]) {
            value = (value ?? 0) * 10 + Int(scalars[place] - 0x30)
            place += 1
            if let value, value > Self.repeatLimit { throw failure("a count over \(Self.repeatLimit)") }
        }
        return value
    }

    private mutating func atom() throws(PatternFailure) -> Expression {
        let scalar = scalars[place]
        place += 1
        switch Unicode.Scalar(scalar) {
        case "(":
            if take("?") {
                if take("<") {
                    // A named group; look-behind has another character here.
                    guard !has("="), !has("!") else { throw failure("look-behind") }
                    while place < scalars.count, !has(">") { place += 1 }
                    guard take(">") else { throw failure("a group's name without its '>'") }
                } else if !take(":") {
                    throw failure("look-ahead or flags")
                }
            }
            let inner = try alternatives(isOutermost: false)
            guard take(")") else { throw failure("a '(' without its ')'") }
            return inner
        case ".": return .scalar(ScalarSet.lineEnds.complement)
        case "[": return .scalar(try scalarClass())
        case "\\": return .scalar(try escape(inClass: false))
        case "^", "$": throw failure("an anchor that is not at the pattern's beginning or end")
        case "*", "+", "?", "{": throw failure("a count of nothing")
        case "]", "}": throw failure("a closing bracket without its opening one")
        default: return .scalar(ScalarSet([scalar...scalar]))
        }
    }

    private mutating func scalarClass() throws(PatternFailure) -> ScalarSet {
        let isNegated = take("^")
        var set = ScalarSet()
        while !has("]") {
            guard place < scalars.count else { throw failure("a '[' without its ']'") }
            let first = try classAtom()
            if has("-"), place + 1 < scalars.count, scalars[place + 1] != 0x5D {
                place += 1
                let last = try classAtom()
                guard let low = first.single, let high = last.single, low <= high else {
                    throw failure("a range whose ends are not in order")
                }
                set = set.union(ScalarSet([low...high]))
            } else {
                set = set.union(first)
            }
        }
        place += 1
        return isNegated ? set.complement : set
    }

    private mutating func classAtom() throws(PatternFailure) -> ScalarSet {
        guard place < scalars.count else { throw failure("a '[' without its ']'") }
        let scalar = scalars[place]
        place += 1
        return scalar == 0x5C ? try escape(inClass: true) : ScalarSet([scalar...scalar])
    }

    private mutating func escape(inClass: Bool) throws(PatternFailure) -> ScalarSet {
        guard place < scalars.count else { throw failure("a backslash at the end") }
        let scalar = scalars[place]
        place += 1
        func one(_ value: UInt32) -> ScalarSet { ScalarSet([value...value]) }
        switch Unicode.Scalar(scalar) {
        case "d": return .digits
        case "D": return ScalarSet.digits.complement
        case "w": return .word
        case "W": return ScalarSet.word.complement
        case "s": return .space
        case "S": return ScalarSet.space.complement
        case "t": return one(9)
        case "n": return one(10)
        case "v": return one(11)
        case "f": return one(12)
        case "r": return one(13)
        case "0": return one(0)
        case "b" where inClass: return one(8)
        case "x": return one(try hexadecimal(2))
        case "u":
            if take("{") {
                let start = place
                while place < scalars.count, !has("}") { place += 1 }
                let digits = place - start
                place = start
                guard (1...6).contains(digits) else { throw failure("an escape of a wrong length") }
                let value = try hexadecimal(digits)
                place += 1
                return one(try checked(value))
            }
            return one(try checked(try hexadecimal(4)))
        case .some(let other) where other.isASCII && !ScalarSet.word.ranges.contains { $0.contains(scalar) }:
            return one(scalar)
        default: throw failure("an escape that is not supported")
        }
    }

    private func checked(_ value: UInt32) throws(PatternFailure) -> UInt32 {
        guard Unicode.Scalar(value) != nil else { throw failure("an escape that is no character") }
        return value
    }

    private mutating func hexadecimal(_ digits: Int) throws(PatternFailure) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard place < scalars.count, let scalar = Unicode.Scalar(scalars[place]),
                let digit = Character(scalar).hexDigitValue
            else { throw failure("an escape without its digits") }
            value = value << 4 | UInt32(digit)
            place += 1
        }
        return value
    }
}

extension ScalarSet {
    /// The scalar, if it is one alone.
    fileprivate var single: UInt32? {
        ranges.count == 1 && ranges[0].count == 1 ? ranges[0].lowerBound : nil
    }
}
