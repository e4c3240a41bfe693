import Testing
import VLEngine

@Suite struct StopStringsTests {
    /// What each piece gives, and what is left at the end.
    private func run(
        _ stops: [String],
        _ pieces: [String]
    ) -> (given: [String], rest: String, found: String?) {
        var matcher = StopStrings(stops)
        let given = pieces.map { matcher.push($0) }
        return (given, matcher.finish(), matcher.found)
    }

    @Test("without stop strings text passes as it comes")
    func none() {
        for stops in [[], [""]] {
            let result = run(stops, ["a", "", "bc"])
            #expect(result.given == ["a", "", "bc"])
            #expect(result.rest.isEmpty)
            #expect(result.found == nil)
        }
    }

    @Test("text that may begin a stop string is held back until that is decided")
    func holdsBack() {
        let result = run(["STOP"], ["a S", "T", "x STO", "P after", "more"])
        #expect(result.given == ["a ", "", "STx ", "", ""])
        #expect(result.rest.isEmpty)
        #expect(result.found == "STOP")
        #expect(run(["STOP"], ["a ST"]).rest == "ST")
    }

    @Test("the first complete stop string counts; of those that end together, the longest")
    func first() {
        #expect(run(["abcd", "c"], ["xabcd"]).given == ["xab"])
        #expect(run(["c", "bc", "abc"], ["xabc"]).given == ["x"])
        #expect(run(["abd", "b"], ["ab"]).given == ["a"])
        #expect(run(["\n\n", "\n"], ["a\n\nb"]).given == ["a"])
    }

    @Test("a beginning inside a beginning is not lost")
    func overlaps() {
        #expect(run(["aab"], ["aaab"]).given == ["a"])
        #expect(run(["abab!"], ["ab", "ab", "ab!"]).given == ["", "", "ab"])
        #expect(run(["abcabd"], ["abcabcabd"]).given == ["abc"])
    }

    @Test("characters of several bytes are never cut, and compare by bytes")
    func characters() {
        // "é" and "è" share their first byte.
        #expect(run(["é"], ["è", "é"]).given == ["è", ""])
        #expect(run(["éx"], ["é", "è"]).given == ["", "éè"])
        // The same letter in two parts is another text.
        let parts = run(["\u{E9}"], ["e\u{301}"])
        #expect(parts.found == nil)
        #expect(parts.given[0].utf8.elementsEqual("e\u{301}".utf8))
        #expect(run(["<｜end▁of▁sentence｜>"], ["ok<｜end", "▁of▁sentence｜>"]).given == ["ok", ""])
    }

    @Test("what is given does not depend on the pieces, and equals a plain search")
    func equalsSearch() {
        let texts = ["abababcab", "aaaaaaab", "bcabcabcab", "cccc", "", "abcabcabdabc"]
        let stopLists = [
            ["abc"], ["aab", "b"], ["bcab", "abca"], ["cc", "ccc"], ["x"], ["abcabd", "cabc"],
        ]
        for text in texts {
            for stops in stopLists {
                let wanted = search(stops, text)
                for size in 1...4 {
                    var pieces: [String] = []
                    var rest = text[...]
                    while !rest.isEmpty {
                        pieces.append(String(rest.prefix(size)))
                        rest = rest.dropFirst(size)
                    }
                    let result = run(stops, pieces)
                    #expect(result.given.joined() + result.rest == wanted, "\(stops) in \(text) by \(size)")
                }
            }
        }
    }

    @Test("nothing changes when texts are cut at random places, between characters of any length")
    func randomSplits() {
        var random = Philox(seed: 7)
        func below(_ count: Int) -> Int { Int(random.unit() * Double(count)) }
        let letters: [Character] = ["a", "b", "é", "è", "中", "😀"]
        func text(_ count: Int) -> String { String((0..<count).map { _ in letters[below(letters.count)] }) }
        for _ in 0..<2000 {
            let whole = text(below(24))
            let stops = (0..<below(4)).map { _ in text(1 + below(3)) }
            var pieces: [String] = []
            var rest = whole[...]
            while !rest.isEmpty {
                let count = below(5)
                pieces.append(String(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            let wanted = search(stops, whole)
            let result = run(stops, pieces)
            #expect(result.given.joined() + result.rest == wanted, "\(stops) in \(pieces)")
            #expect((result.found != nil) == (wanted != whole), "\(stops) in \(pieces)")
        }
    }

    /// The text before the match that ends first, the longest of these.
    private func search(_ stops: [String], _ text: String) -> String {
        for end in 1...max(1, text.count) {
            let matches = stops.filter { text.prefix(end).hasSuffix($0) }
            if let longest = matches.max(by: { $0.count < $1.count }) {
                return String(text.prefix(end - longest.count))
            }
        }
        return text
    }

    @Test("long stop strings and hostile texts take linear time")
    func linear() {
        let long = String(repeating: "a", count: 20_000)
        var matcher = StopStrings([long + "b", long + "c"])
        var length = 0
        for _ in 0..<100_000 { length += matcher.push("a").utf8.count }
        #expect(length == 80_000)
        #expect(matcher.push("b").isEmpty)
        #expect(matcher.isFound)
    }
}
