import VLEngine
import VLImage
import VLModels
import VLTensor
import VLText

/// A conversation with a model: the synchronous heart of `ChatSession`, confined to the model's thread.
///
/// From turn to turn keys and values are kept as far as the new prompt begins like the old one, and no picture is
/// encoded twice. What the model answers is what it would answer to the whole conversation afresh.
package final class Dialogue {
    package let host: ModelHost
    package var settings: ChatSettings
    package private(set) var conversation: Conversation
    /// The last answer, with the pictures that its boxes lie on.
    package private(set) var lastAnswer: HostedAnswer?
    /// The pictures of each turn.
    private var pictures: [[DialoguePicture]] = []
    private let memory: SequenceCache
    /// How the pictures of the last prompt were cut.
    private var lastRule: TilingRule?
    /// Answers so far: each draws other random numbers.
    private var answers: UInt64 = 0

    package init(_ host: ModelHost, _ settings: ChatSettings = ChatSettings()) {
        self.host = host
        self.settings = settings
        conversation = Conversation()
        memory = host.sequenceCache()
    }

    private var processor: any Processor { host.loaded.processor }

    // MARK: Turns

    /// Asks a question; tags that its text lacks are put before it, one a line.
    ///
    /// - Parameter onEvent: returns false to stop the answer; what was said so far stays. A question that was stopped
    ///   before the first word is taken back.
    /// - Throws: `DeepSeekVLError`; the conversation is what it was then.
    @discardableResult
    package func send(
        _ text: String,
        _ sources: [Picture] = [],
        onEvent: (ChatEvent) -> Bool = { _ in true }
    ) throws(DeepSeekVLError) -> Answer {
        try settings.validate()
        var new: [DialoguePicture] = []
        for (index, source) in sources.enumerated() {
            let picture = DialoguePicture(source, number: index + 1)
            _ = try picture.decoded()
            new.append(picture)
        }
        var turn = Conversation.Turn(question: try placed(text, new.count), pictures: sources, answer: "")
        turn.forgottenBefore = conversation.forgottenTurns
        return try answer(turn, new, onEvent)
    }

    /// Answers the last question again.
    ///
    /// - Throws: `DeepSeekVLError`; the old answer stays then, as it does when the new one is stopped before its first
    ///   word.
    @discardableResult
    package func regenerate(onEvent: (ChatEvent) -> Bool = { _ in true }) throws(DeepSeekVLError) -> Answer {
        guard var turn = conversation.turns.last, let seen = pictures.last else {
            throw .conversation(description: "conversation: expected a question to answer again, found none")
        }
        let old = (conversation, pictures, lastAnswer)
        undo()
        turn.answer = ""
        let answer: Answer
        do throws(DeepSeekVLError) {
            answer = try self.answer(turn, seen, onEvent)
        } catch {
            (conversation, pictures, lastAnswer) = old
            throw error
        }
        if conversation.turns.count < old.0.turns.count { (conversation, pictures, lastAnswer) = old }
        return answer
    }

    /// Takes back the last question and its answer; nil if there is none.
    @discardableResult
    package func undo() -> Conversation.Turn? {
        guard let turn = conversation.turns.popLast() else { return nil }
        pictures.removeLast()
        conversation.forgottenTurns = min(turn.forgottenBefore, conversation.turns.count)
        lastAnswer = nil
        return turn
    }

    /// Begins anew; the system text stays.
    package func clear() {
        conversation = Conversation(system: conversation.system)
        pictures = []
        lastRule = nil
        lastAnswer = nil
    }

    /// Changes the text that is put before the conversation; nil for the model family's own.
    package func setSystem(_ text: String?) { conversation.system = text }

    /// Goes on with another conversation, whose pictures are read now.
    ///
    /// - Throws: `DeepSeekVLError`; nothing has changed then.
    package func replace(with other: Conversation) throws(DeepSeekVLError) {
        var read: [[DialoguePicture]] = []
        for turn in other.turns {
            let tags = processor.imageTags(turn.question)
            guard tags == turn.pictures.count else {
                throw .conversation(
                    description:
                        "turn \(read.count + 1): expected one image for each '\(processor.imageTag ?? "image")', found \(turn.pictures.count) images and \(tags) tags"
                )
            }
            let pictures = turn.pictures.enumerated().map { DialoguePicture($1, number: $0 + 1) }
            for picture in pictures { _ = try picture.decoded() }
            read.append(pictures)
        }
        conversation = other
        pictures = read
        for forgotten in pictures[..<other.forgottenTurns].joined() { forgotten.release() }
        lastRule = nil
        lastAnswer = nil
    }

    private func answer(
        _ turn: Conversation.Turn,
        _ seen: [DialoguePicture],
        _ onEvent: (ChatEvent) -> Bool
    ) throws(DeepSeekVLError) -> Answer {
        var turn = turn
        let turns = conversation.turns + [turn]
        let seen = pictures + [seen]
        let (prompt, first, rule) = try fit(turns, seen)
        if first > conversation.forgottenTurns {
            _ = onEvent(.turnsDropped(conversation.forgottenTurns..<first))
        }
        let earlier = seen[first..<(seen.count - 1)].contains { !$0.isEmpty }
        if earlier, let lastRule, let rule, rule != lastRule {
            _ = onEvent(.tilingChanged(isTiled: rule == .always))
        }
        var parameters = settings.parameters
        parameters.seed = parameters.seed &+ answers
        parameters.stop += host.loaded.processor.chatStops.filter { !parameters.stop.contains($0) }
        // Boxes name their picture by its place in the whole conversation.
        var shown: [ConversationPicture] = []
        if !prompt.images.isEmpty {
            for picture in seen.joined() { shown.append(try picture.decoded()) }
        }
        let request = HostedRequest(prompt: prompt, pictures: shown, memory: memory)
        let hosted = try host.answer([request], parameters, exif: settings.exif) { _, event in
            switch event {
            case .tilesEncoded(let done, let total): onEvent(.tilesEncoded(done, of: total))
            case .tokensPrefilled(let done, let total): onEvent(.tokensPrefilled(done, of: total))
            case .text(let text): onEvent(.text(text))
            case .finished(let answer): onEvent(.finished(answer))
            }
        }
        guard let hosted = hosted.first else {
            throw .request(description: "\(host.name): expected an answer, found none")
        }
        answers &+= 1
        let answer = hosted.answer
        if answer.finishReason == FinishReason.cancelled.rawValue && answer.text.isEmpty { return answer }
        turn.answer = withoutTags(answer.text)
        turn.finishReason = answer.finishReason
        turn.usage = answer.usage
        conversation.turns.append(turn)
        conversation.forgottenTurns = first
        pictures = seen
        for forgotten in pictures[..<first].joined() { forgotten.release() }
        if let rule { lastRule = rule }
        lastAnswer = hosted
        return answer
    }

    // MARK: Prompts

    /// A question whose pictures all have a place.
    private func placed(_ text: String, _ count: Int) throws(DeepSeekVLError) -> String {
        guard let tag = processor.imageTag else {
            if count == 0 { return text }
            throw .conversation(
                description: "\(host.name): expected no pictures, since it sees none, found \(count)"
            )
        }
        let tags = processor.imageTags(text)
        guard tags <= count else {
            throw .conversation(
                description:
                    "question: expected one image for each '\(tag)', found \(count) images and \(tags) tags"
            )
        }
        return String(repeating: tag + "\n", count: count - tags) + text
    }

    /// An answer as history: a tag that the model wrote stands for no picture.
    private func withoutTags(_ answer: String) -> String {
        guard let tag = processor.imageTag, processor.imageTags(answer) > 0 else { return answer }
        return answer.split(separator: tag, omittingEmptySubsequences: false).joined()
    }

    private func messages(_ turns: some Collection<Conversation.Turn>) -> [Message] {
        var messages: [Message] = []
        if let system = conversation.system, !system.isEmpty {
            messages.append(Message(role: "system", content: system))
        }
        for turn in turns {
            messages.append(
                Message(role: processor.roles.user, content: turn.question, imageCount: turn.pictures.count)
            )
            messages.append(Message(role: processor.roles.assistant, content: turn.answer))
        }
        return messages
    }

    /// The prompt of turns, the last of which is to be answered or continued.
    private func prompt(
        _ turns: some Collection<Conversation.Turn>,
        _ images: [PreparedImage]
    ) throws(DeepSeekVLError) -> PreparedPrompt {
        do throws(PromptError) {
            return try processor.prompt(messages(turns), images: images)
        } catch {
            throw .conversation(description: error.description)
        }
    }

    /// The pictures as the model sees them, and how they are cut; nil without pictures.
    private func prepare(
        _ pictures: some Collection<[DialoguePicture]>
    ) throws(DeepSeekVLError) -> (images: [PreparedImage], rule: TilingRule?) {
        let all = Array(pictures.joined())
        guard !all.isEmpty else { return ([], nil) }
        let rule = processor.resolve(settings.tiling.rule, pictures: all.count)
        var images: [PreparedImage] = []
        for picture in all { images.append(try picture.prepared(rule, settings.exif, host)) }
        return (images, rule)
    }

    /// The longest prompt that fits: oldest turns are left out first, those that were forgotten stay so.
    ///
    /// - Returns: the prompt, the first turn in it, and how its pictures are cut.
    private func fit(
        _ turns: [Conversation.Turn],
        _ pictures: [[DialoguePicture]]
    ) throws(DeepSeekVLError) -> (PreparedPrompt, Int, TilingRule?) {
        let context = host.loaded.language.maxPositions
        // Room for an answer: what may be generated, but no more than an eighth of the context.
        let room = min(settings.parameters.maxTokens, context / 8)
        let limit = min(context - room, settings.historyTokens ?? context)
        var first = min(conversation.forgottenTurns, turns.count - 1)
        while true {
            let (images, rule) = try prepare(pictures[first...])
            let prompt = try prompt(turns[first...], images)
            if prompt.ids.count <= limit || first == turns.count - 1 {
                if prompt.ids.count >= context {
                    let costs = prompt.spans.map(\.count)
                    throw DeepSeekVLError(
                        EngineError.contextTooLong(
                            tokens: prompt.ids.count,
                            context: context,
                            imageTokens: costs
                        )
                    )
                }
                return (prompt, first, rule)
            }
            first += 1
        }
    }

    // MARK: Costs

    /// What the conversation costs, turn by turn and picture by picture.
    ///
    /// - Throws: `DeepSeekVLError`.
    package func tokens() throws(DeepSeekVLError) -> TokenReport {
        let first = conversation.forgottenTurns
        let turns = conversation.turns[first...]
        let (images, _) = try prepare(pictures[first...])
        var report = TokenReport(
            system: try systemTokens(),
            turns: [],
            forgottenTurns: first,
            context: host.loaded.language.maxPositions,
            cached: memory.content.count
        )
        var before = report.system
        var imagesBefore = 0
        for index in turns.indices {
            let count = pictures[index].count
            let seen = Array(images[..<(imagesBefore + count)])
            var asked = Array(turns[first...index])
            asked[asked.count - 1].answer = ""
            let question = try prompt(asked, seen)
            // The next turn's prompt has an end token behind the answer.
            let answer = try tokenCount(conversation.turns[index].answer) + 1
            let costs = try question.spans.suffix(count).enumerated().map {
                place,
                span throws(DeepSeekVLError) in
                TokenReport.Image(
                    name: try pictures[index][place].decoded().name,
                    tokens: span.count,
                    tilesAcross: images[span.image].tilesAcross,
                    tilesDown: images[span.image].tilesDown
                )
            }
            report.turns.append(
                TokenReport.Turn(
                    number: index,
                    text: question.ids.count - before - costs.reduce(0) { $0 + $1.tokens },
                    images: costs,
                    answer: answer
                )
            )
            before = question.ids.count + answer
            imagesBefore += count
        }
        return report
    }

    /// Tokens of a text by itself.
    private func tokenCount(_ text: String) throws(DeepSeekVLError) -> Int {
        do throws(TokenizerError) {
            return try processor.tokenizer.encode(PythonText.strip(text)).count
        } catch {
            throw .request(description: error.description)
        }
    }

    /// What the system text adds to a prompt.
    private func systemTokens() throws(DeepSeekVLError) -> Int {
        guard conversation.system != nil else { return 0 }
        let probe = [Conversation.Turn(question: "a", answer: "")]
        let with = try prompt(probe, []).ids.count
        let system = conversation.system
        conversation.system = nil
        defer { conversation.system = system }
        return with - (try prompt(probe, []).ids.count)
    }
}

