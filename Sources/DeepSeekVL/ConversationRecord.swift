import FoundationEssentials
import VLFormats
import VLImage
import VLJSON

/// A conversation as a JSON file: the official list of messages, and beside it how answers are generated.
///
///     {"model": "…", "settings": {"temperature": 0.2, …}, "forgotten_turns": 0,
///      "messages": [{"role": "<|User|>", "content": "<image>\n…", "images": ["a.png"]}, {"role": …}]}
///
/// A bare list of messages is read, too.
public struct ConversationRecord: Sendable {
    /// The model that it was had with; for people.
    public var model: String
    /// What was asked and answered.
    public var conversation: Conversation
    /// Nil in a bare list of messages.
    public var settings: ChatSettings?

    /// A record of a conversation.
    public init(model: String, conversation: Conversation, settings: ChatSettings? = nil) {
        self.model = model
        self.conversation = conversation
        self.settings = settings
    }

    // MARK: Writing

    /// Writes the file; a picture's path is relative to the file's folder if the picture lies there.
    ///
    /// - Parameter roles: names of the user and the assistant in the file.
    /// - Throws: `DeepSeekVLError.file`.
    package func write(
        _ path: String,
        roles: (user: String, assistant: String)
    ) throws(DeepSeekVLError) {
        do throws(FormatError) {
            try AtomicFile.write(
                path,
                JSONWriter.encode(json(roles: roles, folder: Self.folder(path)), .pretty)
            )
        } catch {
            throw DeepSeekVLError(error)
        }
    }

    /// The JSON of the file.
    ///
    /// - Parameter folder: an absolute path; pictures below it are named relative to it.
    package func json(roles: (user: String, assistant: String), folder: String) -> JSONValue {
        var messages: [JSONValue] = []
        if let system = conversation.system {
            messages.append(["role": "system", "content": .string(system)])
        }
        for turn in conversation.turns {
            var question: JSONObject = ["role": .string(roles.user), "content": .string(turn.question)]
            if !turn.pictures.isEmpty {
                question["images"] = .array(turn.pictures.map { .string(Self.reference($0, folder)) })
            }
            messages.append(.object(question))
            messages.append(["role": .string(roles.assistant), "content": .string(turn.answer)])
        }
        var object: JSONObject = ["model": .string(model)]
        if let settings { object["settings"] = Self.json(settings) }
        object["forgotten_turns"] = .integer(Int64(conversation.forgottenTurns))
        object["messages"] = .array(messages)
        return .object(object)
    }

    /// How a picture is named in a file: a path, or a `data:` URL.
    private static func reference(_ picture: Picture, _ folder: String) -> String {
        switch picture {
        case .file(let path):
            if path.utf8.starts(with: "data:".utf8) { return path }
            let absolute = WorkingFolder.absolute(path)
            return absolute.hasPrefix(folder + "/") ? String(absolute.dropFirst(folder.count + 1)) : absolute
        case .bytes(let bytes):
            return "data:\(mediaType(bytes));base64," + Data(bytes).base64EncodedString()
        }
    }

    private static func mediaType(_ bytes: [UInt8]) -> String {
        let types: [([UInt8], String)] = [
            ([0xff, 0xd8], "image/jpeg"), ([0x89, 0x50, 0x4e, 0x47], "image/png"),
            (Array("RIFF".utf8), "image/webp"), (Array("GIF8".utf8), "image/gif"),
            (Array("BM".utf8), "image/bmp"),
            (Array("II".utf8), "image/tiff"), (Array("MM".utf8), "image/tiff"),
        ]
        return types.first { bytes.starts(with: $0.0) }?.1 ?? "application/octet-stream"
    }

    private static func json(_ settings: ChatSettings) -> JSONValue {
        let parameters = settings.parameters
        return [
            "temperature": .number(parameters.temperature), "top_p": .number(parameters.topP),
            "top_k": .integer(Int64(parameters.topK)), "min_p": .number(parameters.minP),
            "repetition_penalty": .number(parameters.repetitionPenalty),
            "max_tokens": .integer(Int64(parameters.maxTokens)),
            "seed": .string(String(parameters.seed)), "stop": .array(parameters.stop.map { .string($0) }),
            "tiling": .string(settings.tiling.rawValue), "exif": .string(settings.exif.rawValue),
            "history_tokens": settings.historyTokens.map { .integer(Int64($0)) } ?? .null,
        ]
    }

    // MARK: Reading

    /// Reads a file; picture paths in it are relative to its folder.
    ///
    /// The pictures themselves are read when they are needed.
    /// - Throws: `DeepSeekVLError.file`, `.conversationFile`.
    package static func read(_ path: String) throws(DeepSeekVLError) -> ConversationRecord {
        let value: JSONValue
        do throws(FormatError) {
            value = try FileContents.readJSON(path, limit: 128 << 20)
        } catch {
            throw DeepSeekVLError(error)
        }
        return try ConversationRecord(value, file: path, folder: folder(path))
    }

