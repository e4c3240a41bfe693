import VLImage
import VLTensor
import VLText

/// Turns messages into token ids for a model that sees nothing.
package struct TextProcessor: Processor {
    package var tokenizer: Tokenizer
    package let template: ChatTemplate
    package let beginToken: Int32
    package let endToken: Int32
    /// Whether a plain text is preceded by the begin token (`add_bos_token`).
    package let addsBeginToken: Bool

    package init(
        _ tokenizer: Tokenizer,
        template: ChatTemplate,
        beginToken: Int32,
        endToken: Int32,
        addsBeginToken: Bool
    ) {
        self.tokenizer = tokenizer
        self.template = template
        self.beginToken = beginToken
        self.endToken = endToken
        self.addsBeginToken = addsBeginToken
    }

    package var imageTag: String? { nil }
    package var chatStops: [String] { template.stops }
    package var roles: (user: String, assistant: String) { ChatTemplate.roles }
    package var tileSize: Int { 0 }
    package var tileShapes: [(across: Int, down: Int)] { [] }
    package var templateName: String? { template == .none ? nil : template.rawValue }

    package func tiles(_ pictures: [PixelBuffer], _ rule: TilingRule, pool: ThreadPool) -> [TiledPicture] {
        []
    }

    package func normalize(_ views: [PixelBuffer]) -> [Float] { [] }

    package func imageTokens(tilesAcross: Int, tilesDown: Int) -> Int { 0 }

    private func text(_ messages: [Message]) throws(PromptError) -> String {
        do throws(ConversationError) {
            return try template.prompt(
                messages,
                begin: tokenizer.decode([beginToken]),
                end: tokenizer.decode([endToken])
            )
        } catch {
            throw .conversation(error)
        }
    }

    private func encoded(_ text: String, after ids: [Int32] = []) throws(PromptError) -> PreparedPrompt {
        do throws(TokenizerError) {
            return PreparedPrompt(text: text, ids: try ids + tokenizer.encode(text), spans: [], images: [])
        } catch {
            throw .tokenizer(error)
        }
    }

    package func check(_ messages: [Message]) throws(PromptError) { _ = try text(messages) }

    package func prompt(_ messages: [Message], images: [PreparedImage]) throws(PromptError) -> PreparedPrompt
    {
        try encoded(try text(messages))
    }

    package func prompt(
        text: String,
        appliesTemplate: Bool,
        system: String,
        images: [PreparedImage]
    ) throws(PromptError) -> PreparedPrompt {
        if appliesTemplate {
            let system = system.isEmpty ? [] : [Message(role: "system", content: system)]
            return try prompt(system + [Message(role: roles.user, content: text)], images: images)
        }
        return try encoded(text, after: addsBeginToken ? [beginToken] : [])
    }
}
