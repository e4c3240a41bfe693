import Testing
import VLJSON

@Suite struct JSONScannerTests {
    @Test(
        "what is no JSON is refused",
        arguments: [
            "", " ", "{", "[", "}", "]", "{]", "[}", "nul", "tru", "fals", "nullx", "True", "NaN", "Infinity",
            "-Infinity",
            "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "1.e3", "0x10", "1_000", "--1", "1e999",
            "-1e999",
            "[1,]", "[,1]", "[1 2]", "[1,,2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{a:1}", "{'a':1}",
            "{\"a\" 1}", "{\"a\":1 \"b\":2}", "{1:2}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}",
            "[1] 2", "1 2", "{}{}", "[1]\u{0}", "null\u{0}", "// c\n1", "/* c */1", "[1] // c", "# c\n1",
            "\u{FEFF}1", "\"", "\"a", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\n\"", "\"a\nb\"", "\"a\tb\"", "\"\u{0}\"",
            "\u{A0}1",
            "\u{B}1", "\u{C}1", "'a'",
        ]
    )
    func refuses(_ text: String) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: Array(text.utf8)) }
        #expect(throws: JSONError.self) {
            var scanner = try JSONScanner(Array(text.utf8).span)
            try scanner.skipValue()
            try scanner.finish()
        }
    }

    @Test(
        "bytes that are no UTF-8 are refused",
        arguments: [
            [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xC3, 0x28], [0xE0, 0x80, 0x80],
            [0xE0, 0x9F, 0xBF],
            [0xE2, 0x82], [0xE2, 0x28, 0xA1], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF],
            [0xF0, 0x80, 0x80, 0x80],
            [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80],
            [0xFE], [0xFF],
        ] as [[UInt8]]
    )
    func refusesBytes(_ bytes: [UInt8]) {
        let quoted = [UInt8(ascii: "\"")] + bytes + [UInt8(ascii: "\"")]
        #expect(throws: JSONError.self) { try JSONValue(parsing: quoted) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: [UInt8(ascii: "\"")] + bytes) }
    }

    @Test("every scalar value that UTF-8 writes is read back")
    func readsEveryScalar() throws {
        for code in stride(from: UInt32(0x20), to: 0x11_0000, by: 37) {
            guard let scalar = Unicode.Scalar(code), scalar != "\"", scalar != "\\" else { continue }
            let text = String(scalar)
            #expect(try JSONValue(parsing: Array("\"\(text)\"".utf8)) == .string(text))
            let escaped = text.utf16.map {
                "\\u" + String(repeating: "0", count: 4 - String($0, radix: 16).count) + String($0, radix: 16)
            }
            #expect(try JSONValue(parsing: Array("\"\(escaped.joined())\"".utf8)) == .string(text))
        }
    }

    @Test("escapes are undone")
    func decodesEscapes() throws {
        let text = #""\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude00\u0000""#
        #expect(
            try JSONValue(parsing: Array(text.utf8)) == .string("\"\\/\u{8}\u{C}\n\r\tA\u{E9}\u{1F600}\u{0}")
        )
    }

    @Test("integers are exact to the ends of their types")
    func readsIntegers() throws {
        #expect(try read("9223372036854775807") { (s) throws(JSONError) in try s.readInt64() } == .max)
        #expect(try read("-9223372036854775808") { (s) throws(JSONError) in try s.readInt64() } == .min)
        #expect(try read("18446744073709551615") { (s) throws(JSONError) in try s.readUInt64() } == .max)
        #expect(try read("-0") { (s) throws(JSONError) in try s.readUInt64() } == 0)
        #expect(
            try read("9007199254740993") { (s) throws(JSONError) in try s.readInt() } == 9_007_199_254_740_993
        )
        for text in [
            "9223372036854775808", "-9223372036854775809", "64.0", "64.5", "1e3", "\"5\"", "true", "null",
        ] {
            #expect(throws: JSONError.self) { try read(text) { (s) throws(JSONError) in try s.readInt64() } }
            #expect(throws: JSONError.self) { try read(text) { (s) throws(JSONError) in try s.readCount() } }
        }
        for text in [
            "18446744073709551616", "-1", "99999999999999999999", "340282366920938463463374607431768211456",
        ] {
            #expect(throws: JSONError.self) { try read(text) { (s) throws(JSONError) in try s.readUInt64() } }
        }
    }

    @Test(
        "doubles are the nearest ones",
        arguments: [
            0, -0.0, 1, -1.5, 0.1, 1e22, 1e23, 123456789.123456789, 2.2250738585072014e-308,
            .leastNonzeroMagnitude,
            1.7976931348623157e308,
            9_007_199_254_740_992, 0.3, 1e-22, 6.02214076e23, 1e-7,
        ]
    )
    func readsDoubles(_ value: Double) throws {
        let read = try read("\(value)") { (s) throws(JSONError) in try s.readDouble() }
        #expect(read.bitPattern == value.bitPattern)
    }

    @Test(
        "a number too small for a double is 0, a long one is refused, and trees keep huge integers as doubles"
    )
    func readsOddNumbers() throws {
        #expect(try JSONValue(parsing: Array("1e-999".utf8)) == .number(0))
        #expect(try JSONValue(parsing: Array("0e99999999999999999999".utf8)) == .number(0))
        #expect(try JSONValue(parsing: Array("1000000000000000019884624838656".utf8)) == .number(1e30))
        let long = Array(String(repeating: "1", count: 1_001).utf8)
        #expect(throws: JSONError.self) { try JSONValue(parsing: long) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: Array("0.".utf8) + long) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: Array("1e".utf8) + long) }
    }

    @Test("nesting is read to the limit and refused above it")
    func limitsDepth() throws {
        let open = [UInt8](repeating: UInt8(ascii: "["), count: 128)
        let close = [UInt8](repeating: UInt8(ascii: "]"), count: 128)
        _ = try JSONValue(parsing: open + close)
        #expect(throws: JSONError.self) { try JSONValue(parsing: [UInt8(ascii: "[")] + open + close) }
        let deep = [UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)
        #expect(throws: JSONError.self) { try JSONValue(parsing: deep) }
    }

    @Test("a duplicate key is found in objects of any size", arguments: [1, 2, 7, 8, 9, 10, 100, 5_000])
    func findsDuplicates(_ count: Int) throws {
        let keys = (0..<count).map { "\"k\($0)\":{\"k0\":1,\"k1\":2}" }
        _ = try JSONValue(parsing: Array("{\(keys.joined(separator: ","))}".utf8))
        for again in Set([0, count / 2, count - 1]) {
            for name in ["k\(again)", "\\u006b\(again)"] {
                let text = "{\((keys + ["\"\(name)\":0"]).joined(separator: ","))}"
                let error = #expect(throws: JSONError.self) { try JSONValue(parsing: Array(text.utf8)) }
                guard case .duplicateKey("k\(again)", _)? = error else {
                    Issue.record("\(String(describing: error))")
                    continue
                }
            }
        }
    }

    @Test("keys that differ in bytes but look the same are different keys")
    func keepsBytesApart() throws {
        let value = try JSONValue(parsing: Array("{\"\u{E9}\":1,\"e\u{301}\":2}".utf8))
        #expect(value["\u{E9}"] == .integer(1))
        #expect(value["e\u{301}"] == .integer(2))
    }

    @Test("an error names line, column, byte and path")
    func locatesErrors() throws {
        let text = "{\"a\": {\"\u{E9}\": [1,\n  {\"b\": 64.5}]}}"
        let error = #expect(throws: JSONError.self) {
            var scanner = try JSONScanner(Array(text.utf8).span)
            try scanner.beginObject()
            _ = try scanner.nextKey()
            try scanner.beginObject()
            _ = try scanner.nextKey()
            try scanner.beginArray()
            _ = try scanner.nextElement()
            try scanner.skipValue()
            _ = try scanner.nextElement()
            try scanner.beginObject()
            _ = try scanner.nextKey()
            _ = try scanner.readInt()
        }
        #expect(
            error?.description
                == "line 2, column 9 (byte 25): 'a.\u{E9}[1].b': expected a whole number, found 64.5"
        )
    }

    @Test("the scanner gives texts raw, decoded and compared")
    func givesTexts() throws {
        let bytes = Array(#"["plain", "\u0065sc", "ø"]"#.utf8)
        var scanner = try JSONScanner(bytes.span)
        try scanner.beginArray()
        #expect(try scanner.nextElement())
        let plain = try scanner.readText()
        #expect(!plain.hasEscapes && scanner.matches(plain, "plain") && !scanner.matches(plain, "plai"))
        #expect(scanner.raw(plain).count == 5)
        #expect(try scanner.nextElement())
        let escaped = try scanner.readText()
        #expect(escaped.hasEscapes && scanner.matches(escaped, "esc") && scanner.string(escaped) == "esc")
        #expect(try scanner.nextElement())
        #expect(try scanner.readBytes() == [0xC3, 0xB8])
        #expect(try !scanner.nextElement())
        try scanner.finish()
    }

    @Test("no cut and no flipped byte stops the program, and no cut is accepted")
    func survivesDamage() throws {
        let text = #"{"a":[1,-2.5e3,true,null,{"b\u00e9":"x\ud83d\ude00"}],"ß":{"":"","c":[[],{}]}}"#
        let bytes = Array(text.utf8)
        for length in 0..<bytes.count {
            #expect(throws: JSONError.self) { try JSONValue(parsing: Array(bytes[..<length])) }
        }
        for index in bytes.indices {
            for byte in UInt8.min...UInt8.max {
                var damaged = bytes
                damaged[index] = byte
                do throws(JSONError) {
                    let value = try JSONValue(parsing: damaged)
                    #expect(try JSONValue(parsing: JSONWriter.encode(value)) == value)
                } catch {
                    #expect(!error.description.isEmpty)
                }
            }
        }
    }

    @Test("time grows with the length, also for many keys")
    func isLinear() throws {
        func seconds(_ count: Int) throws -> Double {
            let members = (0..<count).map { "\"token \($0)\":\($0)" }.joined(separator: ",")
            let bytes = Array("{\"vocab\":{\(members)}}".utf8)
            let time = try ContinuousClock().measure {
                var scanner = try JSONScanner(bytes.span)
                try scanner.skipValue()
                try scanner.finish()
            }
            return time / .seconds(1)
        }
        _ = try seconds(1_000)
        let ratio = try seconds(80_000) / seconds(8_000)
        #expect(ratio < 30, "ten times the keys took \(ratio) times the time")
    }

    private func read<Result>(
        _ text: String,
        _ body: (inout JSONScanner) throws(JSONError) -> Result
    ) throws(JSONError) -> Result {
        let bytes = Array(text.utf8)
        var scanner = try JSONScanner(bytes.span)
        let result = try body(&scanner)
        try scanner.finish()
        return result
    }
}
