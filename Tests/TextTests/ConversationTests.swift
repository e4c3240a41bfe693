import Testing
import VLJSON
import VLTestSupport
import VLText

/// A conversation, and the text and the ids that the official processor makes of it.
struct GoldenConversation: CustomTestStringConvertible, Sendable {
    let testDescription: String
    /// Messages, or else a ready prompt.
    var messages: [Message]?
    var prompt = ""
    var isWrapped = false
    let system: String
    let text: String
    /// Ids and how often each is repeated.
    let runs: [[Int]]

    static func all() throws -> [GoldenConversation] {
        let list = try JSONValue(parsing: fixtureBytes("text/conversations.json"))
        return try #require(list.asArray).map(GoldenConversation.init)
    }

    init(_ value: JSONValue) throws {
        testDescription = try #require(value["name"]?.asString)
        messages = try value["messages"]?.asArray?.map { entry in
            let fields = try #require(entry.asArray)
            return Message(
                role: try #require(fields[0].asString),
                content: try #require(fields[1].asString),
                imageCount: try #require(fields[2].asInt)
            )
        }
        if messages == nil {
            prompt = try #require(value["prompt"]?.asString)
            isWrapped = try #require(value["wrap"]?.asBool as Bool?)
        }
        system = value["system"]?.asString ?? ""
        text = try #require(value["sft_format"]?.asString)
        runs = try #require(value["ids"]?.asArray).map { run in
            try #require(run.asArray).map { try #require($0.asInt) }
        }
    }
}

@Suite struct ConversationTests {
    private let template = ConversationTemplate.deepseek

    @Test("there are conversations to compare")
    func listsConversations() throws {
        #expect(try GoldenConversation.all().count >= 30)
    }

    @Test("the text of a conversation is the official one", arguments: try GoldenConversation.all())
    func text(_ golden: GoldenConversation) {
        let text =
            if let messages = golden.messages {
                template.prompt(messages, system: golden.system)
            } else if golden.isWrapped {
                template.prompt(wrapping: golden.prompt, system: golden.system)
            } else {
                golden.prompt
            }
        #expect(text.utf8.elementsEqual(golden.text.utf8))
    }

