import DeepSeekVL
import VLJSON
import VLModels

/// A message of a conversation as clients send it.
struct ChatTurn: Sendable {
    enum Role: Sendable {
        case system, user, assistant
    }

    enum Part: Sendable {
        case text(String)
        /// A picture's address and how closely it is looked at.
        case picture(url: String, tiling: TilingRule)
    }

    var role: Role
    var parts: [Part]

    /// Pictures of the message.
    var pictureCount: Int { parts.count { if case .picture = $0 { true } else { false } } }
}

/// A conversation to be answered, whatever form it was sent in.
struct ChatRequest: Sendable {
    var turns: [ChatTurn]
    /// The field that the conversation came in.
    var source = "messages"
    var sampling: SamplingBody
    /// Longest answer; nil for as long as the server allows.
    var maxTokens: Int?
    /// The field that says so.
    var maxTokensField = "max_tokens"
    var reportsProbabilities = false
    var bestTokens = 0
    /// What the answer has to be.
    var form = AnswerForm.free
    /// The field that says so.
    var formField = "response_format"

    init(_ turns: [ChatTurn], _ sampling: SamplingBody) {
        self.turns = turns
        self.sampling = sampling
    }
}

// MARK: What forms of requests have in common

extension ChatTurn {
    /// The messages of a list.
    ///
    /// - Parameter read: reads one of them.
    /// - Throws: `APIError`, also for more pictures than the server takes.
    static func list(
        _ fields: Fields,
        _ field: String,
        _ settings: ServerSettings,
        _ read: (Fields) throws(APIError) -> ChatTurn
    ) throws(APIError) -> [ChatTurn] {
        guard let list = try fields.objects(field) else {
            throw .field(field, expected: "a list of messages", found: "none")
        }
        guard !list.isEmpty, list.count <= 4096 else {
            throw .field(field, expected: "from 1 to 4096 messages", found: "\(list.count)")
        }
        var turns: [ChatTurn] = []
        for item in list { turns.append(try read(item)) }
        let images = turns.reduce(0) { $0 + $1.pictureCount }
        guard images <= settings.maxImages else {
            throw .field(field, expected: "at most \(settings.maxImages) images", found: "\(images)")
        }
        return turns
    }

    /// Reads a message's role.
    ///
    /// - Parameters:
    ///   - system: names of the system's role.
    ///   - unsupported: further names that a role may have, which are refused for what they are.
    static func role(
        _ fields: Fields,
        system: [String] = ["system", "developer"],
        unsupported: [String] = []
    ) throws(APIError) -> Role {
        switch try fields.choice("role", ["user", "assistant"] + system + unsupported) {
        case nil: throw .field(fields.name("role"), expected: "a role", found: "none")
        case "user": return .user
        case "assistant": return .assistant
        case let name? where system.contains(name): return .system
        case let name?: throw .unsupported(fields.name("role"), "'\(name)'")
        }
    }

    /// Reads a text, or a list of parts that are objects.
    ///
    /// - Parameter read: reads one of them.
    static func parts(
        _ fields: Fields,
        _ field: String,
        _ read: (Fields) throws(APIError) -> Part
    ) throws(APIError) -> [Part] {
        let value = fields.value(field)
        if let text = value?.asString { return [.text(text)] }
        guard value?.asArray?.isEmpty == false, let list = try fields.objects(field) else {
            throw .field(
                fields.name(field),
                expected: "a text or a list of parts",
                found: value?.summary ?? "none"
            )
        }
        var parts: [Part] = []
        for item in list { parts.append(try read(item)) }
        return parts
    }

    /// Refuses a picture in a message that is not the user's.
    static func checkPicture(_ fields: Fields, _ role: Role) throws(APIError) {
        guard role == .user else {
            throw .field(fields.path, expected: "images in messages of the user only", found: "one")
        }
    }
}

extension TilingRule {
    /// `low` looks at the whole picture only, `high` always at its tiles, too.
    init(detail fields: Fields) throws(APIError) {
        self =
            switch try fields.choice("detail", ["auto", "low", "high"]) {
            case "low": .never
            case "high": .always
            default: .auto
            }
    }
}

extension AnswerForm {
    /// Reads what an answer has to be.
    ///
    /// - Parameters:
    ///   - format: an object with a `type`; nil for an answer that may be anything.
    ///   - types: what the type may be.
    ///   - holder: the field of the format that has the schema; nil for the format itself.
    ///   - fields: where `grounding` may stand.
    init(
        _ format: Fields?,
        types: [String] = ["text", "json_object", "json_schema"],
        schemaIn holder: String? = nil,
        _ fields: Fields
    ) throws(APIError) {
        self = .free
        if let format {
            switch try format.choice("type", types) {
            case "json_object": self = .json
            case "json_schema":
                let place = holder.map { format.name($0) } ?? format.path
                self = .jsonSchema(
                    try Self.schema(holder == nil ? format : format.fields("json_schema"), place)
                )
            case nil: throw .field(format.name("type"), expected: "a type", found: "none")
            default: break
            }
        }
        guard try fields.fields("grounding")?.bool("constrain") == true else { return }
        guard self == .free else {
            throw .field(
                "grounding.constrain",
                expected: "it without \(format?.path ?? "a format")",
                found: "both"
            )
        }
        self = .legalBoxes
    }

    private static func schema(_ holder: Fields?, _ place: String) throws(APIError) -> JSONSchema {
        let name = place + ".schema"
        guard let schema = try holder?.fields("schema") else {
            throw .field(name, expected: "a schema", found: "none")
        }
        let size = JSONWriter.encode(.object(schema.object)).count
        guard size <= JSONSchema.sizeLimit else {
            throw .field(name, expected: "at most \(JSONSchema.sizeLimit) bytes", found: "\(size)")
        }
        return JSONSchema(.object(schema.object))
    }
}
