import Testing
import VLJSON

@Suite struct JSONWriterTests {
    @Test("texts are escaped and numbers are the shortest that read back")
    func writesValues() {
        let value: JSONValue = [
            "a\"\\/\n\r\t\u{1}\u{1F}\u{7F}é😀": [
                .integer(.min), .number(0.1), .number(1e300), .number(.leastNonzeroMagnitude), 3.0, true, nil,
            ],
            "empty": [:], "none": [],
        ]
        #expect(
            String(decoding: JSONWriter.encode(value), as: UTF8.self)
                == #"{"a\"\\/\n\r\t\u0001\u001f\u007fé😀":[-9223372036854775808,0.1,1e+300,"#
                + #"5e-324,3.0,true,null],"#
                + #""empty":{},"none":[]}"#
        )
    }

    @Test("a float is written as short as a float needs, and what is not finite as null")
    func writesFloats() {
        var writer = JSONWriter()
        writer.beginArray()
        writer.write(Float(0.1))
        writer.write(Double.nan)
        writer.write(-Float.infinity)
        writer.write(UInt64.max)
        writer.endArray()
        #expect(String(decoding: writer.bytes, as: UTF8.self) == "[0.1,null,null,18446744073709551615]")
    }

    @Test("the pretty layout has a member a line and reads back as the same")
    func writesPretty() throws {
        let value: JSONValue = ["a": [1, [:], []], "b": ["c": "d"]]
        let bytes = JSONWriter.encode(value, .pretty)
        let text = """
            {
              "a": [
                1,
                {},
                []
              ],
              "b": {
                "c": "d"
              }
            }

            """
        #expect(String(decoding: bytes, as: UTF8.self) == text)
        #expect(try JSONValue(parsing: bytes) == value)
    }

    @Test("random doubles survive a round trip to the bit")
    func roundTrips() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let value = Double(bitPattern: generator.next())
            guard value.isFinite else { continue }
            let bytes = JSONWriter.encode(.number(value))
            var scanner = try JSONScanner(bytes.span)
            #expect(try scanner.readDouble().bitPattern == value.bitPattern)
        }
    }
}
