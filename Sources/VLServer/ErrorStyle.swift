import VLJSON

/// How a path words its errors.
enum ErrorStyle: Sendable {
    case openAI, anthropic

    init(path: String) {
        self = path == "/v1/messages" || path.hasPrefix("/v1/messages/") ? .anthropic : .openAI
    }

    /// The body that tells a client of an error.
    ///
    /// - Parameter requestID: what the server's log calls the request; nil within a stream, whose head has told it.
    func json(_ error: APIError, requestID: String? = nil) -> JSONValue {
        switch self {
        case .openAI:
            return [
                "error": [
                    "message": .string(error.message), "type": .string(error.type),
                    "param": error.param.map { .string($0) } ?? .null,
                    "code": error.code.map { .string($0) } ?? .null,
                ]
            ]
        case .anthropic:
            var body: JSONObject = [
                "type": "error",
                "error": [
                    "type": .string(Self.anthropicType(error.status)), "message": .string(error.message),
                ],
            ]
            if let requestID { body["request_id"] = .string(requestID) }
            return .object(body)
        }
    }

    private static func anthropicType(_ status: Int) -> String {
        switch status {
        case 401: "authentication_error"
        case 403: "permission_error"
        case 404: "not_found_error"
        case 413: "request_too_large"
        case 429: "rate_limit_error"
        case 503: "overloaded_error"
        case 504: "timeout_error"
        case 500...: "api_error"
        default: "invalid_request_error"
        }
    }
}
