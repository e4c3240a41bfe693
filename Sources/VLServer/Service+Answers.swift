#if Network
import DeepSeekVL
import HTTPTypes
import Hummingbird
import NIOCore
import VLEngine
import VLGrammar
import VLJSON
import VLModels

extension Service {
    // MARK: Endpoints

    func chat(_ fields: Fields, _ context: GateContext) async throws -> Response {
        let request = try ChatBody.request(fields, desk)
        return try await converse(request, context) { prompt, id in
            ChatAnswer(request, prompt, id: id, created: now, model)
        }
    }

    func message(_ fields: Fields, _ context: GateContext) async throws -> Response {
        let request = try MessagesBody.request(fields, desk)
        return try await converse(request, context) { prompt, id in
            MessagesAnswer(request, prompt, id: id, model)
        }
    }

    func response(_ fields: Fields, _ context: GateContext) async throws -> Response {
        let body = try ResponsesBody(fields, desk)
        return try await converse(body.request, context) { prompt, id in
            ResponsesAnswer(body, prompt, id: id, created: now, model)
        }
    }

    /// Has a conversation answered, whatever form asked for it.
    ///
    /// - Parameter builder: makes what words the answer, from the prompt and a random name.
    private func converse(
        _ request: ChatRequest,
        _ context: GateContext,
        _ builder: (DeskPrompt, String) -> some AnswerBuilder
    ) async throws -> Response {
        let constraint = try await self.constraint(request)
        let prompt = try await desk.prompt(request.turns, source: request.source)
        let maxTokens = try desk.maxTokens(
            request.maxTokens,
            promptTokens: prompt.prompt.ids.count,
            param: request.maxTokensField,
            source: request.source
        )
        let sampling = request.sampling
        let stop = sampling.stop + desk.loaded.processor.chatStops.filter { !sampling.stop.contains($0) }
        // Pictures are hashed once, not for each choice.
        let first = BatchRequest(prompt.prompt, GenerationOptions(), salt: keys.salt(context.key))
        let requests = (0..<sampling.choices).map { choice in
            var batch = self.batch(first, sampling, maxTokens: maxTokens, choice: choice)
            batch.options.bestTokens = request.bestTokens
            batch.options.constraint = constraint
            return ServedRequest(batch, stop: stop)
        }
        let answer = builder(prompt, Self.randomID())
        let answers = engine.answers(requests, sharesPrompt: true)
        return try await respond(answers, answer, isStreamed: sampling.isStreamed, context)
    }

    /// The constraint of an answer's form, made where it holds up no connection.
    private func constraint(_ request: ChatRequest) async throws -> TokenConstraint? {
        let constraints = engine.constraints
        return try await desk.perform { () throws(APIError) in
            do throws(GrammarError) {
                return try constraints.constraint(request.form)
            } catch {
                throw APIError(
                    400,
                    "\(request.formField): \(error.description)",
                    param: request.formField,
                    code: "invalid_schema"
                )
            }
        }
    }

    func complete(_ fields: Fields, _ context: GateContext) async throws -> Response {
        let body = try CompletionBody(fields, desk)
        var prompts: [DeskPrompt] = []
        var hidden = 0
        for prompt in body.prompts {
            switch prompt {
            case .text(let text): prompts.append(try await desk.prompt(text: text))
            case .tokens(var ids):
                if settings.addsBeginToken, let begin = desk.beginToken {
                    hidden = 1
                    ids.insert(begin, at: 0)
                }
                prompts.append(desk.prompt(ids: ids))
            }
        }
        var requests: [ServedRequest] = []
        for prompt in prompts {
            let asked = body.maxTokens
            let maxTokens = try desk.maxTokens(
                asked,
                promptTokens: prompt.prompt.ids.count,
                source: "prompt"
            )
            let first = BatchRequest(prompt.prompt, GenerationOptions(), salt: keys.salt(context.key))
            for choice in 0..<body.sampling.choices {
                var batch = self.batch(first, body.sampling, maxTokens: maxTokens, choice: choice)
                batch.options.bestTokens = body.bestTokens ?? 0
                batch.options.scoredFrom = body.echoes && body.bestTokens != nil ? 0 : nil
                requests.append(ServedRequest(batch, stop: body.sampling.stop))
            }
        }
        let answer = CompletionAnswer(body, prompts, hidden: hidden, id: Self.randomID(), created: now, model)
        let answers = engine.answers(requests, sharesPrompt: prompts.count == 1)
        return try await respond(answers, answer, isStreamed: body.sampling.isStreamed, context)
    }

    private func batch(
        _ first: BatchRequest,
        _ sampling: SamplingBody,
        maxTokens: Int,
        choice: Int
    ) -> BatchRequest {
        var batch = first
        batch.options = sampling.generation(desk, maxTokens: maxTokens, choice: choice)
        batch.priority = sampling.priority
        batch.deadline = .now + .seconds(settings.requestSeconds)
        return batch
    }

