import Testing
import VLText

@Suite struct GroundingTests {
    private func parse(_ answer: String) -> GroundingParser { GroundingParser(Array(answer.utf8)) }

    private func boxes(_ answer: String) -> [[Int]] { parse(answer).boxes.map(\.box) }

    // MARK: Well-formed answers

    @Test("a label and its boxes are read with their places")
    func reads() throws {
        let answer = "I see <|ref|>the red cup<|/ref|><|det|>[[1, 2, 30, 999], [0,0,0,0]]<|/det|>."
        let parser = parse(answer)
        #expect(parser.problems.isEmpty)
        #expect(parser.boxes.map(\.box) == [[1, 2, 30, 999], [0, 0, 0, 0]])
        #expect(parser.boxes.map(\.label) == ["the red cup", "the red cup"])
        #expect(parser.boxes.map(\.confidence) == [nil, nil])
        let texts = parser.boxes.map { String(decoding: Array(answer.utf8)[$0.range], as: UTF8.self) }
        #expect(texts == ["1, 2, 30, 999", "0,0,0,0"])
    }

    @Test("several labels, bytes that are no characters, and a detection without a label")
    func labels() {
        let text = Array("<|ref|>图<|/ref|> is <|det|>[[1,2,3,4]]<|/det|><|det|>[[5,6,7,8]]<|/det|>".utf8)
        let broken = Array("<|ref|>".utf8) + [0xff] + Array("<|/ref|><|det|>[[0,0,1,1]]<|/det|>".utf8)
        let parser = GroundingParser(text + broken)
        #expect(parser.boxes.map(\.label) == ["图", "", "\u{FFFD}"])
        #expect(parser.problems.isEmpty)
    }

    @Test("one pair of brackets, blanks, leading zeros and text around boxes are accepted")
    func lenient() {
        #expect(boxes("<|det|>[1, 2, 3, 4]<|/det|>") == [[1, 2, 3, 4]])
        #expect(boxes("<|det|> [ [ 1 ,\n2,\t3 , 4 ] , [5,6,7,8] ] ") == [[1, 2, 3, 4], [5, 6, 7, 8]])
        #expect(boxes("<|det|>[[001, 0002, 3, 0999]]<|/det|>") == [[1, 2, 3, 999]])
        #expect(boxes("<|det|>a [[1,2,3,4] and [5,6,7,8]] b<|/det|>") == [[1, 2, 3, 4], [5, 6, 7, 8]])
    }

    @Test("pixels are cut off as the official program does")
    func pixels() {
        let boxes = parse("<|det|>[[0, 500, 999, 998], [333, 666, 334, 667]]<|/det|>").boxes
        #expect(boxes[0].pixels(width: 640, height: 333) == [0, 166, 640, 332])
        // 333 / 999 * 3 is 1 in double precision, 666 / 999 * 3 is 2.
        #expect(boxes[1].pixels(width: 3, height: 3) == [1, 2, 1, 2])
    }

    // MARK: Confidence

    /// Tokens of an answer with their probabilities.
    private func parse(_ tokens: [(String, Double)]) -> GroundingParser {
        var bytes: [UInt8] = []
        var ends: [(end: Int, logProbability: Float)] = []
        for (text, probability) in tokens {
            bytes += Array(text.utf8)
            ends.append((bytes.count, Float(Self.log(probability))))
        }
        return GroundingParser(bytes, tokens: ends)
    }

    /// The natural logarithm of a power of two.
    private static func log(_ value: Double) -> Double { Double(value.exponent) * 0.693_147_180_559_945_3 }

    @Test("confidence is the geometric mean over the tokens with digits, each once")
    func confidence() throws {
        let parser = parse([
            ("<|det|>", 0.125), ("[[", 0.125), ("1", 0.5), ("2", 0.5), (", ", 0.125), ("3,", 0.25),
            (" 40", 1),
            (",", 0.125), (" ", 0.125), ("5", 0.5), ("]]", 0.125), ("<|/det|>", 0.125),
        ])
        #expect(parser.problems.isEmpty)
        #expect(parser.boxes.map(\.box) == [[12, 3, 40, 5]])
        // (1/2 * 1/2 * 1/4 * 1 * 1/2) to the fifth root is 1/2.
        let confidence = try #require(parser.boxes.first?.confidence)
        #expect(abs(confidence - 0.5) < 1e-6)
    }