    @Test("the ids of a conversation's pieces are the official ones", arguments: try GoldenConversation.all())
    func ids(_ golden: GoldenConversation) throws {
        let tokenizer = try GoldenTokenizer("tiny-vl2-mha").tokenizer
        func id(_ text: String) throws -> Int32 { try #require(tokenizer.tokenID(of: text)) }
        let image = try id(ConversationTemplate.imageTag)
        let segments =
            if let messages = golden.messages {
                try template.segments(messages)
            } else {
                try template.segments(prompt: golden.text, imageCount: 1)
            }
        var ids: [Int32] = []
        var images: [Int] = []
        for segment in segments {
            switch segment {
            case .begin: ids.append(try id("<｜begin▁of▁sentence｜>"))
            case .end: ids.append(try id("<｜end▁of▁sentence｜>"))
            case .text(let text): ids += try tokenizer.encode(text)
            case .image(let index):
                images.append(index)
                ids.append(image)
            }
        }
        // A picture's tokens stand for one of ours each time they begin.
        let wanted = golden.runs.flatMap { run in
            [Int32](repeating: Int32(run[0]), count: run[0] == Int(image) ? 1 : run[1])
        }
        #expect(ids == wanted)
        #expect(images == Array(0..<images.count))
    }

    @Test("messages that are no conversation are refused with their place")
    func errors() {
        func error(_ messages: [Message]) -> ConversationError? {
            #expect(throws: ConversationError.self) { try template.segments(messages) }
        }
        let user = Message(role: "user", content: "Hi")
        let answer = Message(role: "assistant", content: "")
        #expect(error([]) == .empty)
        #expect(error([user]) == .lastRole(expected: "'<|Assistant|>'", found: "user"))
        #expect(error([answer, user]) == .lastRole(expected: "'<|Assistant|>'", found: "user"))
        for role in ["User", "Assistant", "", "USER", " user"] {
            let found = error([Message(role: role, content: ""), answer])
            #expect(found == .role(index: 0, expected: "'<|User|>' or '<|Assistant|>'", found: role))
            #expect(found?.description.hasPrefix("message 1: role: expected") == true)
        }
        let late = error([user, Message(role: "system", content: "Sys."), answer])
        #expect(
            late == .role(index: 1, expected: "a system message at the beginning only", found: "system")
        )
        let alone = error([Message(role: "system", content: "Sys.")])
        #expect(alone == .lastRole(expected: "'<|Assistant|>'", found: "system"))
        #expect(
            error([user, answer, Message(role: "user", content: "<image> <image>", imageCount: 1), answer])
                == .images(index: 2, tags: 2, images: 1, tag: "<image>")
        )
        #expect(
            error([Message(role: "user", content: "no tag", imageCount: 1), answer])
                == .images(index: 0, tags: 0, images: 1, tag: "<image>")
        )
        let drawn = error([user, Message(role: "assistant", content: "see <image>")])
        #expect(drawn == .imageInAnswer(index: 1, tag: "<image>"))
        #expect(error([user, Message(role: "assistant", content: "", imageCount: 1)]) == drawn)
        #expect(
            error([Message(role: "system", content: "", imageCount: 1), user, answer])
                == .images(index: 0, tags: 0, images: 1, tag: "<image>")
        )
        #expect(throws: ConversationError.images(index: 0, tags: 1, images: 2, tag: "<image>")) {
            try template.segments(prompt: "a<image>", imageCount: 2)
        }
    }

    @Test("pictures are numbered through all messages, and a prompt is taken as it is")
    func segments() throws {
        let messages = [
            Message(role: "deepseekapi-sys", content: "\u{a0}Sys. "),
            Message(role: "user", content: " <image>a<image>", imageCount: 2),
            Message(role: "assistant", content: " b "),
            Message(role: "user", content: "<image>", imageCount: 1),
            Message(role: "assistant", content: "So "),
        ]
        #expect(
            try template.segments(messages) == [
                .begin, .text("Sys."), .text("<|User|>: "), .image(0), .text("a"), .image(1),
                .text("\n\n<|Assistant|>:"), .text("b"), .end, .text("<|User|>: "), .image(2),
                .text("\n\n<|Assistant|>:"), .text("So"),
            ]
        )
        #expect(
            try template.segments(prompt: " <image> ", imageCount: 1)
                == [.begin, .text(" "), .image(0), .text(" ")]
        )
        #expect(ConversationTemplate.imageTags("<image><image><imag<image>") == 3)
        #expect(ConversationTemplate.imageTags("") == 0)
    }

    @Test("the other templates join as the official ones do")
    func otherTemplates() {
        let messages = [
            Message(role: "", content: " a "), Message(role: "", content: "b"),
            Message(role: "", content: "c"), Message(role: "", content: ""),
        ]
        #expect(ConversationTemplate.plain.prompt(messages) == "abc")
        #expect(ConversationTemplate.alignment.prompt(messages) == "<image>\nb<image>")
        #expect(
            ConversationTemplate.deepseekv2.prompt(
                [Message(role: "User", content: "q"), Message(role: "|<Assistant>|", content: "r")],
                system: "S"
            ) == "S\n<｜sft▁end｜><｜sft▁begin｜>\nq\n<｜sft▁end｜>r<｜end▁of▁sentence｜>"
        )
    }

    @Test("white space is what Python strips")
    func strips() {
        let space =
            "\t\n\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{1f} \u{85}\u{a0}\u{1680}\u{2000}\u{200a}\u{2028}\u{2029}"
        #expect(PythonText.strip(space + "\u{202f}\u{205f}\u{3000}a b" + space) == "a b")
        #expect(PythonText.strip(space).isEmpty)
        #expect(PythonText.strip("").isEmpty)
        for kept in ["\u{200b}", "\u{feff}", "\u{180e}", "\0", "\u{2060}", "\u{301}"] {
            #expect(PythonText.strip(" \(kept) ") == kept)
        }
    }
}