    /// Reads the JSON of a file.
    ///
    /// - Throws: `DeepSeekVLError.conversationFile`.
    package init(_ value: JSONValue, file: String, folder: String) throws(DeepSeekVLError) {
        guard let list = value.asArray ?? value["messages"]?.asArray else {
            throw .conversationFile(
                file: file,
                place: "root",
                expected: "a list of messages, or an object with 'messages'",
                found: value.summary
            )
        }
        let reader = RecordReader(file: file, folder: folder)
        model = value["model"]?.asString ?? ""
        conversation = try reader.conversation(list)
        settings = try value["settings"].map { value throws(DeepSeekVLError) in try reader.settings(value) }
        if let forgotten = value["forgotten_turns"]?.asInt {
            conversation.forgottenTurns = max(0, min(forgotten, conversation.turns.count))
        }
    }

    private static func folder(_ path: String) -> String {
        let absolute = WorkingFolder.absolute(path)
        return absolute.lastIndex(of: "/").map { String(absolute[..<$0]) } ?? ""
    }
}

/// Reads the parts of a conversation's JSON.
private struct RecordReader {
    let file: String
    let folder: String
    private static let mostImages = 1024

    private func wrong(_ place: String, _ expected: String, _ found: JSONValue?) -> DeepSeekVLError {
        .conversationFile(file: file, place: place, expected: expected, found: found?.summary ?? "nothing")
    }

    func conversation(_ list: [JSONValue]) throws(DeepSeekVLError) -> Conversation {
        var conversation = Conversation()
        var isAnswered = true
        var images = 0
        for (index, item) in list.enumerated() {
            guard let role = item["role"]?.asString else {
                throw wrong("[\(index)].role", "a text", item["role"])
            }
            guard let content = item["content"]?.asString else {
                throw wrong("[\(index)].content", "a text", item["content"])
            }
            switch role {
            case "system" where index == 0: conversation.system = content
            case "user", "User", "<|User|>", "|<User>|":
                guard isAnswered else {
                    throw wrong("[\(index)].role", "the assistant's answer", item["role"])
                }
                let pictures = try pictures(item["images"], "[\(index)].images")
                images += pictures.count
                guard images <= Self.mostImages else {
                    throw wrong(
                        "[\(index)].images",
                        "at most \(Self.mostImages) images in all",
                        .integer(Int64(images))
                    )
                }
                conversation.turns.append(
                    Conversation.Turn(question: content, pictures: pictures, answer: "")
                )
                isAnswered = false
            case "assistant", "Assistant", "<|Assistant|>", "|<Assistant>|":
                guard !isAnswered else { throw wrong("[\(index)].role", "a user's message", item["role"]) }
                conversation.turns[conversation.turns.count - 1].answer = content
                isAnswered = true
            default:
                throw wrong("[\(index)].role", "a user, an assistant, or first a system", item["role"])
            }
        }
        return conversation
    }

    private func pictures(_ value: JSONValue?, _ place: String) throws(DeepSeekVLError) -> [Picture] {
        guard let value, !value.isNull else { return [] }
        guard let list = value.asArray else { throw wrong(place, "a list of paths", value) }
        var pictures: [Picture] = []
        for item in list {
            guard let reference = item.asString else { throw wrong(place, "paths as texts", item) }
            if reference.utf8.starts(with: "data:".utf8) {
                pictures.append(.bytes(try PictureSource.decode(reference)))
            } else {
                pictures.append(.file(reference.hasPrefix("/") ? reference : folder + "/" + reference))
            }
        }
        return pictures
    }

    func settings(_ value: JSONValue) throws(DeepSeekVLError) -> ChatSettings {
        var settings = ChatSettings()
        func read<Value>(
            _ key: String,
            _ expected: String,
            _ target: inout Value,
            _ convert: (JSONValue) -> Value?
        ) throws(DeepSeekVLError) {
            guard let item = value[key], !item.isNull else { return }
            guard let found = convert(item) else { throw wrong("settings.\(key)", expected, item) }
            target = found
        }
        guard value.asObject != nil else { throw wrong("settings", "an object", value) }
        try read("temperature", "a number", &settings.parameters.temperature) { $0.asDouble }
        try read("top_p", "a number", &settings.parameters.topP) { $0.asDouble }
        try read("top_k", "a whole number", &settings.parameters.topK) { $0.asInt }
        try read("min_p", "a number", &settings.parameters.minP) { $0.asDouble }
        try read("repetition_penalty", "a number", &settings.parameters.repetitionPenalty) { $0.asDouble }
        try read("max_tokens", "a whole number", &settings.parameters.maxTokens) { $0.asInt }
        // Not every reader of JSON keeps 64 bits of a number.
        try read("seed", "a whole number as a text", &settings.parameters.seed) { item in
            item.asString.flatMap { UInt64($0) } ?? item.asInt.flatMap { UInt64(exactly: $0) }
        }
        try read("stop", "a list of texts", &settings.parameters.stop) { item in
            guard let list = item.asArray else { return nil }
            let texts = list.compactMap(\.asString)
            return texts.count == list.count ? texts : nil
        }
        try read("tiling", "auto, always or never", &settings.tiling) {
            $0.asString.flatMap { Tiling(rawValue: $0) }
        }
        try read("exif", "apply or ignore", &settings.exif) {
            $0.asString.flatMap { EXIFOrientation(rawValue: $0) }
        }
        try read("history_tokens", "a whole number", &settings.historyTokens) { $0.asInt.map { .some($0) } }
        try settings.validate()
        return settings
    }
}