/// A picture of a dialogue: read, cut and normalised once.
final class DialoguePicture {
    private let source: Picture
    private let number: Int
    private var picture: ConversationPicture?
    private var cut: (rule: TilingRule, exif: EXIFOrientation, image: PreparedImage)?

    init(_ source: Picture, number: Int = 1) {
        self.source = source
        self.number = number
    }

    /// The picture; read when it is needed first.
    func decoded() throws(DeepSeekVLError) -> ConversationPicture {
        if let picture { return picture }
        let read = try PictureSource.read(source, number: number)
        picture = read
        return read
    }

    /// The picture as the vision tower takes it.
    func prepared(
        _ rule: TilingRule,
        _ exif: EXIFOrientation,
        _ host: ModelHost
    ) throws(DeepSeekVLError) -> PreparedImage {
        if let cut, cut.rule == rule, cut.exif == exif { return cut.image }
        let decoded = try decoded().decoded
        let pixels = exif == .apply ? decoded.upright : decoded.stored
        guard let image = host.loaded.processor.prepare([pixels], rule, pool: host.run.pool).first else {
            throw .conversation(
                description: "\(host.name): expected no pictures, since it sees none, found one"
            )
        }
        cut = (rule, exif, image)
        return image
    }

    /// Gives back memory; the picture is read again if it is needed again.
    func release() {
        picture = nil
        cut = nil
    }
}