    @Test("a token that spells two boxes counts for both; an unknown probability makes the box's unknown")
    func sharedTokens() throws {
        let parser = parse([("<|det|>[[1,2,3,", 0.5), ("4],[5,", 0.25), ("6,7,8]]<|/det|>", 1)])
        #expect(parser.boxes.count == 2)
        #expect(abs((parser.boxes[0].confidence ?? 0) - 0.353_553) < 1e-5)
        #expect(abs((parser.boxes[1].confidence ?? 0) - 0.5) < 1e-6)

        var stream = GroundingParser()
        stream.push("<|det|>[[1,2,3,".utf8, logProbability: -1)
        stream.push("4],[5,6,7,8]".utf8)
        stream.push("]<|/det|>".utf8, logProbability: .nan)
        #expect(stream.boxes.map(\.confidence) == [nil, nil])
        var odd = GroundingParser()
        odd.push("<|det|>[[1,2,3,4]".utf8, logProbability: -.infinity)
        odd.push("[1,2,3,4]".utf8, logProbability: .nan)
        odd.push("[1,2,3,4]".utf8, logProbability: 1e-3)
        #expect(odd.boxes.map(\.confidence) == [0, nil, 1])
    }

    @Test("token ends beyond the answer or out of order do no harm")
    func oddTokens() {
        let bytes = Array("<|det|>[[1,2,3,4]]<|/det|>".utf8)
        let parser = GroundingParser(bytes, tokens: [(12, -1), (3, -1), (-5, -1), (9999, -1)])
        #expect(parser.boxes.count == 1)
        #expect(parser.boxes[0].confidence != nil)
    }

    // MARK: Streams

    @Test("a box is there as soon as its bracket is closed")
    func streams() {
        var parser = GroundingParser()
        #expect(parser.push("<|ref|>a<|/r".utf8).isEmpty)
        #expect(parser.push("ef|><|det|>[[1, 2, 3".utf8).isEmpty)
        #expect(parser.push(", 4]".utf8) == 0..<1)
        #expect(parser.boxes[0].label == "a")
        #expect(parser.push(", [5,6,7,8],[9,9,9,9]]".utf8) == 1..<3)
        #expect(parser.push("<|/det|>".utf8).isEmpty)
        parser.finish()
        #expect(parser.problems.isEmpty)
    }

