import Testing
import VLJSON
import VLTestSupport
import VLText

@Suite struct ListedVocabularyTests {
    /// A `tokenizer.json` as the lists that a GGUF file holds.
    private func listed(_ name: String, pre: String) throws -> ListedVocabulary {
        let json = try JSONValue(parsing: fixtureBytes("text/\(name).tokenizer.json"))
        var texts: [Int: (text: String, kind: Int)] = [:]
        for (text, id) in try #require(json["model"]?["vocab"]?.asObject) {
            texts[try #require(id.asInt)] = (text, 1)
        }
        for token in try #require(json["added_tokens"]?.asArray) {
            texts[try #require(token["id"]?.asInt)] = (
                try #require(token["content"]?.asString), token["special"]?.asBool == true ? 3 : 4
            )
        }
        var tokens = TextList()
        var kinds: [Int] = []
        for id in 0...(texts.keys.max() ?? 0) {
            tokens.append(texts[id]?.text ?? "[PAD\(id)]")
            kinds.append(texts[id]?.kind ?? 5)
        }
        var merges = TextList()
        for merge in try #require(json["model"]?["merges"]?.asArray) {
            merges.append(
                merge.asString ?? merge.asArray?.compactMap(\.asString).joined(separator: " ") ?? ""
            )
        }
        return ListedVocabulary(
            file: name,
            tokens: tokens,
            kinds: kinds,
            merges: merges,
            preTokenizer: pre
        )
    }

    @Test(
        "lists give the ids and texts of the official library, as the JSON file does",
        arguments: [
            ("tiny-vl2-mha", "deepseek-v3"), ("tiny-llm-linear", "deepseek-coder"),
            ("tiny-llm-mha", "deepseek-llm"),
        ]
    )
    func equalsGolden(_ name: String, _ pre: String) throws {
        let golden = try GoldenTokenizer(name)
        let tokenizer = try Tokenizer(try listed(name, pre: pre))
        #expect(tokenizer.preTokenizerName == pre && golden.tokenizer.preTokenizerName == pre)
        #expect(tokenizer.mergeCount == golden.tokenizer.mergeCount && tokenizer.mergeCount > 1000)
        for entry in golden.encodings {
            #expect(try tokenizer.encode(entry.text) == entry.ids, "\(entry.text.debugDescription)")
            #expect(tokenizer.decode(entry.ids).utf8.elementsEqual(entry.decoded.utf8))
        }
        let first = try #require(golden.encodings.first { !$0.ids.isEmpty })
        var framed = try listed(name, pre: pre)
        (framed.prefix, framed.suffix) = (1, 2)
        #expect(try Tokenizer(framed).encode(first.text, addsSpecial: true) == [1] + first.ids + [2])
    }

    @Test("every known rule can be made, and cuts what its pattern says")
    func rules() throws {
        var bytes = TextList()
        // The 256 tokens of bytes, spelled in GPT-2's alphabet, and a few words.
        for byte in 0..<256 { bytes.append(spelled(UInt8(byte))) }
        for word in ["ab", "abc", "12", "123", "Ġab"] { bytes.append(word) }
        var merges = TextList()
        for merge in ["a b", "1 2", "12 3", "ab c", "Ġ ab"] { merges.append(merge) }
        func pieces(_ text: String, _ rule: String) throws -> [String] {
            let tokenizer = try Tokenizer(
                ListedVocabulary(file: "x", tokens: bytes, merges: merges, preTokenizer: rule)
            )
            return try tokenizer.encode(text).map { tokenizer.decode([$0]) }
        }
        for rule in PreTokenizer.knownNames {
            #expect(try pieces("abc ab", rule) == ["abc", " ab"], "\(rule)")
            #expect(try pieces("", rule).isEmpty)
        }
        #expect(try pieces("123", "smollm") == ["1", "2", "3"])
        #expect(try pieces("123", "qwen2") == ["1", "2", "3"])
        #expect(try pieces("123", "gpt-2") == ["123"])
        #expect(try pieces("1231", "llama-bpe") == ["123", "1"])
        #expect(try pieces("1231", "deepseek-v3") == ["123", "1"])
        #expect(try pieces("1212", "default") == ["12", "1", "2"])
        #expect(try pieces("12", "deepseek-coder") == ["1", "2"])
    }

    private func spelled(_ byte: UInt8) -> String {
        switch byte {
        case 0x21...0x7e, 0xa1...0xac, 0xae...0xff: return String(UnicodeScalar(byte))
        default:
            let before = (UInt8(0)..<byte).count { other in
                !(0x21...0x7e).contains(other) && !(0xa1...0xac).contains(other) && other < 0xae
            }
            return UnicodeScalar(UInt32(256 + before)).map { String($0) } ?? ""
        }
    }

    @Test("lists that do not fit each other are refused by what is wrong")
    func refuses() throws {
        func list(_ texts: [String]) -> TextList {
            var list = TextList()
            for text in texts { list.append(text) }
            return list
        }
        func error(
            tokens: TextList? = nil,
            kinds: [Int] = [],
            merges: [String] = [],
            pre: String = "gpt-2",
            prefix: Int32? = nil
        ) -> String {
            do throws(TokenizerError) {
                _ = try Tokenizer(
                    ListedVocabulary(
                        file: "x.gguf",
                        tokens: tokens ?? list(["a", "b", "ab"]),
                        kinds: kinds,
                        merges: list(merges),
                        preTokenizer: pre,
                        prefix: prefix
                    )
                )
                return "accepted"
            } catch {
                return error.description
            }
        }
        #expect(error() == "accepted")
        #expect(error(merges: ["a b"]) == "accepted")
        #expect(error(pre: "viking").contains("expected one of default, gpt-2"))
        #expect(error(pre: "viking").contains("found 'viking'"))
        #expect(error(pre: "").contains("found nothing"))
        #expect(error(kinds: [1]).contains("expected 3 types"))
        #expect(error(kinds: [1, 1, 9]).contains("expected a type from 1 to 6, found 9"))
        #expect(error(tokens: list([])).contains("expected 1 to"))
        #expect(error(tokens: list(["a", "a"])).contains("each token once"))
        #expect(error(merges: ["ab"]).contains("two parts"))
        #expect(error(merges: ["a  b"]).contains("two parts"))
        #expect(error(merges: ["b a"]).contains("a result of the vocabulary"))
        #expect(error(prefix: 3).contains("an id below 3"))
        var broken = list(["a"])
        [UInt8(0xc3)].withUnsafeBufferPointer { broken.append($0) }
        [UInt8(0xa9)].withUnsafeBufferPointer { broken.append($0) }
        #expect(error(tokens: broken).contains("tokenizer.ggml.tokens[2]: expected UTF-8"))
    }
}
