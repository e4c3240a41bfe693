import DeepSeekVL
import VLJSON
import VLModels

/// The body of `POST /v1/chat/completions`.
struct ChatBody: Sendable {
    var turns: [ChatTurn]
    var sampling: SamplingBody
    /// Longest answer; nil for as long as the server allows.
    var maxTokens: Int?
    var reportsProbabilities = false
    var bestTokens = 0
    /// What the answer has to be.
    var form = AnswerForm.free

    init(_ fields: Fields, _ desk: PromptDesk) throws(APIError) {
        turns = try Self.turns(fields, desk)
        sampling = try SamplingBody(fields, desk, mostStops: 4)
        let old = try fields.int("max_tokens", 1...(1 << 53))
        maxTokens = try fields.int("max_completion_tokens", 1...(1 << 53)) ?? old
        reportsProbabilities = try fields.bool("logprobs") ?? false
        if let count = try fields.int("top_logprobs", 0...20) {
            guard reportsProbabilities else {
                throw .field("top_logprobs", expected: "it only with logprobs: true", found: "\(count)")
            }
            bestTokens = count
        }
        if let format = try fields.fields("response_format") {
            let type = try format.choice("type", ["text", "json_object", "json_schema"])
            guard let type else {
                throw .field("response_format.type", expected: "a type", found: "none")
            }
            switch type {
            case "json_object": form = .json
            case "json_schema":
                guard let schema = try format.fields("json_schema")?.fields("schema") else {
                    throw .field("response_format.json_schema.schema", expected: "a schema", found: "none")
                }
                let size = JSONWriter.encode(.object(schema.object)).count
                guard size <= JSONSchema.sizeLimit else {
                    throw .field(
                        "response_format.json_schema.schema",
                        expected: "at most \(JSONSchema.sizeLimit) bytes",
                        found: "\(size)"
                    )
                }
                form = .jsonSchema(JSONSchema(.object(schema.object)))
            default: break
            }
        }
        if try fields.fields("grounding")?.bool("constrain") == true {
            guard form == .free else {
                throw .field("grounding.constrain", expected: "it without a response_format", found: "both")
            }
            form = .legalBoxes
        }
        try Self.refuseTools(fields)
    }

    static func refuseTools(_ fields: Fields) throws(APIError) {
        for name in ["tools", "functions"] {
            try fields.refuse(name, unless: { $0.asArray?.isEmpty == true })
        }
        for name in ["tool_choice", "function_call"] {
            try fields.refuse(name, unless: { $0 == "none" || $0 == "auto" })
        }
        try fields.refuse("audio")
        try fields.refuse("modalities", unless: { $0 == ["text"] })
    }

    // MARK: Messages

    /// The conversation of a body's `messages`.
    static func turns(_ fields: Fields, _ desk: PromptDesk) throws(APIError) -> [ChatTurn] {
        guard let list = try fields.array("messages") else {
            throw .field("messages", expected: "a list of messages", found: "none")
        }
        guard !list.isEmpty, list.count <= 4096 else {
            throw .field("messages", expected: "from 1 to 4096 messages", found: "\(list.count)")
        }
        var turns: [ChatTurn] = []
        var images = 0
        for (index, item) in list.enumerated() {
            guard let object = item.asObject else {
                throw .field("messages[\(index)]", expected: "an object", found: item.summary)
            }
            let turn = try self.turn(Fields(object, path: "messages[\(index)]"))
            images += turn.parts.count { if case .picture = $0 { true } else { false } }
            turns.append(turn)
        }
        guard images <= desk.settings.maxImages else {
            throw .field(
                "messages",
                expected: "at most \(desk.settings.maxImages) images",
                found: "\(images)"
            )
        }
        return turns
    }

    private static func turn(_ fields: Fields) throws(APIError) -> ChatTurn {
        let roles = ["system", "developer", "user", "assistant", "tool", "function"]
        guard let name = try fields.choice("role", roles) else {
            throw .field(fields.name("role"), expected: "a role", found: "none")
        }
        let role: ChatTurn.Role
        switch name {
        case "system", "developer": role = .system
        case "user": role = .user
        case "assistant": role = .assistant
        default: throw .unsupported(fields.name("role"), "'\(name)'")
        }
        try fields.refuse("tool_calls", unless: { $0.asArray?.isEmpty == true })
        guard let content = fields.value("content") else {
            throw .field(fields.name("content"), expected: "a text or a list of parts", found: "none")
        }
        if let text = content.asString { return ChatTurn(role: role, parts: [.text(text)]) }
        guard let list = content.asArray, !list.isEmpty else {
            throw .field(
                fields.name("content"),
                expected: "a text or a list of parts",
                found: content.summary
            )
        }
        var parts: [ChatTurn.Part] = []
        for (index, item) in list.enumerated() {
            let path = fields.name("content[\(index)]")
            guard let object = item.asObject else {
                throw .field(path, expected: "an object", found: item.summary)
            }
            parts.append(try part(Fields(object, path: path), role))
        }
        return ChatTurn(role: role, parts: parts)
    }

    private static func part(_ fields: Fields, _ role: ChatTurn.Role) throws(APIError) -> ChatTurn.Part {
        switch try fields.string("type") {
        case "text", "input_text", "output_text":
            guard let text = try fields.string("text") else {
                throw .field(fields.name("text"), expected: "a text", found: "none")
            }
            return .text(text)
        case "image_url":
            guard role == .user else {
                throw .field(fields.path, expected: "images in messages of the user only", found: "one")
            }
            guard let image = try fields.fields("image_url"), let url = try image.string("url") else {
                throw .field(
                    fields.name("image_url"),
                    expected: "an object with a url",
                    found: "none"
                )
            }
            return .picture(url: url, tiling: try tiling(image))
        case let type:
            throw .field(
                fields.name("type"),
                expected: "'text' or 'image_url'",
                found: type.map { "'\($0.excerpt())'" } ?? "none"
            )
        }
    }

    /// `low` looks at the whole picture only, `high` always at its tiles, too.
    static func tiling(_ fields: Fields) throws(APIError) -> TilingRule {
        switch try fields.choice("detail", ["auto", "low", "high"]) {
        case "low": .never
        case "high": .always
        default: .auto
        }
    }
}

extension PromptDesk {
    /// Tokens that an answer may have: what was asked for, or what the server and the context allow.
    func maxTokens(_ asked: Int?, promptTokens: Int, param: String = "max_tokens") throws(APIError) -> Int {
        let room = context - promptTokens
        guard room > 0 || asked == 0 && room == 0 else {
            throw APIError(
                400,
                "prompt: expected at most \(context - 1) tokens (the context is \(context)), found \(promptTokens)",
                param: "messages",
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
}
