import Testing
import VLTestSupport
import VLText

@Suite struct TokenizerTests {
    @Test("ids and both texts equal those of the official library", arguments: GoldenTokenizer.names)
    func golden(_ name: String) throws {
        let golden = try GoldenTokenizer(name)
        #expect(golden.encodings.count > 200)
        #expect(golden.decodings.count > 20)
        try golden.check()
    }

    @Test("text put together from any of the golden texts comes back whole", arguments: GoldenTokenizer.names)
    func roundTrip(_ name: String) throws {
        let golden = try GoldenTokenizer(name)
        let texts = golden.encodings.filter { $0.decoded == $0.text }.map(\.text)
        var random = Sequence32(1)
        for _ in 0..<100 {
            let text = (0..<6).map { _ in texts[random.next(below: texts.count)] }.joined()
            let ids = try golden.tokenizer.encode(text, parsesSpecial: false)
            #expect(golden.tokenizer.decode(ids).utf8.elementsEqual(text.utf8), "\(text.debugDescription)")
        }
    }

    @Test(
        "the streaming decoder gives what decoding at once gives, for any ids",
        arguments: GoldenTokenizer.names
    )
    func streaming(_ name: String) throws {
        let tokenizer = try GoldenTokenizer(name).tokenizer
        let size = tokenizer.vocabularySize
        // Tokens of one byte make most of the malformed characters.
        let bytes = (0..<Int32(size)).filter { tokenizer.bytes(of: $0).count == 1 }
        let high = bytes.filter { tokenizer.bytes(of: $0).allSatisfy { $0 >= 0x80 } }
        #expect(bytes.count >= 256)
        #expect(high.count >= 128)
        var random = Sequence32(2)
        for round in 0..<1500 {
            let ids = (0..<12).map { _ in
                switch random.next(below: 8) {
                case 0: Int32(random.next(below: size + 40)) - 20
                case 1: bytes[random.next(below: bytes.count)]
                default: high[random.next(below: high.count)]
                }
            }
            for skipsSpecial in [false, true] {
                let wanted = tokenizer.decode(ids, skipsSpecial: skipsSpecial)
                let found = GoldenTokenizer.streamed(ids, tokenizer, skipsSpecial: skipsSpecial)
                #expect(found.utf8.elementsEqual(wanted.utf8), "round \(round): \(ids)")
            }
        }
    }

    @Test("a character is given when its last byte has come, and not before")
    func holdsBack() throws {
        let tokenizer = try GoldenTokenizer("tiny-vl2-mha").tokenizer
        func id(_ byte: UInt8) throws -> Int32 {
            try #require((0..<Int32(tokenizer.vocabularySize)).first { tokenizer.bytes(of: $0) == [byte] })
        }
        var decoder = StreamingDecoder(tokenizer)
        var given: [String] = []
        for byte in "é中😀".utf8 { given.append(decoder.push(try id(byte))) }
        #expect(given == ["", "é", "", "", "中", "", "", "", "😀"])
        #expect(decoder.push(try id(0xe4)).isEmpty)
        #expect(decoder.push(try id(0x41)) == "\u{FFFD}A")
        #expect(decoder.push(try id(0xf0)).isEmpty)
        #expect(decoder.push(try id(0x9f)).isEmpty)
        #expect(decoder.finish() == "\u{FFFD}")
        #expect(decoder.finish().isEmpty)
    }

    @Test("special tokens in a text are tokens only where that is asked for")
    func specialTokens() throws {
        let tokenizer = try GoldenTokenizer("tiny-vl2-mha").tokenizer
        let end = "<｜end▁of▁sentence｜>"
        let id = try #require(tokenizer.tokenID(of: end))
        #expect(tokenizer.isSpecial(id))
        #expect(!tokenizer.isSpecial(-1))
        #expect(!tokenizer.isSpecial(.max))
        #expect(try tokenizer.encode("a\(end)").last == id)
        let plain = try tokenizer.encode("a\(end)", parsesSpecial: false)
        #expect(!plain.contains(id))
        #expect(tokenizer.decode(plain) == "a\(end)")
        #expect(tokenizer.decode(plain, skipsSpecial: true) == "a\(end)")
        #expect(tokenizer.decode([id], skipsSpecial: true).isEmpty)
        #expect(tokenizer.decode([.min, -1, Int32(tokenizer.vocabularySize), .max]).isEmpty)
        #expect(tokenizer.bytes(of: -1).isEmpty)
        #expect(tokenizer.tokenID(of: "no such token") == nil)
    }

    // MARK: Hostile texts

    private static let hostile: [(name: String, unit: String, end: String)] = [
        ("equal letters", "a", ""), ("spaces", " ", ""), ("spaces, then a letter", " ", "x"),
        ("newlines, then a letter", "\n", "x"), ("digits", "7", ""), ("stops", ".", ""),
        ("accents", "\u{301}", "x"), ("ideographs", "中", ""), ("beginnings of tokens", "<｜", ""),
        ("letters and spaces", "a ", ""), ("spaces and newlines", " \n", "x"), ("zeros", "\0", ""),
    ]

