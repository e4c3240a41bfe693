/// One turn of a conversation, as the official programs write it.
package struct Message: Sendable, Equatable {
    /// `<|User|>`, `user`, `<|Assistant|>`, `assistant`, and first perhaps `system`.
    package var role: String
    package var content: String
    /// Pictures that belong to this turn, one for each image tag of its content.
    package var imageCount: Int

    package init(role: String, content: String, imageCount: Int = 0) {
        self.role = role
        self.content = content
        self.imageCount = imageCount
    }
}

/// Why a list of messages is no conversation that the model takes.
package enum ConversationError: Error, Equatable, CustomStringConvertible {
    case empty
    /// Roles that the family does not know, or at the wrong place.
    case role(index: Int, expected: String, found: String)
    /// The last message must be the assistant's, empty or a beginning to be continued.
    case lastRole(expected: String, found: String)
    /// The last message must be the user's.
    case lastRoleNotUser(expected: String, found: String)
    /// A conversation for a model whose way of writing them is not known.
    case noTemplate
    /// Pictures for a model that sees none.
    case noVision(index: Int, images: Int)
    /// Image tags and pictures of a message differ in number.
    case images(index: Int, tags: Int, images: Int, tag: String)
    /// An assistant's text with an image tag.
    case imageInAnswer(index: Int, tag: String)

    package var description: String {
        switch self {
        case .empty:
            "conversation: expected at least one message, found none"
        case .role(let index, let expected, let found):
            "message \(index + 1): role: expected \(expected), found '\(found)'"
        case .lastRole(let expected, let found):
            "conversation: expected the last message to be the assistant's (\(expected), empty or to be continued), found '\(found)'"
        case .lastRoleNotUser(let expected, let found):
            "conversation: expected the last message to be the user's (\(expected)), found '\(found)'"
        case .noTemplate:
            "conversation: expected a model with a chat template that is known, found none; "
                + "'complete' continues plain texts"
        case .noVision(let index, let images):
            "message \(index + 1): expected no images, since the model sees none, found \(images)"
        case .images(let index, let tags, let images, let tag):
            "message \(index + 1): expected one image for each '\(tag)', found \(images) images and \(tags) tags"
        case .imageInAnswer(let index, let tag):
            "message \(index + 1): expected an assistant's text without '\(tag)', found one"
        }
    }
}

/// A piece of a prompt: what the ids are made of, in order.
package enum PromptSegment: Sendable, Equatable {
    /// The token that begins every prompt.
    case begin
    /// The token that ends an answer.
    case end
    /// A text that is encoded by itself: merges never cross an image.
    case text(String)
    /// The tokens of a picture, counted over the whole conversation.
    case image(Int)
}

