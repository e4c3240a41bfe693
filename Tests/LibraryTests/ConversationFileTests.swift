import DeepSeekVL
import Testing
import VLImage
import VLModels
import VLTestSupport

/// Conversations as files hold them: what is taken, and what each mistake is told as.
@Suite("Conversation files")
struct ConversationFileTests {
    private static let folder = fixture("../../Examples")

    private func parse(_ text: String) throws(DeepSeekVLError) -> [ConversationInput] {
        try ConversationFile.parse(Array(text.utf8), file: "turns.json", folder: Self.folder)
    }

    @Test("a conversation, a batch, paths and data: URLs are read")
    func accepted() throws {
        let one = try parse(
            #"[{"role": "<|User|>", "content": "<image>\nA", "images": ["rings.png"], "more": 1}, {"role": "<|Assistant|>", "content": ""}]"#
        )
        #expect(one.count == 1 && one[0].pictures.count == 1)
        #expect(one[0].pictures[0].decoded.stored.width == 113)
        // A GIF of one pixel.
        let url = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
        let batch = try parse(
            #"[[{"role": "user", "content": "<image>", "images": ["\#(url)"]}], [{"role": "user", "content": "B", "images": null}]]"#
        )
        #expect(batch.map(\.pictures.count) == [1, 0])
        #expect(batch[0].pictures[0].decoded.stored.width == 1)
    }

    @Test(
        "each mistake is told with its place",
        arguments: [
            ("{}", "root"), ("[]", "root"), ("3", "root"),
            (#"[[{"role": "user", "content": "A"}], 3]"#, "[1]"),
            ("[3]", "[0]"), (#"[{"content": "A"}]"#, "[0].role"), (#"[{"role": "user"}]"#, "[0].content"),
            (#"[{"role": 3, "content": "A"}]"#, "[0].role"),
            (#"[{"role": "user", "content": ["A"]}]"#, "[0].content"),
            (#"[{"role": "user", "content": "A", "images": "a.png"}]"#, "[0].images"),
            (#"[{"role": "user", "content": "A", "images": [3]}]"#, "[0].images"),
            (#"[{"role": "user", "content": "A"}"#, "line 1"), (#"[{"role": "a", "role": "b"}]"#, "role"),
            ("[[[", "line 1"),
        ]
    )
    func refused(text: String, place: String) throws {
        let error = #expect(throws: DeepSeekVLError.self) { _ = try parse(text) }
        #expect(error?.description.hasPrefix("turns.json: ") == true)
        #expect(error?.description.contains(place) == true)
    }

    @Test(
        "a picture that cannot be had is told by what was wrong with it",
        arguments: [
            ("data:", "comma"), ("data:image/png;base64,", "empty"), ("data:image/png;base64,!!", "base64"),
            ("data:image/png,abc", "encoding"), ("https://example.org/a.png", "not fetched"),
            ("none.png", "no such file"), ("README.md", "something else"), ("/dev/zero", "device"),
        ]
    )
    func pictures(reference: String, reason: String) throws {
        let error = #expect(throws: DeepSeekVLError.self) {
            _ = try parse(#"[{"role": "user", "content": "<image>", "images": ["\#(reference)"]}]"#)
        }
        #expect(error?.description.contains(reason) == true)
    }

    @Test("more pictures than a conversation may have are refused before any is read")
    func tooMany() throws {
        let list = Array(repeating: #""none.png""#, count: 1025).joined(separator: ",")
        let error = #expect(throws: DeepSeekVLError.self) {
            _ = try parse(#"[{"role": "user", "content": "A", "images": [\#(list)]}]"#)
        }
        #expect(error?.description.contains("at most 1024") == true)
    }

    @Test("a ready prompt is taken as it is, or put into the template with a system text")
    func readyPrompts() throws {
        let host = try ModelHost(fixture("../../Models/shapes-vl2"), threads: 2)
        func prompt(_ text: String, _ appliesTemplate: Bool) throws -> String {
            let form = ConversationInput.Form.prompt(text, appliesTemplate: appliesTemplate, system: "S")
            let input = ConversationInput(form: form, pictures: [])
            return try host.prepare(input, tiling: .auto, exif: .apply).text
        }
        #expect(try prompt(" A ", false) == " A ")
        #expect(try prompt(" A ", true) == "S\n\n<|User|>: A\n\n<|Assistant|>:")
    }
}
