import Testing
import VLJSON
import VLTestSupport
import VLText

/// A tokenizer and what the official library makes of texts and ids with it.
struct GoldenTokenizer {
    struct Encoding {
        let text: String
        let ids: [Int32]
        let decoded: String
        let withoutSpecial: String
    }

    struct Decoding {
        let ids: [Int32]
        let decoded: String
        let withoutSpecial: String
    }

    static let names = [
        "tiny-llm-linear", "tiny-llm-mha", "tiny-vl-1.3b-like", "tiny-vl2-mha", "tiny-vl2-mla",
    ]

    let tokenizer: Tokenizer
    let encodings: [Encoding]
    let decodings: [Decoding]

    /// One of the tokenizers in `Tests/Fixtures/text`.
    init(_ name: String) throws {
        try self.init(
            tokenizer: fixtureBytes("text/\(name).tokenizer.json"),
            golden: fixtureBytes("text/\(name).golden.json"),
            name: name
        )
    }

    init(tokenizer file: [UInt8], golden: [UInt8], name: String) throws {
        tokenizer = try Tokenizer(json: file, file: name)
        let golden = try JSONValue(parsing: golden)
        encodings = try #require(golden["encode"]?.asArray).map { entry in
            let text = try #require(entry["text"]?.asString)
            let decoded = entry["decoded"]?.asString ?? text
            return Encoding(
                text: text,
                ids: try entry.ids("ids"),
                decoded: decoded,
                withoutSpecial: entry["decoded_without_special"]?.asString ?? decoded
            )
        }
        decodings = try #require(golden["decode"]?.asArray).map { entry in
            let decoded = try #require(entry["decoded"]?.asString)
            return Decoding(
                ids: try entry.ids("ids"),
                decoded: decoded,
                withoutSpecial: entry["decoded_without_special"]?.asString ?? decoded
            )
        }
    }

    /// What the streaming decoder gives for ids, joined.
    static func streamed(_ ids: [Int32], _ tokenizer: Tokenizer, skipsSpecial: Bool) -> String {
        var decoder = StreamingDecoder(tokenizer, skipsSpecial: skipsSpecial)
        var text = ""
        for id in ids { text += decoder.push(id) }
        return text + decoder.finish()
    }

    /// Compares everything with the golden results.
    func check() throws {
        for entry in encodings {
            #expect(try tokenizer.encode(entry.text) == entry.ids, "\(entry.text.debugDescription)")
        }
        for entry in decodings
            + encodings.map({
                Decoding(ids: $0.ids, decoded: $0.decoded, withoutSpecial: $0.withoutSpecial)
            })
        {
            for skipsSpecial in [false, true] {
                let wanted = skipsSpecial ? entry.withoutSpecial : entry.decoded
                let text = tokenizer.decode(entry.ids, skipsSpecial: skipsSpecial)
                #expect(text.utf8.elementsEqual(wanted.utf8), "\(entry.ids)")
                let streamed = Self.streamed(entry.ids, tokenizer, skipsSpecial: skipsSpecial)
                #expect(streamed.utf8.elementsEqual(wanted.utf8), "\(entry.ids)")
            }
        }
    }
}

extension JSONValue {
    /// Ids in a member that is an array.
    func ids(_ key: String) throws -> [Int32] {
        try #require(self[key]?.asArray).map { Int32(try #require($0.asInt)) }
    }
}

/// Numbers that look random and are the same in every run.
struct Sequence32 {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

    /// A number from 0 up to but not including `count`.
    mutating func next(below count: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(state >> 33) % count
    }
}
