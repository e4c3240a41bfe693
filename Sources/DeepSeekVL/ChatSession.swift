import VLModels

/// A conversation that goes on with a loaded model.
///
///     let session = try await model.chat()
///     for try await event in session.send("How many rings are there?", pictures: [.file("Examples/rings.png")]) {
///         if case .text(let text) = event { print(text, terminator: "") }
///     }
///     for try await event in session.send("And which colours do they have?") { … }
///
/// What was computed for a turn is kept for the next one: pictures are encoded once, and of the prompt only what is new
/// is computed. The answers are those to the whole conversation afresh. Sessions of one model take turns; ending an
/// iteration stops the answer, and what was said so far stays.
public final class ChatSession: Sendable {
    private let dialogue: QueueBound<Dialogue>

    init(_ dialogue: QueueBound<Dialogue>) { self.dialogue = dialogue }

    /// Asks a question; image tags that its text lacks are put before it, one a line.
    ///
    /// - Throws: in the sequence, `DeepSeekVLError`; the conversation is what it was then.
    public func send(_ text: String, pictures: [Picture] = []) -> AsyncThrowingStream<ChatEvent, any Error> {
        dialogue.stream { dialogue, report in
            try dialogue.send(text, pictures, onEvent: report)
        }
    }

    /// Answers the last question again, with other random numbers.
    ///
    /// - Throws: in the sequence, `DeepSeekVLError`.
    public func regenerate() -> AsyncThrowingStream<ChatEvent, any Error> {
        dialogue.stream { dialogue, report in try dialogue.regenerate(onEvent: report) }
    }

    /// Takes back the last question and its answer; nil if there is none.
    @discardableResult
    public func undo() async -> Conversation.Turn? { await dialogue.run { $0.undo() } }

    /// Begins anew; the system text stays.
    public func clear() async { await dialogue.run { $0.clear() } }

    /// What was asked and answered so far.
    public var conversation: Conversation {
        get async { await dialogue.run { $0.conversation } }
    }

    /// Goes on with another conversation, whose pictures are read now.
    ///
    /// - Throws: `DeepSeekVLError`; nothing has changed then.
    public func replace(with conversation: Conversation) async throws {
        try await dialogue.attempt { try $0.replace(with: conversation) }
    }

    /// Changes the text that is put before the conversation; nil for the model family's own.
    public func setSystem(_ text: String?) async { await dialogue.run { $0.setSystem(text) } }

    /// How answers are generated from now on.
    public var settings: ChatSettings {
        get async { await dialogue.run { $0.settings } }
    }

    /// Changes how answers are generated.
    ///
    /// - Throws: `DeepSeekVLError.parameter`.
    public func setSettings(_ settings: ChatSettings) async throws {
        try settings.validate()
        await dialogue.run { $0.settings = settings }
    }

    /// What the conversation costs, turn by turn and picture by picture.
    ///
    /// - Throws: `DeepSeekVLError`.
    public func tokens() async throws -> TokenReport { try await dialogue.attempt { try $0.tokens() } }

    /// Writes conversation and settings to a JSON file, whose messages are those of the official programs.
    ///
    /// - Throws: `DeepSeekVLError.file`.
    public func save(_ path: String) async throws { try await dialogue.attempt { try $0.save(path) } }

    /// Goes on with the conversation of a JSON file, and with its settings if it has any.
    ///
    /// - Throws: `DeepSeekVLError`; nothing has changed then.
    public func load(_ path: String) async throws { try await dialogue.attempt { try $0.load(path) } }
}

extension DeepSeekModel {
    /// Begins a conversation, or goes on with one, whose pictures are read now.
    ///
    /// - Throws: `DeepSeekVLError`.
    public func chat(
        _ conversation: Conversation = Conversation(),
        settings: ChatSettings = ChatSettings()
    ) async throws -> ChatSession {
        try settings.validate()
        return ChatSession(
            try await host.bound { host in
                let dialogue = Dialogue(host, settings)
                try dialogue.replace(with: conversation)
                return dialogue
            }
        )
    }
}

extension Dialogue {
    /// Writes conversation and settings to a JSON file.
    ///
    /// - Throws: `DeepSeekVLError.file`.
    package func save(_ path: String) throws(DeepSeekVLError) {
        let record = ConversationRecord(model: host.name, conversation: conversation, settings: settings)
        try record.write(path, roles: host.loaded.processor.roles)
    }

    /// Goes on with the conversation of a JSON file, and with its settings if it has any.
    ///
    /// - Throws: `DeepSeekVLError`; nothing has changed then.
    package func load(_ path: String) throws(DeepSeekVLError) {
        let record = try ConversationRecord.read(path)
        try replace(with: record.conversation)
        if let loaded = record.settings { settings = loaded }
    }
}
