/// A text model's way of writing conversations: one text, which is encoded in one piece.
///
/// What checkpoints carry as `chat_template` are programs; these are the ones we know, and no program of a file is run.
package enum ChatTemplate: String, Sendable, CaseIterable {
    /// DeepSeek-LLM, -MoE and -V2: `User: …`, an empty line, `Assistant: …` and the end token; texts are not stripped.
    case deepseek
    /// DeepSeek-V3's: `<｜User｜>…<｜Assistant｜>…` and the end token, the system text first as it is.
    case deepseekV3 = "deepseek-v3"
    /// ChatML: `<|im_start|>role`, a line break, the text, `<|im_end|>`, a line break.
    case chatML = "chatml"
    /// ChatML as SmolLM2 has it, with a system text of its own where a conversation has none.
    case smolLM2 = "smollm2"
    /// A model without a template, or with one that we do not know: it only continues plain texts.
    case none

    /// Texts that end an answer besides the end token: a model may write the word that begins a user's turn.
    package var stops: [String] { self == .deepseek ? ["User:"] : [] }

    private static let smolSystem = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

    /// The template that a program (`chat_template`) of a file is, recognised by what it must contain.
    ///
    /// - Parameter program: nil or empty for a file without one.
    package init(program: String?) {
        guard let program, !program.isEmpty else {
            self = .none
            return
        }
        func contains(_ text: String) -> Bool { program.utf8.firstRange(of: text.utf8) != nil }
        if contains("<|im_start|>") && contains("<|im_end|>") {
            // Any other system text that is not the conversation's would be left out.
            let addsSystem = contains("You are") || contains("system\\n")
            self = contains(Self.smolSystem) ? .smolLM2 : addsSystem ? .none : .chatML
        } else if contains("'Assistant: ' + message['content'] + eos_token") {
            self = .deepseek
        } else if contains("<｜User｜>") && contains("<｜Assistant｜>") && contains("<｜end▁of▁sentence｜>") {
            self = .deepseekV3
        } else {
            self = .none
        }
    }

    /// Names that questions and answers go by in a conversation.
    package static let roles = (user: "user", assistant: "assistant")

    private enum Role: String {
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
        var turns: [(role: Role, text: String)] = []
        for (index, message) in messages.enumerated() {
            guard message.imageCount == 0 else {
                throw .noVision(index: index, images: message.imageCount)
            }
            turns.append((try role(message, index), message.content))
        }
        switch self {
        case .none: throw .noTemplate
        case .deepseek:
            let text = turns.reduce(begin) { text, turn in
                switch turn.role {
                case .user: text + "User: " + turn.text + "\n\n"
                case .assistant: text + "Assistant: " + turn.text + end
                case .system: text + turn.text + "\n\n"
                }
            }
            return text + "Assistant:"
        case .deepseekV3:
            let text = turns.reduce(begin) { text, turn in
                switch turn.role {
                case .user: text + "<｜User｜>" + turn.text
                case .assistant: text + "<｜Assistant｜>" + turn.text + end
                case .system: text + turn.text
                }
            }
            return text + "<｜Assistant｜>"
        case .chatML, .smolLM2:
            if self == .smolLM2, turns.first?.role != .system {
                turns.insert((.system, Self.smolSystem), at: 0)
            }
            let text = turns.reduce("") { text, turn in
                text + "<|im_start|>\(turn.role.rawValue)\n\(turn.text)<|im_end|>\n"
            }
            return text + "<|im_start|>assistant\n"
        }
    }
}
