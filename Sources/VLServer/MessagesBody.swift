import DeepSeekVL
import VLJSON
import VLModels

/// The body of `POST /v1/messages`, Anthropic's interface.
enum MessagesBody {
    /// Stop sequences that a request may have.
    private static let mostStops = 64

    static func request(_ fields: Fields, _ desk: PromptDesk) throws(APIError) -> ChatRequest {
        var request = ChatRequest(try turns(fields, desk), try SamplingBody(fields, desk))
        guard let most = try fields.int("max_tokens", 1...(1 << 53)) else {
            throw .field("max_tokens", expected: "a whole number", found: "none")
        }
        request.maxTokens = most
        if try fields.array("stop_sequences") != nil {
            request.sampling.stop = try fields.strings("stop_sequences", most: mostStops)
        }
        _ = try fields.fields("metadata")?.string("user_id")
        let format = try fields.fields("output_config")?.fields("format")
        request.form = try AnswerForm(format, types: ["json_schema"], fields)
        request.formField = "output_config.format"
        return request
    }

    /// The conversation of a body's `system` and `messages`.
    static func turns(_ fields: Fields, _ desk: PromptDesk) throws(APIError) -> [ChatTurn] {
        try refuseTools(fields)
        var turns = try ChatTurn.list(fields, "messages", desk.settings, turn)
        if let system = fields.value("system"), system != [] {
            let parts = try ChatTurn.parts(fields, "system") { (item) throws(APIError) in
                try part(item, .system)
            }
            turns.insert(ChatTurn(role: .system, parts: parts), at: 0)
        }
        return turns
    }

    private static func refuseTools(_ fields: Fields) throws(APIError) {
        for name in ["tools", "mcp_servers"] {
            try fields.refuse(name, unless: { $0.asArray?.isEmpty == true })
        }
        try fields.refuse("tool_choice", unless: { $0["type"] == "none" || $0["type"] == "auto" })
        try fields.refuse("thinking", unless: { $0["type"] == "disabled" })
        for name in ["container", "context_management"] { try fields.refuse(name) }
    }

    private static func turn(_ fields: Fields) throws(APIError) -> ChatTurn {
        let role = try ChatTurn.role(fields, system: ["system"])
        let parts = try ChatTurn.parts(fields, "content") { (item) throws(APIError) in try part(item, role) }
        return ChatTurn(role: role, parts: parts)
    }

    private static func part(_ fields: Fields, _ role: ChatTurn.Role) throws(APIError) -> ChatTurn.Part {
        switch try fields.requiredString("type") {
        case "text": return .text(try fields.requiredString("text"))
        case "image":
            try ChatTurn.checkPicture(fields, role)
            guard let source = try fields.fields("source") else {
                throw .field(fields.name("source"), expected: "an object", found: "none")
            }
            return .picture(url: try address(source), tiling: .auto)
        case let type: throw .unsupported(fields.name("type"), "'\(type.excerpt())'")
        }
    }

    /// The address of a picture; one that stands in the body becomes a `data:` URL.
    private static func address(_ source: Fields) throws(APIError) -> String {
        switch try source.requiredString("type") {
        case "url": return try source.requiredString("url")
        case "base64":
            let types = ["image/jpeg", "image/png", "image/gif", "image/webp"]
            guard let type = try source.choice("media_type", types) else {
                throw .field(source.name("media_type"), expected: "a type of pictures", found: "none")
            }
            return "data:\(type);base64," + (try source.requiredString("data"))
        case let type: throw .unsupported(source.name("type"), "'\(type.excerpt())'")
        }
    }
}
