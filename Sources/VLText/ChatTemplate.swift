/// A text model's way of writing conversations: one text, which is encoded in one piece.
///
/// What checkpoints carry as `chat_template` are programs; these are the ones we know, and no program of a file is run.
package enum ChatTemplate: String, Sendable, CaseIterable {
    /// DeepSeek-LLM, -MoE and -V2: `User: …`, an empty line, `Assistant: …` and the end token; texts are not stripped.
    case deepseek

    /// Names that questions and answers go by in a conversation.
    package static let roles = (user: "user", assistant: "assistant")

    private enum Role {
        case user, assistant, system
    }

    private func role(_ message: Message, _ index: Int) throws(ConversationError) -> Role {
        switch message.role {
        case "user", "User", "<|User|>": .user
        case "assistant", "Assistant", "<|Assistant|>": .assistant
        case "system": .system
        default:
            throw .role(index: index, expected: "'user', 'assistant' or 'system'", found: message.role)
        }
    }

    /// The text of a conversation, up to where the answer begins.
    ///
    /// The last message is the user's; an empty one of the assistant after it changes nothing.
    /// - Parameters:
    ///   - begin: text of the token that begins a prompt.
    ///   - end: text of the token that ends an answer.
    /// - Throws: `ConversationError`.
    package func prompt(
        _ messages: [Message],
        begin: String,
        end: String
    ) throws(ConversationError) -> String {
        var messages = messages[...]
        if let last = messages.last, try role(last, messages.count - 1) == .assistant, last.content.isEmpty {
            messages.removeLast()
        }
        guard let last = messages.last else { throw .empty }
        guard try role(last, messages.count - 1) == .user else {
            throw .lastRoleNotUser(expected: "'\(Self.roles.user)'", found: last.role)
        }
        var text = begin
        for (index, message) in messages.enumerated() {
            guard message.imageCount == 0 else {
                throw .noVision(index: index, images: message.imageCount)
            }
            switch try role(message, index) {
            case .user: text += "User: " + message.content + "\n\n"
            case .assistant: text += "Assistant: " + message.content + end
            case .system: text += message.content + "\n\n"
            }
        }
        return text + "Assistant:"
    }
}
