import DeepSeekVL
import VLEngine

/// What a client is told when its request is not served, in the terms of OpenAI's error object.
package struct APIError: Error, Sendable {
    package var status: Int
    package var message: String
    package var type: String
    package var param: String?
    package var code: String?
    /// Seconds after which it is worth while to try again.
    package var retryAfter: Int?
    /// Methods that the path knows.
    package var allow: String?
    /// Whether the rest of the request is not read.
    package var closes = false

    package init(_ status: Int, _ message: String, param: String? = nil, code: String? = nil) {
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        type =
            switch status {
            case 401: "authentication_error"
            case 403: "permission_error"
            case 404: "not_found_error"
            case 429: "rate_limit_error"
            case 500...: "server_error"
            default: "invalid_request_error"
            }
    }

    /// A field with another value than it may have.
    static func field(_ name: String, expected: String, found: String) -> APIError {
        APIError(400, "\(name): expected \(expected), found \(found)", param: name, code: "invalid_value")
    }

    /// A field that is known and not served.
    static func unsupported(_ name: String, _ what: String) -> APIError {
        APIError(400, "\(name): \(what) is not supported by this server", param: name, code: "unsupported")
    }

    init(_ refusal: BatchRefusal) {
        switch refusal {
        case .request(let error):
            var code = "invalid_prompt"
            if case .contextTooLong = error { code = "context_length_exceeded" }
            self.init(400, error.description, code: code)
        case .neverFits(let needed, let budget):
            self.init(
                400,
                "prompt and max_tokens: expected at most \(budget) bytes of keys and values, found \(needed): "
                    + "the server's cache can never hold them",
                code: "context_length_exceeded"
            )
        case .queueFull(let limit):
            self.init(503, "the queue is full (\(limit) requests wait)", code: "overloaded")
            retryAfter = 2
        }
    }

    init(_ error: DeepSeekVLError) {
        switch error {
        case .image(_, let text): self.init(400, text, code: "invalid_image")
        case .parameter(let name, let expected, let found):
            self = .field(name, expected: expected, found: found)
        default: self.init(400, error.description)
        }
    }

    /// What a request that failed in some other way is told: nothing of the inside.
    static func wrapping(_ error: any Error) -> APIError {
        switch error {
        case let error as APIError: return error
        case let error as BatchRefusal: return APIError(error)
        case let error as DeepSeekVLError: return APIError(error)
        case is CancellationError:
            var error = APIError(503, "the server is ending", code: "shutting_down")
            error.retryAfter = 5
            return error
        default: return APIError(500, "the request failed inside the server", code: "internal_error")
        }
    }
}