/// A model family's way of writing conversations.
///
/// DeepSeek-VL2's four templates, as `conversation.py` of the official project defines them; the other families' come
/// beside them, each with its own `prompt` and `segments`.
package enum ConversationTemplate: String, Sendable, CaseIterable {
    case deepseek, deepseekv2, plain, alignment

    /// The tag that stands for a picture in a text.
    package static let imageTag = "<image>"
    /// The text of the token that ends an answer, as the templates write it.
    private static let endText = "<｜end▁of▁sentence｜>"

    /// Names of the user and the assistant.
    package var roles: (user: String, assistant: String) {
        switch self {
        case .deepseek: ("<|User|>", "<|Assistant|>")
        case .deepseekv2: ("|<User>|", "|<Assistant>|")
        case .plain, .alignment: ("", "")
        }
    }

    private enum Role {
        case user, assistant, system
    }

    private func role(_ message: Message, _ index: Int) throws(ConversationError) -> Role {
        switch message.role {
        case "user", "<|User|>", roles.user: return .user
        case "assistant", "<|Assistant|>", roles.assistant: return .assistant
        case "system", "deepseekapi-sys":
            if index == 0 { return .system }
            throw .role(index: index, expected: "a system message at the beginning only", found: message.role)
        default:
            throw .role(
                index: index,
                expected: "'\(roles.user)' or '\(roles.assistant)'",
                found: message.role
            )
        }
    }

    /// Messages with their separators, which go by a message's place and not by its role; role names are printed as
    /// they are given.
    func joined(_ messages: [(role: String, text: String)], system: String) -> String {
        var text = ""
        if !system.isEmpty, self == .deepseek { text = system + "\n\n" }
        if !system.isEmpty, self == .deepseekv2 { text = system + "\n<｜sft▁end｜>" }
        for (index, message) in messages.enumerated() {
            let isEven = index % 2 == 0
            switch self {
            case .deepseek:
                text += message.role + ":"
                if !message.text.isEmpty { text += " " + message.text + (isEven ? "\n\n" : Self.endText) }
            case .deepseekv2:
                if message.text.isEmpty { continue }
                // The official test is for "User", which its own role names never are.
                text +=
                    message.role == "User"
                    ? "<｜sft▁begin｜>\n" + message.text + "\n<｜sft▁end｜>" : message.text + Self.endText
            case .plain:
                text += message.text
            case .alignment:
                if !message.text.isEmpty { text += isEven ? Self.imageTag + "\n" : message.text }
            }
        }
        return text
    }

    /// The conversation as one text, for people: the ids are made from `segments` and differ from it in places
    /// (official behaviour 1, 2 and 7).
    package func prompt(_ messages: [Message], system: String = "") -> String {
        PythonText.strip(joined(messages.map { ($0.role, PythonText.strip($0.content)) }, system: system))
    }

    /// What a ready prompt becomes when the template is applied to it (`apply_sft_format`).
    package func prompt(wrapping text: String, system: String = "") -> String {
        PythonText.strip(
            joined([(roles.user, PythonText.strip(text)), (roles.assistant, "")], system: system)
        )
    }

    /// The pieces that a conversation's ids are made of; the end token of the last message is left out.
    ///
    /// Method `format_messages_v2` of the official processor, message by message.
    /// - Throws: `ConversationError`.
    package func segments(_ messages: [Message]) throws(ConversationError) -> [PromptSegment] {
        guard let last = messages.last else { throw .empty }
        guard try role(last, messages.count - 1) == .assistant else {
            throw .lastRole(expected: "'\(roles.assistant)'", found: last.role)
        }
        var segments: [PromptSegment] = [.begin]
        var images = 0
        for (index, message) in messages.enumerated() {
            let text = PythonText.strip(message.content)
            switch try role(message, index) {
            case .user:
                let question = joined([(roles.user, text), (roles.assistant, "")], system: "")
                try append(question, message, index, &images, to: &segments)
            case .assistant:
                if message.imageCount > 0 || !Self.pieces(text).isSingle {
                    throw .imageInAnswer(index: index, tag: Self.imageTag)
                }
                segments.append(.text(text))
                segments.append(.end)
            case .system:
                guard message.imageCount == 0 else {
                    throw .images(index: index, tags: 0, images: message.imageCount, tag: Self.imageTag)
                }
                // An image tag in a system text is the bare token: special tokens of texts are recognised.
                segments.append(.text(text))
            }
        }
        segments.removeLast()
        return segments
    }

    /// The pieces of a ready prompt, taken as it is.
    ///
    /// - Throws: `ConversationError.images`.
    package func segments(prompt: String, imageCount: Int) throws(ConversationError) -> [PromptSegment] {
        var segments: [PromptSegment] = [.begin]
        var images = 0
        try append(
            prompt,
            Message(role: "", content: prompt, imageCount: imageCount),
            0,
            &images,
            to: &segments
        )
        return segments
    }

    private func append(
        _ text: String,
        _ message: Message,
        _ index: Int,
        _ images: inout Int,
        to segments: inout [PromptSegment]
    ) throws(ConversationError) {
        let pieces = Self.pieces(text).list
        guard pieces.count - 1 == message.imageCount else {
            throw .images(
                index: index,
                tags: pieces.count - 1,
                images: message.imageCount,
                tag: Self.imageTag
            )
        }
        for (place, piece) in pieces.enumerated() {
            if place > 0 {
                segments.append(.image(images))
                images += 1
            }
            segments.append(.text(piece))
        }
    }

    /// A text cut at its image tags.
    private static func pieces(_ text: String, tag: String = imageTag) -> (list: [String], isSingle: Bool) {
        let list = text.utf8.split(separator: tag.utf8, omittingEmptySubsequences: false).map {
            String(Substring($0))
        }
        return (list, list.count == 1)
    }

    /// Number of image tags in a text.
    package static func imageTags(_ text: String, tag: String = imageTag) -> Int {
        pieces(text, tag: tag).list.count - 1
    }
}

/// Python's ideas of texts where the official code relies on them.
package enum PythonText {
    /// `str.strip()`: removes white space as Python counts it, from both ends.
    package static func strip(_ text: String) -> String {
        let scalars = text.unicodeScalars
        guard let first = scalars.firstIndex(where: { !isSpace($0) }),
            let last = scalars.lastIndex(where: { !isSpace($0) })
        else { return "" }
        return String(scalars[first...last])
    }

    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0d, 0x1c...0x20, 0x85, 0xa0, 0x1680, 0x2000...0x200a, 0x2028, 0x2029, 0x202f, 0x205f,
            0x3000:
            true
        default: false
        }
    }
}
