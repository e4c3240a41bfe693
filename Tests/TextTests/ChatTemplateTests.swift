import Testing
import VLText

@Suite struct ChatTemplateTests {
    private func text(_ messages: [Message]) throws -> String {
        try ChatTemplate.deepseek.prompt(messages, begin: "<b>", end: "<e>")
    }

    @Test("a chat is joined as the published template joins it, texts as they are")
    func joins() throws {
        let user = Message(role: "user", content: " Hi \n")
        #expect(try text([user]) == "<b>User:  Hi \n\n\nAssistant:")
        let messages = [
            Message(role: "system", content: " Be brief. "), user,
            Message(role: "assistant", content: "Yes"), Message(role: "user", content: ""),
        ]
        #expect(
            try text(messages)
                == "<b> Be brief. \n\nUser:  Hi \n\n\nAssistant: Yes<e>User: \n\nAssistant:"
        )
        // Callers that end every conversation with an empty answer are understood.
        let alone = try text([user])
        #expect(try text([user, Message(role: "assistant", content: "")]) == alone)
        #expect(try text([Message(role: "User", content: "a")]) == "<b>User: a\n\nAssistant:")
    }

    @Test("what is no chat is refused")
    func errors() {
        func error(_ messages: [Message]) -> ConversationError? {
            #expect(throws: ConversationError.self) { try text(messages) }
        }
        let user = Message(role: "user", content: "Hi")
        #expect(error([]) == .empty)
        #expect(error([Message(role: "assistant", content: "")]) == .empty)
        #expect(
            error([user, Message(role: "assistant", content: "So")])
                == .lastRoleNotUser(expected: "'user'", found: "assistant")
        )
        #expect(
            error([Message(role: "tool", content: ""), user])
                == .role(index: 0, expected: "'user', 'assistant' or 'system'", found: "tool")
        )
        let seen = error([user, Message(role: "user", content: "", imageCount: 2)])
        #expect(seen == .noVision(index: 1, images: 2))
        #expect(seen?.description == "message 2: expected no images, since the model sees none, found 2")
    }
}

@Suite struct DeepSeekVLTemplateTests {
    private static let tag = "<image_placeholder>"

    private func text(_ messages: [Message]) throws -> String {
        try DeepSeekVLTemplate.prompt(messages, tag: Self.tag)
    }

    @Test("a conversation is one text behind the default system prompt, or another, or none")
    func joins() throws {
        let messages = [
            Message(role: "User", content: "\n\(Self.tag)\nWhat? ", imageCount: 1),
            Message(role: "Assistant", content: " A cat.\n"),
            Message(role: "User", content: " \n"),
            Message(role: "Assistant", content: ""),
        ]
        let turns = "User: \(Self.tag)\nWhat?\n\nAssistant: A cat.<｜end▁of▁sentence｜>User:Assistant:"
        #expect(try text(messages) == DeepSeekVLTemplate.systemPrompt + "\n\n" + turns)
        #expect(
            DeepSeekVLTemplate.systemPrompt.hasPrefix("You are a helpful language and vision assistant. You")
        )
        #expect(DeepSeekVLTemplate.systemPrompt.utf8.count == 186)
        #expect(try text([Message(role: "system", content: "Sys.")] + messages) == "Sys.\n\n" + turns)
        #expect(try text([Message(role: "system", content: "")] + messages) == turns)
    }

    @Test("other families' names of roles are understood and printed as this one's")
    func roles() throws {
        let messages = [Message(role: "user", content: "a"), Message(role: "assistant", content: "b ")]
        #expect(try text(messages).hasSuffix("\n\nUser: a\n\nAssistant: b<｜end▁of▁sentence｜>"))
    }

    @Test("what is no conversation is refused with its place")
    func errors() {
        func error(_ messages: [Message]) -> ConversationError? {
            #expect(throws: ConversationError.self) { try text(messages) }
        }
        let user = Message(role: "User", content: "Hi")
        let answer = Message(role: "Assistant", content: "")
        #expect(error([]) == .empty)
        #expect(error([user]) == .lastRole(expected: "'Assistant'", found: "User"))
        #expect(
            error([Message(role: "system", content: "")])
                == .lastRole(expected: "'Assistant'", found: "system")
        )
        #expect(
            error([user, Message(role: "system", content: ""), answer])
                == .role(index: 1, expected: "a system message at the beginning only", found: "system")
        )
        #expect(
            error([Message(role: "Bot", content: ""), answer])
                == .role(index: 0, expected: "'User' or 'Assistant'", found: "Bot")
        )
        #expect(
            error([Message(role: "User", content: Self.tag), answer])
                == .images(index: 0, tags: 1, images: 0, tag: Self.tag)
        )
        #expect(
            error([Message(role: "system", content: Self.tag), user, answer])
                == .images(index: 0, tags: 1, images: 0, tag: Self.tag)
        )
    }
}