    @Test("how an answer is cut changes neither boxes nor problems")
    func cuts() {
        let answer = """
            <|ref|>图 <|/re <<|/ref|>x<|det|>[[1, 2, 3, 4], [5, 6], [x, 1, 2, 3], [9, 9, 1, 1]]<|/det|><|/det|>\
            <|ref|>b<|ref|>c<|det|>[[7, 8, 9, 10]<|det|>none<|/det|><|/ref|><|ref|>d<|/ref|> <|det
            """
        let bytes = Array(answer.utf8)
        let whole = GroundingParser(bytes)
        #expect(whole.boxes.map(\.label) == ["图 <|/re <", "c"])
        #expect(
            whole.problems.map(\.description) == [
                "byte 50: expected four numbers in a box, found 2",
                "byte 58: expected a whole number from 0 to 999, found 'x'",
                "byte 72: expected x1 <= x2 and y1 <= y2, found [9, 9, 1, 1]",
                "byte 92: expected an opening tag before '<|/det|>', found none",
                "byte 100: expected '<|ref|>' to be closed, found no end of it",
                "byte 108: expected '<|ref|>' to be closed, found no end of it",
                "byte 116: expected '<|det|>' to be closed, found no end of it",
                "byte 137: expected boxes between '<|det|>' and '<|/det|>', found none",
                "byte 156: expected an opening tag before '<|/ref|>', found none",
                "byte 164: expected boxes after the reference 'd', found none",
            ]
        )
        for size in 1...12 {
            var parser = GroundingParser()
            for start in stride(from: 0, to: bytes.count, by: size) {
                parser.push(bytes[start..<min(start + size, bytes.count)])
            }
            parser.finish()
            #expect(parser.boxes == whole.boxes)
            #expect(parser.problems == whole.problems)
        }
    }

    // MARK: Malformed answers

    @Test(
        "a malformed part is reported and the rest is kept",
        arguments: [
            ("<|det|>[[1, 2, 3], [1, 2, 3, 4, 5], [1,2,3,4]]<|/det|>", 2, [[1, 2, 3, 4]]),
            ("<|det|>[[1.5, 2, 3, 4], [-1, 2, 3, 4], [1, 2, 3, 1000], [1,2,3,4]]", 4, [[1, 2, 3, 4]]),
            ("<|det|>[[1, 2, 3, 99999999999999999999999999], [1 2, 3, 4, 5]]<|/det|>", 2, []),
            ("<|det|>[[1, 2, , 4], [1, 2, 3, ], [], [1,2,3,4]]<|/det|>", 3, [[1, 2, 3, 4]]),
            ("<|det|>[[4, 2, 3, 9], [4, 10, 5, 9]]<|/det|>", 2, []),
            ("<|det|>[[1, 2, 3, 4<|/det|>", 1, []),
            ("<|det|>[[1, 2, [5, 6, 7, 8]]<|/det|>", 1, [[5, 6, 7, 8]]),
            ("<|det|><|/det|>", 1, []), ("<|det|>1, 2, 3, 4<|/det|>", 1, []), ("<|det|>]]<|/det|>", 1, []),
            ("<|det|>[[1,2,3,4], [5,", 1, [[1, 2, 3, 4]]), ("<|det|>", 1, []),
            ("<|ref|>a<|det|>[[1,2,3,4]]<|/det|>", 1, [[1, 2, 3, 4]]),
            ("<|ref|>a<|/ref|>", 1, []), ("<|ref|>a", 1, []), ("<|ref|>a<|/ref|><|ref|>b", 2, []),
            ("<|/ref|>", 1, []), ("<|/det|>", 1, []),
            ("[[1,2,3,4]] <|ref <|det| |det|> <|DET|>", 0, []), ("", 0, []), ("<", 0, []), ("<|det|", 0, []),
            ("<|det|>[[__import__('os').system('x')]]<|/det|>", 1, []),
        ] as [(String, Int, [[Int]])]
    )
    func malformed(_ answer: String, _ problems: Int, _ boxes: [[Int]]) {
        let parser = parse(answer)
        #expect(parser.problems.count == problems, "\(parser.problems)")
        #expect(parser.boxes.map(\.box) == boxes)
    }

    @Test("each prefix and each changed byte of an answer is read")
    func mangled() {
        let answer = Array("<|ref|>a<|/ref|><|det|>[[0, 0, 100, 100], [5, 5, 9, 9]]<|/det|> 图".utf8)
        for index in answer.indices {
            _ = GroundingParser(Array(answer[..<index]))
            for byte in [UInt8(0), 0x20, 0x2c, 0x2d, 0x30, 0x3c, 0x5b, 0x5d, 0x7c, 0xff] {
                var changed = answer
                changed[index] = byte
                let parser = GroundingParser(changed)
                for box in parser.boxes {
                    #expect(box.box.count == 4 && box.box.allSatisfy((0...999).contains))
                    #expect(box.range.upperBound <= changed.count)
                }
            }
        }
    }

    @Test("hostile answers take linear time and little memory")
    func hostile() {
        for unit in ["<|det|>", "<|ref|>", "[", "[[", "]", "<|", "[1,", "9", "1,", "<|/ref|><|/det|>"] {
            let answer = "<|det|>" + String(repeating: unit, count: 60_000 / unit.utf8.count)
            let parser = parse(answer)
            #expect(parser.boxes.isEmpty)
            #expect(parser.problems.allSatisfy { $0.description.utf8.count < 300 })
        }
        let label = String(repeating: "x", count: 20_000)
        let many = String(repeating: "[1,2,3,4]", count: 3000)
        #expect(parse("<|ref|>\(label)<|/ref|><|det|>\(many)<|/det|>").boxes.count == 3000)
    }
}
