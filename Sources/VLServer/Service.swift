#if Network
import DeepSeekVL
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes
import Synchronization
import VLEngine
import VLJSON
import VLModels
import VLTensor
import VLText

/// Answers requests that the gate let in.
struct Service: Sendable {
    let engine: ServingEngine
    let desk: PromptDesk
    let settings: ServerSettings
    let metrics: ServerMetrics
    let model: ServedModel
    let names: [String]
    let started: Int
    let keys: APIKeys
    /// Set when the server is told to end.
    let isDraining: Mutexed<Bool>

    init(
        _ engine: ServingEngine,
        _ settings: ServerSettings,
        now: Int,
        metrics: ServerMetrics,
        isDraining: Mutexed<Bool>
    ) {
        self.metrics = metrics
        self.isDraining = isDraining
        self.engine = engine
        self.settings = settings
        desk = PromptDesk(engine.loaded, settings)
        names = settings.modelNames.isEmpty ? [engine.loaded.name] : settings.modelNames
        let loaded = engine.loaded
        let print = SHA256.digest(
            "\(loaded.name) \(loaded.architecture) \(loaded.weightType) \(loaded.weightBytes)".utf8
        )
        let digits = print.bytes.prefix(6).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        model = ServedModel(name: names[0], fingerprint: "fp_" + digits, tokenizer: loaded.tokenizer)
        started = now
        keys = APIKeys(settings.keys)
    }