    @Test("long texts without a break take time in line with their length", arguments: hostile.indices)
    func hostileText(_ index: Int) throws {
        let (what, unit, end) = Self.hostile[index]
        // Another way of splitting sees the plainest of them.
        for name in index < 4 ? ["tiny-vl2-mha", "tiny-llm-linear"] : ["tiny-vl2-mha"] {
            let tokenizer = try GoldenTokenizer(name).tokenizer
            func seconds(_ size: Int) throws -> Double {
                let text = String(repeating: unit, count: size / unit.utf8.count) + end
                let clock = ContinuousClock()
                let start = clock.now
                let ids = try tokenizer.encode(text)
                let taken = start.duration(to: clock.now)
                #expect(tokenizer.decode(ids).utf8.elementsEqual(text.utf8), "\(what)")
                return Double(taken.components.seconds) + Double(taken.components.attoseconds) * 1e-18
            }
            // Work that grows with the square would take 64 times as long. The best of several runs, since other tests
            // run at the same time.
            var short = Double.infinity
            var long = Double.infinity
            for _ in 0..<4 {
                short = min(short, try seconds(8_000))
                long = min(long, try seconds(64_000))
                if long < 20 * short { break }
            }
            #expect(long < 20 * short, "\(what): \(short) s, \(long) s for eight times as much")
        }
    }

    // MARK: Bad files

    /// A file of `Tests/Fixtures/badfiles/tokenizer`, and what must happen with it.
    struct BadFile: CustomTestStringConvertible, Sendable {
        let name: String
        let expected: String
        let fault: String

        var testDescription: String { "\(name): \(fault)" }

        static func all() throws -> [BadFile] {
            let list = try fixtureBytes("badfiles/tokenizer/expectations.tsv")
            return String(decoding: list, as: UTF8.self).split(separator: "\n").dropFirst().map { line in
                let fields = line.split(separator: "\t").map(String.init)
                return BadFile(name: fields[0], expected: fields[1], fault: fields[2])
            }
        }
    }

    @Test("the collection of bad files is there")
    func listsBadFiles() throws {
        #expect(try BadFile.all().count == 48)
    }

    @Test("a bad tokenizer is refused by name, and an odd one works", arguments: try BadFile.all())
    func badFile(_ file: BadFile) throws {
        let bytes = try fixtureBytes("badfiles/tokenizer/\(file.name)")
        do throws(TokenizerError) {
            let tokenizer = try Tokenizer(json: bytes, file: file.name)
            #expect(file.expected != "reject", "accepted")
            let text = "Hello\n world" + String(repeating: "a", count: 2000) + "! <｜User｜>"
            do throws(TokenizerError) {
                let ids = try tokenizer.encode(text)
                #expect(ids.allSatisfy { $0 >= 0 && Int($0) < tokenizer.vocabularySize })
                #expect(!tokenizer.decode(ids).isEmpty)
            } catch {
                guard case .patternLimit = error else { throw error }
                #expect(file.expected != "accept")
            }
        } catch {
            #expect(file.expected != "accept", "\(error)")
            #expect(error.description.hasPrefix(file.name), "\(error) names no file")
        }
    }

    @Test("tokens that spell no bytes are joined by spaces, at once and one by one")
    func joinsBySpaces() throws {
        let file = #"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}"#
        let tokenizer = try Tokenizer(json: Array(file.utf8), file: "tokenizer.json")
        #expect(try tokenizer.encode("ab") == [0, 1])
        #expect(tokenizer.decode([0, 1]) == "a b")
        #expect(tokenizer.decode([7, 0, -1, 1]) == "a b")
        #expect(GoldenTokenizer.streamed([0, 1], tokenizer, skipsSpecial: false) == "a b")
        #expect(GoldenTokenizer.streamed([7, 0, -1, 1], tokenizer, skipsSpecial: true) == "a b")
    }

    @Test("tokens that must be special get their own ids and are found")
    func addsSpecial() throws {
        let bytes = try fixtureBytes("text/tiny-llm-linear.tokenizer.json")
        let plain = try Tokenizer(json: bytes, file: "tokenizer.json")
        let tokenizer = try Tokenizer(json: bytes, file: "tokenizer.json", special: ["<|new|>", "<image>"])
        let id = try #require(tokenizer.tokenID(of: "<|new|>"))
        #expect(plain.tokenID(of: "<|new|>") == nil)
        #expect(Int(id) >= plain.vocabularySize)
        #expect(tokenizer.isSpecial(id))
        #expect(try tokenizer.encode("<|new|>") == [id])
        #expect(tokenizer.decode([id]) == "<|new|>")
    }
}
