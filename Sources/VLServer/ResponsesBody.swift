import DeepSeekVL
import VLJSON
import VLModels

/// The body of `POST /v1/responses`: all of OpenAI's interface that needs no memory of earlier responses.
struct ResponsesBody: Sendable {
    let request: ChatRequest
    /// What the answer repeats of the request.
    let echo: JSONObject

    init(_ fields: Fields, _ desk: PromptDesk) throws(APIError) {
        try Self.refuse(fields)
        let instructions = try fields.string("instructions")
        var turns = try Self.turns(fields, desk)
        if let instructions { turns.insert(ChatTurn(role: .system, parts: [.text(instructions)]), at: 0) }
        var request = ChatRequest(turns, try SamplingBody(fields, desk))
        request.source = "input"
        request.maxTokens = try fields.int("max_output_tokens", 1...(1 << 53))
        request.maxTokensField = "max_output_tokens"
        request.reportsProbabilities = try Self.reportsProbabilities(fields)
        if let count = try fields.int("top_logprobs", 0...20), count > 0 {
            guard request.reportsProbabilities else {
                throw .field(
                    "top_logprobs",
                    expected: "it only with '\(Self.probabilities)' in include",
                    found: "\(count)"
                )
            }
            request.bestTokens = count
        }
        let format = try fields.fields("text")?.fields("format")
        request.form = try AnswerForm(format, fields)
        request.formField = "text.format"
        if case .jsonSchema = request.form { _ = try format?.requiredString("name") }
        self.request = request
        echo = [
            "instructions": instructions.map { .string($0) } ?? .null,
            "max_output_tokens": fields.value("max_output_tokens") ?? .null,
            "metadata": .object(try Self.metadata(fields)),
            "parallel_tool_calls": .bool(try fields.bool("parallel_tool_calls") ?? true),
            "temperature": fields.value("temperature") ?? .number(desk.settings.defaultTemperature),
            "text": ["format": format.map { .object($0.object) } ?? ["type": "text"]],
            "tool_choice": fields.value("tool_choice") ?? "auto",
            "top_logprobs": .integer(Int64(request.bestTokens)),
            "top_p": fields.value("top_p") ?? 1,
        ]
    }

    // MARK: What is not served

    private static func refuse(_ fields: Fields) throws(APIError) {
        for name in [
            "previous_response_id", "conversation", "prompt", "max_tool_calls", "context_management",
        ] {
            try fields.refuse(name)
        }
        for name in ["store", "background"] { try fields.refuse(name, unless: { $0 == false }) }
        try fields.refuse("tools", unless: { $0.asArray?.isEmpty == true })
        try fields.refuse("tool_choice", unless: { $0 == "none" || $0 == "auto" })
        try fields.refuse("truncation", unless: { $0 == "disabled" })
        try fields.refuse("reasoning") { reasoning in
            reasoning.asObject?.allSatisfy { $0.value.isNull || $0.key == "effort" && $0.value == "none" }
                == true
        }
        try fields.fields("text")?.refuse("verbosity", unless: { $0 == "medium" })
        try fields.fields("stream_options")?.refuse("include_obfuscation", unless: { $0 == false })
    }

    private static let probabilities = "message.output_text.logprobs"

    private static func reportsProbabilities(_ fields: Fields) throws(APIError) -> Bool {
        let list = try fields.array("include") ?? []
        // Models that do not reason have nothing to hide, so that it is as good as included.
        for item in list where item != .string(probabilities) && item != "reasoning.encrypted_content" {
            throw .unsupported("include", item.summary)
        }
        return list.contains(.string(probabilities))
    }

    private static func metadata(_ fields: Fields) throws(APIError) -> JSONObject {
        guard let metadata = try fields.fields("metadata") else { return [:] }
        let isSmall = metadata.object.allSatisfy {
            $0.key.unicodeScalars.count <= 64 && $0.value.asString?.unicodeScalars.count ?? .max <= 512
        }
        guard metadata.object.count <= 16, isSmall else {
            throw .field(
                "metadata",
                expected: "at most 16 texts of at most 512 characters, with names of at most 64",
                found: JSONValue.object(metadata.object).summary
            )
        }
        return metadata.object
    }

    // MARK: Input

    private static func turns(_ fields: Fields, _ desk: PromptDesk) throws(APIError) -> [ChatTurn] {
        guard let input = fields.value("input") else {
            throw .field("input", expected: "a text or a list of messages", found: "none")
        }
        guard let text = input.asString else {
            return try ChatTurn.list(fields, "input", desk.settings, turn)
        }
        guard !text.isEmpty else {
            throw .field("input", expected: "a text or a list of messages", found: "an empty text")
        }
        return [ChatTurn(role: .user, parts: [.text(text)])]
    }

    private static func turn(_ fields: Fields) throws(APIError) -> ChatTurn {
        if let type = fields.value("type"), type != "message" {
            throw .unsupported(fields.name("type"), type.summary)
        }
        let role = try ChatTurn.role(fields)
        let parts = try ChatTurn.parts(fields, "content") { (item) throws(APIError) in try part(item, role) }
        return ChatTurn(role: role, parts: parts)
    }

    private static func part(_ fields: Fields, _ role: ChatTurn.Role) throws(APIError) -> ChatTurn.Part {
        switch try fields.requiredString("type") {
        case "input_text", "output_text", "text": return .text(try fields.requiredString("text"))
        case "input_image":
            try ChatTurn.checkPicture(fields, role)
            try fields.refuse("file_id")
            return .picture(
                url: try fields.requiredString("image_url"),
                tiling: try TilingRule(detail: fields)
            )
        case let type: throw .unsupported(fields.name("type"), "'\(type.excerpt())'")
        }
    }
}
