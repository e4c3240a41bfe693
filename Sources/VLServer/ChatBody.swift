import DeepSeekVL
import VLJSON
import VLModels

/// The body of `POST /v1/chat/completions`.
enum ChatBody {
    static func request(_ fields: Fields, _ desk: PromptDesk) throws(APIError) -> ChatRequest {
        var request = ChatRequest(
            try turns(fields, desk),
            try SamplingBody(openAI: fields, desk, mostStops: 4)
        )
        let old = try fields.int("max_tokens", 1...(1 << 53))
        request.maxTokens = try fields.int("max_completion_tokens", 1...(1 << 53)) ?? old
        request.reportsProbabilities = try fields.bool("logprobs") ?? false
        if let count = try fields.int("top_logprobs", 0...20) {
            guard request.reportsProbabilities else {
                throw .field("top_logprobs", expected: "it only with logprobs: true", found: "\(count)")
            }
            request.bestTokens = count
        }
        request.form = try AnswerForm(
            try fields.fields("response_format"),
            schemaIn: "json_schema",
            fields
        )
        try refuseTools(fields)
        return request
    }

    private static func refuseTools(_ fields: Fields) throws(APIError) {
        for name in ["tools", "functions"] {
            try fields.refuse(name, unless: { $0.asArray?.isEmpty == true })
        }
        for name in ["tool_choice", "function_call"] {
            try fields.refuse(name, unless: { $0 == "none" || $0 == "auto" })
        }
        try fields.refuse("audio")
        try fields.refuse("modalities", unless: { $0 == ["text"] })
    }

    /// The conversation of a body's `messages`.
    static func turns(_ fields: Fields, _ desk: PromptDesk) throws(APIError) -> [ChatTurn] {
        try ChatTurn.list(fields, "messages", desk.settings, turn)
    }

    private static func turn(_ fields: Fields) throws(APIError) -> ChatTurn {
        let role = try ChatTurn.role(fields, unsupported: ["tool", "function"])
        try fields.refuse("tool_calls", unless: { $0.asArray?.isEmpty == true })
        let parts = try ChatTurn.parts(fields, "content") { (item) throws(APIError) in try part(item, role) }
        return ChatTurn(role: role, parts: parts)
    }

    private static func part(_ fields: Fields, _ role: ChatTurn.Role) throws(APIError) -> ChatTurn.Part {
        switch try fields.string("type") {
        case "text", "input_text", "output_text": return .text(try fields.requiredString("text"))
        case "image_url":
            try ChatTurn.checkPicture(fields, role)
            guard let image = try fields.fields("image_url"), let url = try image.string("url") else {
                throw .field(
                    fields.name("image_url"),
                    expected: "an object with a url",
                    found: "none"
                )
            }
            return .picture(url: url, tiling: try TilingRule(detail: image))
        case let type:
            throw .field(
                fields.name("type"),
                expected: "'text' or 'image_url'",
                found: type.map { "'\($0.excerpt())'" } ?? "none"
            )
        }
    }
}