    static func randomID() -> String {
        let digits = String(UInt64.random(in: 0...UInt64.max), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    static func json(_ value: JSONValue, status: Int = 200) -> Response {
        text(JSONWriter.encode(value), "application/json", status: status)
    }

    static func text(_ bytes: [UInt8], _ type: String, status: Int = 200) -> Response {
        var response = Response(
            status: .init(code: status),
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        )
        response.headers[.contentType] = type
        return response
    }

    // MARK: Routes

    func answer(_ route: Route, _ request: Request, _ context: GateContext) async throws -> Response {
        switch route {
        case .health: return health()
        // The lobby has answered these, for there may be no model yet.
        case .page, .assets, .openAPI:
            throw APIError(404, "there is nothing at this path", code: "unknown_url")
        case .metrics:
            let page = metrics.text(engine.statistics, model: model.name)
            return Self.text(Array(page.utf8), "text/plain; version=0.0.4; charset=utf-8")
        case .models:
            return Self.json(["object": "list", "data": .array(names.map { description(of: $0) })])
        case .model:
            let name = request.uri.path.dropFirst("/v1/models/".count)
            guard let plain = String(name).removingPercentEncoding, names.contains(plain) else {
                throw Self.unknownModel(String(name))
            }
            return Self.json(description(of: plain))
        case .tokenizerInfo: return tokenizerInfo()
        case .tokenize: return try await tokenize(try await fields(request, context))
        case .detokenize: return try detokenize(try await fields(request, context))
        case .plan: return try await plan(try await fields(request, context))
        case .chat: return try await chat(try await work(request, context), context)
        case .messages: return try await message(try await work(request, context), context)
        case .countTokens: return try await countTokens(try await work(request, context))
        case .responses: return try await response(try await work(request, context), context)
        case .completions: return try await complete(try await work(request, context), context)
        }
    }

    /// The fields of a request that makes the model work.
    private func work(_ request: Request, _ context: GateContext) async throws -> Fields {
        if isDraining.withLock({ $0 }) { throw CancellationError() }
        let fields = try await fields(request, context)
        guard let name = try fields.string("model") else {
            throw APIError.field("model", expected: "the name of a model", found: "none")
        }
        guard names.contains(name) else { throw Self.unknownModel(name) }
        return fields
    }

    private static func unknownModel(_ name: String) -> APIError {
        APIError(
            404,
            "model: expected a model that is served (see /v1/models), found '\(name.excerpt())'",
            param: "model",
            code: "model_not_found"
        )
    }

    private func description(of name: String) -> JSONValue {
        [
            "id": .string(name), "object": "model", "created": .integer(Int64(started)),
            "owned_by": "deepseek-vl", "max_model_len": .integer(Int64(desk.context)),
            "architecture": .string(desk.loaded.architecture), "sees": .bool(desk.loaded.vision != nil),
            "weights": .string(desk.loaded.weightType.rawValue),
            "weight_bytes": .integer(Int64(desk.loaded.weightBytes)),
            "vocab_size": .integer(Int64(desk.vocabularySize)), "loaded": true,
        ]
    }

    private func health() -> Response {
        if isDraining.withLock({ $0 }) { return Self.json(["status": "draining"], status: 503) }
        let statistics = engine.statistics
        let isStuck = statistics.isBusy && (statistics.lastStep.map { .now - $0 > .seconds(300) } ?? false)
        return Self.json(["status": isStuck ? "stuck" : "ok"], status: isStuck ? 503 : 200)
    }

    // MARK: Tokens

    private func tokenizerInfo() -> Response {
        func text(_ id: Int32?) -> JSONValue {
            id.map { .string(String(decoding: model.tokenizer.bytes(of: $0), as: UTF8.self)) } ?? .null
        }
        let end = desk.loaded.endTokens.first
        return Self.json([
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": text(desk.beginToken),
            "eos_token": text(end), "pad_token": text(end), "add_bos_token": false,
            "vocab_size": .integer(Int64(desk.vocabularySize)),
            "model_max_length": .integer(Int64(desk.context)),
            "template": desk.loaded.processor.templateName.map { .string($0) } ?? .null,
        ])
    }

    private func tokenize(_ fields: Fields) async throws -> Response {
        let addsBegin = try fields.bool("add_special_tokens") ?? true
        let ids: [Int32]
        if let text = try fields.string("prompt") {
            guard fields.value("messages") == nil else {
                throw APIError.field("messages", expected: "it without a prompt", found: "both")
            }
            ids = try await desk.tokenize(text, addsBegin: addsBegin)
        } else {
            ids = try await desk.tokenize(try ChatBody.turns(fields, desk))
        }
        var answer: JSONObject = [
            "count": .integer(Int64(ids.count)), "max_model_len": .integer(Int64(desk.context)),
            "tokens": .array(ids.map { .integer(Int64($0)) }),
        ]
        if try fields.bool("return_token_strs") ?? false {
            let reports = TokenReports(tokenizer: model.tokenizer)
            answer["token_strs"] = .array(ids.map { .string(reports.name($0)) })
        }
        return Self.json(.object(answer))
    }

    /// Tokens of a conversation in Anthropic's form.
    private func countTokens(_ fields: Fields) async throws -> Response {
        let ids = try await desk.tokenize(try MessagesBody.turns(fields, desk))
        return Self.json(["input_tokens": .integer(Int64(ids.count))])
    }

    private func detokenize(_ fields: Fields) throws(APIError) -> Response {
        guard let list = fields.value("tokens") else {
            throw .field("tokens", expected: "a list of token ids", found: "none")
        }
        let ids = list == [] ? [] : try CompletionBody.tokens(list, desk, param: "tokens")
        return Self.json(["prompt": .string(model.tokenizer.decode(ids))])
    }

    /// What a conversation would cost; nothing is computed.
    private func plan(_ fields: Fields) async throws -> Response {
        let request = try ChatBody.request(fields, desk)
        let prompt = try await desk.prompt(request.turns)
        let count = prompt.prompt.ids.count
        let room = max(0, desk.context - count)
        let answer = min(room, request.maxTokens ?? settings.defaultMaxTokens)
        let blocks = (count + answer + KVCache.blockPositions - 1) / KVCache.blockPositions
        // Further answers share the whole blocks of the prompt; its last token is computed for each.
        let shared = engine.options.sharesPrefixes ? max(0, count - 1) / KVCache.blockPositions : 0
        let choices = request.sampling.choices
        let statistics = engine.statistics.batch
        return Self.json([
            "object": "plan", "model": .string(model.name),
            "prompt_tokens": .integer(Int64(count)),
            "text_tokens": .integer(Int64(count - prompt.prompt.imageTokens)),
            "images": .array(
                prompt.frames.map { frame in
                    [
                        "width": .integer(Int64(frame.width)), "height": .integer(Int64(frame.height)),
                        "tiles": .integer(Int64(frame.tiles)), "tokens": .integer(Int64(frame.tokens)),
                        "tiles_across": .integer(Int64(frame.tilesAcross)),
                        "tiles_down": .integer(Int64(frame.tilesDown)),
                    ]
                }
            ),
            "context": .integer(Int64(desk.context)), "context_left": .integer(Int64(room)),
            "n": .integer(Int64(choices)), "max_tokens": .integer(Int64(answer)),
            "cache_bytes": .integer(Int64((blocks + (choices - 1) * (blocks - shared)) * engine.blockBytes)),
            "cache_budget_bytes": .integer(Int64(statistics.blockLimit * statistics.blockBytes)),
            "fits": .bool(
                room > 0 && blocks <= statistics.blockLimit && (request.maxTokens ?? 0) <= room
            ),
        ])
    }

    // MARK: Bodies

    /// Reads a request's body, with all limits, as a JSON object.
    private func fields(_ request: Request, _ context: GateContext) async throws -> Fields {
        let bytes = try await bytes(request, context)
        guard !bytes.isEmpty else { throw APIError(400, "expected a JSON object, found an empty body") }
        return try await desk.perform { () throws(APIError) in
            let value: JSONValue
            do throws(JSONError) {
                value = try JSONValue(parsing: bytes)
            } catch {
                throw APIError(400, "the body is no JSON: \(error.description)", code: "invalid_json")
            }
            guard let object = value.asObject else {
                throw APIError(400, "expected a JSON object, found \(value.summary)")
            }
            return Fields(object)
        }
    }

    private func bytes(_ request: Request, _ context: GateContext) async throws -> [UInt8] {
        func early(_ status: Int, _ text: String) -> APIError {
            var error = APIError(status, text)
            error.closes = true
            return error
        }
        if let type = request.headers[.contentType]?.lowercased() {
            let parts = type.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\"" } }
            let charsets = parts.dropFirst().filter { $0.hasPrefix("charset=") }
            guard parts.first == "application/json", charsets.allSatisfy({ $0 == "charset=utf-8" }) else {
                throw early(415, "expected a body of application/json in UTF-8")
            }
        } else {
            throw early(415, "expected a header 'Content-Type: application/json'")
        }
        if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" {
            throw early(415, "expected a body without compression")
        }
        let limit = settings.maxBodyBytes
        let tooLarge = "expected a body of at most \(limit) bytes"
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit {
            throw early(413, tooLarge)
        }
        let body = request.body
        let seconds = settings.bodySeconds
        do {
            return try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
                group.addTask { Array(buffer: try await body.collect(upTo: limit)) }
                group.addTask {
                    try await Task.sleep(for: .seconds(seconds))
                    return nil
                }
                defer { group.cancelAll() }
                guard let first = try await group.next(), let bytes = first else {
                    throw early(408, "expected the whole request within \(seconds) seconds")
                }
                return bytes
            }
        } catch is NIOTooManyBytesError {
            throw early(413, tooLarge)
        }
    }
}
#endif
