import Foundation
import Testing

@testable import VLGrammar

@Suite("Patterns and numbers as automata") struct LanguageTests {
    private func accepts(_ automaton: FiniteAutomaton, _ text: String) -> Bool {
        var state = 0
        if automaton.isEmpty { return false }
        for byte in text.utf8 {
            guard let edge = automaton.edges[state].first(where: { $0.first <= byte && byte <= $0.last })
            else {
                return false
            }
            state = Int(edge.target)
        }
        return automaton.isEnd[state]
    }

    /// All texts of up to so many letters.
    private func texts(_ letters: [Character], _ length: Int) -> [String] {
        var all = [""]
        var last = [""]
        for _ in 0..<length {
            last = last.flatMap { text in letters.map { text + String($0) } }
            all += last
        }
        return all
    }

    @Test(
        "patterns take the texts that the system's regular expressions take",
        arguments: [
            "a", "^a$", "^(a|bc)*$", "^a{2,3}b?$", "ab|c$", "^a|b", "^[^a]+$", "^.b.$", "a.*c",
            "^(?:ab){1,2}$",
            "^(a*)*b$", "^[a-b]{0,2}c+$", "^\\w\\W$", "^[\\d\\-a]$", "^(?<x>a)c$", "^a+?b*?$", "^()$",
            "^[b\\]]a$", "c{2,}",
        ]
    )
    func patterns(pattern: String) throws {
        let automaton = try FiniteAutomaton(try PatternReader.read(pattern))
        let expression = try NSRegularExpression(pattern: pattern)
        for text in texts(["a", "b", "c", "1", "-", "]"], 4) {
            let range = NSRange(text.startIndex..., in: text)
            let wanted = expression.firstMatch(in: text, range: range) != nil
            #expect(accepts(automaton, text) == wanted, "\(pattern) in \(text)")
        }
    }

    @Test("characters beyond ASCII are counted as one and spelled in UTF-8")
    func characters() throws {
        let automaton = try FiniteAutomaton(try PatternReader.read("^[ß-\u{10FFFF}]{2}$"))
        #expect(
            accepts(automaton, "ßß") && accepts(automaton, "图😀") && accepts(automaton, "\u{D7FF}\u{E000}")
        )
        #expect(!accepts(automaton, "ß") && !accepts(automaton, "aß") && !accepts(automaton, "ÞÞ"))
        // What JSON has to escape is escaped.
        let any = try FiniteAutomaton(try PatternReader.read("^[^a]$"))
        #expect(
            accepts(any, "\\n") && accepts(any, "\\\"") && accepts(any, "\\\\") && accepts(any, "\\u0001")
        )
        #expect(!accepts(any, "\"") && !accepts(any, "\n") && !accepts(any, "\\u000a") && !accepts(any, "a"))
    }

    @Test("every scalar is in UTF-8 as Swift writes it")
    func utf8() {
        var found = 0
        for sequence in ScalarSet.all.utf8 {
            found += sequence.reduce(1) { $0 * $1.count }
        }
        #expect(found == 0x11_0000 - 0x800)
        for value in stride(from: UInt32(0), through: 0x10FFFF, by: 61) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let bytes = Array(String(scalar).utf8)
            let set = ScalarSet([value...value]).utf8
            #expect(set.count == 1 && set[0].map(\.lowerBound) == bytes)
        }
    }

    @Test("texts of a length take exactly so many characters")
    func lengths() {
        for (least, most) in [(0, 2), (1, 1), (2, nil), (3, 5)] as [(Int, Int?)] {
            let automaton = SchemaCompiler.lengths(least, most)
            for text in ["", "a", "图", "a\\n", "\\u0000😀", "abc", "ßßßß", "abcde", "abcdef"] {
                let count = text.replacing("\\n", with: "n").replacing("\\u0000", with: "0").unicodeScalars
                    .count
                let wanted = count >= least && count <= most ?? .max
                #expect(
                    accepts(automaton, "\"\(text)\"") == wanted,
                    "\(text) of \(least) to \(String(describing: most))"
                )
            }
            #expect(
                !accepts(automaton, "\"a") && !accepts(automaton, "\"\\u000a\"")
                    && !accepts(automaton, "\"\\/\"")
            )
        }
    }

    /// Numbers in thousandths, with their spellings.
    private var numbers: [(text: String, value: Int)] {
        let fractions = [
            ("", 0), (".0", 0), (".05", 50), (".1", 100), (".25", 250), (".250", 250), (".5", 500),
            (".99", 990),
            (".999", 999), (".001", 1), (".009", 9),
        ]
        var all: [(String, Int)] = []
        for whole in [0, 1, 2, 5, 9, 10, 11, 19, 20, 21, 99, 100, 101, 137, 999, 1000] {
            for (text, value) in fractions {
                all.append(("\(whole)\(text)", whole * 1000 + value))
                if whole * 1000 + value > 0 { all.append(("-\(whole)\(text)", -(whole * 1000 + value))) }
            }
        }
        return all
    }

    @Test("ranges of numbers hold the numbers between their ends")
    func ranges() throws {
        let ends: [Int?] = [nil, -100_250, -20_000, -1001, -5, 0, 1, 50, 999, 1000, 9990, 11_250, 100_000]
        func bound(_ value: Int?, _ isStrict: Bool) -> NumberBound? {
            value.flatMap { value in
                Decimal("\(Double(value) / 1000)").map { NumberBound(value: $0, isStrict: isStrict) }
            }
        }
        for isWhole in [false, true] {
            for low in ends {
                for high in ends {
                    for strict in [(false, false), (true, true)] {
                        var language = NumberLanguage()
                        if isWhole { language.fraction = 0 }
                        language.least = bound(low, strict.0)
                        language.greatest = bound(high, strict.1)
                        let automaton = try language.automaton()
                        for (text, value) in numbers {
                            var wanted = !(isWhole && text.contains("."))
                            if let low { wanted = wanted && (strict.0 ? value > low : value >= low) }
                            if let high { wanted = wanted && (strict.1 ? value < high : value <= high) }
                            if accepts(automaton, text) != wanted {
                                Issue.record("\(text) from \(low ?? -1) to \(high ?? -1), \(strict)")
                                return
                            }
                        }
                        for wrong in ["", "-", "01", "1.", ".5", "+1", "00", "1e", "--1"] {
                            #expect(!accepts(automaton, wrong))
                        }
                    }
                }
            }
        }
    }

    @Test("multiples are those that a divisor divides", arguments: [2, 3, 7, 10, 64, 999])
    func multiples(divisor: Int) throws {
        var language = NumberLanguage()
        language.fraction = 0
        language.divisor = divisor
        let automaton = try language.automaton()
        for value in -3000...3000 { #expect(accepts(automaton, "\(value)") == (value % divisor == 0)) }
    }

    @Test("numbers that Swift prints are read as decimals")
    func decimals() throws {
        for (text, whole, fraction) in [
            ("0.0", [0], []), ("-0.0", [0], []), ("1e-05", [0], [0, 0, 0, 0, 1]),
            ("1.5e+20", [1, 5] + [Int](repeating: 0, count: 19), []),
            ("12.340", [1, 2], [3, 4]), ("100", [1, 0, 0], []),
        ] as [(String, [Int], [Int])] {
            let decimal = try #require(Decimal(text))
            #expect(decimal.whole == whole && decimal.fraction == fraction && !decimal.isNegative, "\(text)")
        }
        #expect(Decimal("1e300") == nil)
        #expect(Decimal("-2.5")?.isNegative == true)
    }
}