    // MARK: Responses

    private func respond(
        _ answers: ServedAnswers,
        _ builder: some AnswerBuilder,
        isStreamed: Bool,
        _ context: GateContext
    ) async throws -> Response {
        let departure = try await context.channel.pipeline.handler(type: DepartureHandler.self)
            .map(\.departure).get()
        let ticket = departure.notify(answers.cancel)
        var builder = builder
        guard isStreamed else {
            defer { departure.forget(ticket) }
            for try await (index, event) in answers.events { _ = try builder.take(index, event) }
            return Self.json(builder.json)
        }
        // Until it is in the queue, a request can be refused with a status.
        var iterator = answers.events.makeAsyncIterator()
        guard let (index, event) = try await iterator.next() else { throw CancellationError() }
        let first = try builder.take(index, event)
        let stream = EventStream(
            answers,
            builder,
            first,
            context.channel,
            stallSeconds: settings.stallSeconds
        ) {
            departure.forget(ticket)
        }
        var response = Response(status: .ok, body: ResponseBody { try await stream.write(to: &$0) })
        response.headers[.contentType] = "text/event-stream"
        response.headers[.cacheControl] = "no-cache"
        if let buffering = HTTPField.Name("X-Accel-Buffering") { response.headers[buffering] = "no" }
        return response
    }
}

/// Writes an answer as server-sent events while it is given.
struct EventStream<Builder: AnswerBuilder>: Sendable {
    private enum Item: Sendable {
        case event(Int, ServedEvent)
        /// Nothing happened for a while.
        case silence
    }

    private let answers: ServedAnswers
    private let builder: Builder
    private let first: [JSONValue]
    private let channel: any Channel
    private let stallSeconds: Int
    private let onEnd: @Sendable () -> Void
    /// Seconds between comments that keep a silent connection open.
    private let pingSeconds = 10

    init(
        _ answers: ServedAnswers,
        _ builder: Builder,
        _ first: [JSONValue],
        _ channel: any Channel,
        stallSeconds: Int,
        onEnd: @escaping @Sendable () -> Void
    ) {
        self.answers = answers
        self.builder = builder
        self.first = first
        self.channel = channel
        self.stallSeconds = stallSeconds
        self.onEnd = onEnd
    }

    func write(to writer: inout any ResponseBodyWriter) async throws {
        // A client that is gone ends the work, whatever else happens here.
        defer {
            answers.cancel()
            onEnd()
        }
        var builder = builder
        try await send(first, to: &writer)
        do {
            for try await item in items() {
                switch item {
                case .event(let index, let event): try await send(builder.take(index, event), to: &writer)
                case .silence:
                    if let ping = builder.ping {
                        try await send([ping], to: &writer)
                    } else {
                        try await write(Array(": ping\n\n".utf8), to: &writer)
                    }
                }
            }
            try await send(builder.ending, to: &writer)
            if builder.framing == .data { try await write(Array("data: [DONE]\n\n".utf8), to: &writer) }
        } catch let error as APIError {
            try await send(builder.failure(error), to: &writer)
        } catch is CancellationError {
            try await send(builder.failure(APIError.wrapping(CancellationError())), to: &writer)
        }
        try await writer.finish(nil)
    }

    private func send(_ chunks: [JSONValue], to writer: inout any ResponseBodyWriter) async throws {
        guard !chunks.isEmpty else { return }
        var bytes: [UInt8] = []
        for chunk in chunks {
            if builder.framing == .named, let name = chunk["type"]?.asString {
                bytes += "event: \(name)\n".utf8
            }
            bytes += "data: ".utf8
            bytes += JSONWriter.encode(chunk)
            bytes += "\n\n".utf8
        }
        try await write(bytes, to: &writer)
    }

    /// Writes, and closes the connection of a client that takes nothing.
    private func write(_ bytes: [UInt8], to writer: inout any ResponseBodyWriter) async throws {
        let channel = channel
        let stall = channel.eventLoop.scheduleTask(in: .seconds(Int64(stallSeconds))) {
            channel.close(promise: nil)
        }
        defer { stall.cancel() }
        try await writer.write(ByteBuffer(bytes: bytes))
    }

    /// What happens, and silences between.
    private func items() -> AsyncThrowingStream<Item, any Error> {
        let (stream, sink) = AsyncThrowingStream<Item, any Error>.makeStream()
        let events = answers.events
        let pause = pingSeconds
        let forwarding = Task {
            do {
                for try await (index, event) in events { sink.yield(.event(index, event)) }
                sink.finish()
            } catch {
                sink.finish(throwing: error)
            }
        }
        let ticking = Task {
            while !Task.isCancelled {
                try await Task.sleep(for: .seconds(pause))
                sink.yield(.silence)
            }
        }
        sink.onTermination = { _ in
            forwarding.cancel()
            ticking.cancel()
        }
        return stream
    }
}
#endif
