import DeepSeekVL
import Dispatch
import Synchronization
import VLImage
import VLModels
import VLTensor
import VLText

#if Network
import Tracing
#endif

/// What a picture is drawn on, so that boxes have pixels; the picture itself is not kept.
struct Frame: Sendable {
    /// Of the upright picture, which is what the model sees.
    var width: Int
    var height: Int
    var orientation: Orientation
    var tiles: Int
    var tokens: Int
    var tilesAcross: Int
    var tilesDown: Int
}

/// A prompt, and the pictures that its boxes may lie on.
struct DeskPrompt: Sendable {
    var prompt: PreparedPrompt
    var frames: [Frame] = []
}

/// Makes prompts of requests, beside the engine and off the threads that serve connections.
package final class PromptDesk: Sendable {
    package let loaded: LoadedModel
    package let settings: ServerSettings
    /// Encodes texts whose control tokens are guarded.
    private let processor: any Processor
    private let guarding: GuardedText
    private let pool = ThreadPool(threads: 1)
    /// Pictures that are decoded at the same time: one a queue.
    private let queues = (0..<2).map { DispatchQueue(label: "VLServer.prompt.\($0)") }
    private let turn = Atomic<Int>(0)

    static let groundingTags = ["<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>"]

    package init(_ loaded: LoadedModel, _ settings: ServerSettings) {
        self.loaded = loaded
        self.settings = settings
        var processor = loaded.processor
        var tags = [processor.roles.user, processor.roles.assistant].filter { $0.contains("<|") }
        if let tag = processor.imageTag { tags.append(tag) }
        guarding = GuardedText(
            processor.tokenizer,
            tags: tags,
            allowed: settings.readsGroundingTags ? Set(Self.groundingTags) : []
        )
        processor.tokenizer.removesGuards = true
        self.processor = processor
    }

    var vocabularySize: Int { loaded.language.vocabularySize }
    var context: Int { loaded.language.maxPositions }

    /// The begin token of the model; nil for one without.
    package var beginToken: Int32? {
        switch loaded.processor {
        case let processor as DeepSeekVL2Processor: processor.beginToken
        case let processor as DeepSeekVLProcessor: processor.beginToken
        case let processor as TextProcessor: processor.beginToken
        default: nil
        }
    }

    /// Runs work that takes a while where it holds up no connection.
    func perform<Result: Sendable>(
        _ work: @escaping @Sendable () throws(APIError) -> Result
    ) async throws -> Result {
        let place = turn.add(1, ordering: .relaxed).newValue
        return try await withCheckedThrowingContinuation { continuation in
            queues[abs(place % queues.count)].async {
                do throws(APIError) {
                    continuation.resume(returning: try work())
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    // MARK: Conversations

    /// The prompt of a conversation.
    ///
    /// - Parameter source: the field that the conversation came in.
    func prompt(_ turns: [ChatTurn], source: String = "messages") async throws -> DeskPrompt {
        do {
            return try await spanned("prompt") { [self] in
                let fetched = try await fetch(turns)
                return try await perform { [self] () throws(APIError) in try build(turns, fetched) }
            }
        } catch var error as APIError {
            error.param = error.param ?? source
            throw error
        }
    }

    /// Does something, and tells whoever traces requests how long it took.
    private func spanned<Result: Sendable>(
        _ name: String,
        _ work: @Sendable () async throws -> Result
    ) async throws -> Result {
        #if Network
        return try await withSpan(name) { _ in try await work() }
        #else
        return try await work()
        #endif
    }

    /// What lies at the web addresses of a conversation's pictures, all together at most as large as a body may be.
    private func fetch(_ turns: [ChatTurn]) async throws -> [String: [UInt8]] {
        var fetched: [String: [UInt8]] = [:]
        #if Network
        guard !settings.fetchHosts.isEmpty, loaded.vision != nil else { return [:] }
        var left = settings.maxBodyBytes
        for case .picture(let url, _) in turns.flatMap(\.parts)
        where PictureAddress.isWeb(url) && fetched[url] == nil {
            let fetch = PictureFetch(
                hosts: settings.fetchHosts,
                allowsPrivate: settings.fetchesPrivate,
                limit: min(settings.imageLimits.maxBytes, left),
                seconds: settings.fetchSeconds
            )
            let bytes = try await fetch.fetch(url)
            left -= bytes.count
            fetched[url] = bytes
        }
        #endif
        return fetched
    }

    private func build(_ turns: [ChatTurn], _ fetched: [String: [UInt8]]) throws(APIError) -> DeskPrompt {
        let messages = messages(turns)
        // Roles and places are checked before any picture is read.
        do throws(PromptError) {
            try processor.check(messages)
        } catch {
            throw APIError(400, error.description)
        }
        var images: [PreparedImage] = []
        var frames: [Frame] = []
        let wanted = turns.flatMap(\.parts).compactMap { part -> (String, TilingRule)? in
            if case .picture(let url, let tiling) = part { (url, tiling) } else { nil }
        }
        if !wanted.isEmpty, loaded.vision == nil {
            throw APIError(400, "expected no images, since the model sees none")
        }
        for (url, tiling) in wanted {
            let decoded = try PictureAddress.read(url, settings, fetched: fetched).decoded
            let rule = processor.resolve(tiling, pictures: wanted.count)
            let upright = decoded.upright
            guard let image = processor.prepare([upright], rule, pool: pool).first else { continue }
            images.append(image)
            frames.append(
                Frame(
                    width: upright.width,
                    height: upright.height,
                    orientation: decoded.orientation,
                    tiles: image.tiles,
                    tokens: processor.imageTokens(tilesAcross: image.tilesAcross, tilesDown: image.tilesDown),
                    tilesAcross: image.tilesAcross,
                    tilesDown: image.tilesDown
                )
            )
        }
        do throws(PromptError) {
            return DeskPrompt(prompt: try processor.prompt(messages, images: images), frames: frames)
        } catch {
            throw APIError(400, error.description)
        }
    }

    /// The conversation as the model family writes it, with its texts guarded; the answer's place is at the end.
    private func messages(_ turns: [ChatTurn]) -> [Message] {
        var messages: [Message] = []
        // Several system texts in front are one.
        let systems = turns.prefix { $0.role == .system }
        if !systems.isEmpty {
            messages.append(Message(role: "system", content: systems.map(content).joined(separator: "\n\n")))
        }
        for turn in turns.dropFirst(systems.count) {
            let role =
                switch turn.role {
                case .system: "system"
                case .user: processor.roles.user
                case .assistant: processor.roles.assistant
                }
            let count = turn.parts.count { if case .picture = $0 { true } else { false } }
            messages.append(Message(role: role, content: content(turn), imageCount: count))
        }
        if turns.last?.role != .assistant {
            messages.append(Message(role: processor.roles.assistant, content: ""))
        }
        return messages
    }

    /// A message's text: each part on a line of its own, a picture's tag where the picture stands.
    private func content(_ turn: ChatTurn) -> String {
        turn.parts.map { part in
            switch part {
            case .text(let text): guarding.guarded(text)
            case .picture: processor.imageTag ?? ""
            }
        }.joined(separator: "\n")
    }

    /// Tokens that an answer may have: what was asked for, or what the server and the context allow.
    ///
    /// - Parameters:
    ///   - param: the field that asked.
    ///   - source: the field that the prompt came in.
    func maxTokens(
        _ asked: Int?,
        promptTokens: Int,
        param: String = "max_tokens",
        source: String
    ) throws(APIError) -> Int {
        let room = context - promptTokens
        guard room > 0 || asked == 0 && room == 0 else {
            throw APIError(
                400,
                "\(source): expected at most \(context - 1) tokens (the context is \(context)), found \(promptTokens)",
                param: source,
                code: "context_length_exceeded"
            )
        }
        guard let asked else { return min(room, settings.defaultMaxTokens) }
        guard asked <= room else {
            throw APIError(
                400,
                "\(param): expected at most \(room) tokens besides the prompt's \(promptTokens) "
                    + "(the context is \(context)), found \(asked)",
                param: param,
                code: "context_length_exceeded"
            )
        }
        return asked
    }

    // MARK: Plain texts

    /// The prompt of a text that is to be continued.
    func prompt(text: String) async throws -> DeskPrompt {
        try await spanned("prompt") { [self] in
            try await perform { [self] () throws(APIError) in
                let readsControl = settings.readsControlTokens
                do throws(PromptError) {
                    let chosen: any Processor = readsControl ? loaded.processor : processor
                    return DeskPrompt(
                        prompt: try chosen.prompt(
                            text: readsControl ? text : guarding.guarded(text),
                            appliesTemplate: false,
                            system: "",
                            images: []
                        )
                    )
                } catch {
                    throw APIError(400, error.description, param: "prompt")
                }
            }
        }
    }

    /// The prompt of token ids, taken as they are.
    func prompt(ids: [Int32]) -> DeskPrompt {
        DeskPrompt(prompt: PreparedPrompt(text: "", ids: ids, spans: [], images: []))
    }

    /// Tokens of a text; control tokens that it spells are those tokens, as tokenizers do it.
    func tokenize(_ text: String, addsBegin: Bool) async throws -> [Int32] {
        try await perform { [self] () throws(APIError) in
            do throws(TokenizerError) {
                let ids = try loaded.tokenizer.encode(text)
                return addsBegin ? (beginToken.map { [$0] } ?? []) + ids : ids
            } catch {
                throw APIError(400, error.description, param: "prompt")
            }
        }
    }

    /// Tokens of a conversation.
    func tokenize(_ turns: [ChatTurn]) async throws -> [Int32] { try await prompt(turns).prompt.ids }
}
