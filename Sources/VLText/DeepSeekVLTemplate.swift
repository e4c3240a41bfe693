/// DeepSeek-VL's way of writing conversations: the whole is one text, with a tag for each picture.
///
/// Method `apply_sft_template_for_multi_turn_prompts` of the official `processing_vlm.py` with its template "deepseek".
/// The only rule that ends an answer is its end token: the stop words of the official demo never match.
package enum DeepSeekVLTemplate {
    package static let roles = (user: "User", assistant: "Assistant")

    /// What stands in front unless the conversation says otherwise.
    package static let systemPrompt = """
        You are a helpful language and vision assistant. You are able to understand the visual content that the user \
        provides, and assist the user with a variety of tasks using natural language.
        """

    private static func name(_ message: Message, _ index: Int) throws(ConversationError) -> String {
        switch message.role {
        case roles.user, "user", "<|User|>": roles.user
        case roles.assistant, "assistant", "<|Assistant|>": roles.assistant
        case "system":
            throw .role(index: index, expected: "a system message at the beginning only", found: "system")
        default:
            throw .role(
                index: index,
                expected: "'\(roles.user)' or '\(roles.assistant)'",
                found: message.role
            )
        }
    }

    /// The text of a conversation; the tags of its pictures are still in it.
    ///
    /// A system message in front replaces the default system prompt, an empty one removes it.
    /// - Parameter tag: stands for a picture.
    /// - Throws: `ConversationError`.
    package static func prompt(_ messages: [Message], tag: String) throws(ConversationError) -> String {
        var system = systemPrompt
        var first = 0
        if let message = messages.first, message.role == "system" {
            system = message.content
            first = 1
        }
        guard let last = messages.last else { throw .empty }
        var turns: [(role: String, text: String)] = []
        for (index, message) in messages.enumerated() {
            let tags = ConversationTemplate.imageTags(message.content, tag: tag)
            guard tags == message.imageCount else {
                throw .images(index: index, tags: tags, images: message.imageCount, tag: tag)
            }
            if index >= first {
                turns.append((try name(message, index), PythonText.strip(message.content)))
            }
        }
        guard turns.last?.role == roles.assistant else {
            throw .lastRole(expected: "'\(roles.assistant)'", found: last.role)
        }
        return PythonText.strip(ConversationTemplate.deepseek.joined(turns, system: system))
    }
}
