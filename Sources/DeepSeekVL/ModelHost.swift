import VLEngine
import VLFormats
import VLGrammar
import VLImage
import VLModels
import VLTensor
import VLText

/// A picture of a conversation: its bytes as they came, and what they show.
package struct ConversationPicture: Sendable {
    /// File name, or what else messages call it.
    package var name: String
    package var decoded: ImageFile.Decoded

    package init(name: String, decoded: ImageFile.Decoded) {
        self.name = name
        self.decoded = decoded
    }
}

/// A conversation with its pictures, ready to be asked.
package struct ConversationInput: Sendable {
    /// How the text becomes a prompt.
    package enum Form: Sendable {
        /// One question; pictures whose places it does not say come first.
        case question(String, system: String?)
        /// Messages through the model's template.
        case messages([Message])
        /// A ready prompt, taken as it is or put into the template (the official processor's prompt mode).
        case prompt(String, appliesTemplate: Bool, system: String)
    }

    package var form: Form
    package var pictures: [ConversationPicture]

    package init(form: Form, pictures: [ConversationPicture]) {
        self.form = form
        self.pictures = pictures
    }
}

/// What a conversation gave, with what checks need.
package struct HostedAnswer {
    package var answer: Answer
    /// The pictures as the model saw them.
    package var images: [PreparedImage]
    /// Which pictures were turned upright.
    package var pictures: [ConversationPicture]
    /// Probabilities of the prompt's tokens but for the first, if they were asked for.
    package var promptScores: [GeneratedToken]
    /// Probabilities of the answer's tokens.
    package var scores: [GeneratedToken]
}

/// A prompt that is to be answered.
package struct HostedRequest {
    package var prompt: PreparedPrompt
    /// The pictures that boxes may lie on: the last one is the one that an answer speaks of.
    package var pictures: [ConversationPicture]
    /// What an earlier prompt left, to be continued.
    package var memory: SequenceCache?

    package init(prompt: PreparedPrompt, pictures: [ConversationPicture], memory: SequenceCache? = nil) {
        self.prompt = prompt
        self.pictures = pictures
        self.memory = memory
    }
}

/// A loaded model and what it needs to run: the synchronous heart of the library, confined to one thread.
package final class ModelHost {
    package let loaded: LoadedModel
    package let run: Run
    package let loadSeconds: Double
    /// The model's folder or file.
    package let path: String
    private let cacheType: DType?
    package private(set) var timings = GenerationTimings()
    /// Pictures that were encoded already.
    package let features: ImageFeatureCache
    /// What answers can be made to be.
    package let constraints: ModelConstraints

    /// Loads a model.
    ///
    /// - Parameters:
    ///   - path: a checkpoint's folder, or a name of the hub; nil for the default model.
    ///   - vision: the GGUF file that holds what sees, where that is another than `path` and its name does not say so.
    ///   - threads: nil for one a physical core.
    ///   - weights: in which types the matrices run; as they are stored if omitted.
    ///   - cacheType: type of the key-value cache; nil lets the model choose (`LanguageModel.cacheType`).
    ///   - featureBytes: most memory for pictures that were encoded already.
    ///   - onLayer: called with (layers read, layers in all).
    /// - Throws: `DeepSeekVLError`.
    package init(
        _ path: String?,
        vision: String? = nil,
        threads: Int? = nil,
        compute: Compute = .auto,
        weights: WeightPolicy = WeightPolicy(),
        cacheType: DType? = nil,
        featureBytes: Int = 256 << 20,
        onLayer: (Int, Int) -> Void = { _, _ in }
    ) throws(DeepSeekVLError) {
        let clock = ContinuousClock()
        let start = clock.now
        let folder = try ModelLocation.resolve(path, needsWeights: true)
        self.path = folder
        features = ImageFeatureCache(budget: featureBytes)
        run = Run(pool: ThreadPool(threads: threads), compute: compute)
        self.cacheType = cacheType
        do throws(LoadError) {
            var loaded = try Registry.load(
                folder,
                vision: vision,
                run: run,
                policy: weights,
                onLayer: onLayer
            )
            if let name = ModelLocation.name(ofSnapshot: folder) { loaded.name = name }
            self.loaded = loaded
            constraints = ModelConstraints(loaded)
        } catch {
            throw DeepSeekVLError(error)
        }
        if let cacheType { try Self.check(cacheType, loaded.language) }
        loadSeconds = (clock.now - start).seconds
    }

    /// Whether keys and values can be kept in a type.
    ///
    /// - Throws: `DeepSeekVLError.parameter`.
    package static func check(_ type: DType, _ language: any LanguageModel) throws(DeepSeekVLError) {
        guard language.cacheUnit % type.blockLength != 0 else { return }
        throw .parameter(
            name: "cache-type",
            expected:
                "a float type, as this model's keys and values come in parts of \(language.cacheUnit) values",
            found: "\(type.rawValue), whose blocks have \(type.blockLength)"
        )
    }

    /// What messages call the model.
    package var name: String { loaded.name }

    /// The folder or file that `--model` means, for commands that need no weights.
    ///
    /// - Throws: `DeepSeekVLError`.
    package static func folder(_ model: String? = nil) throws(DeepSeekVLError) -> String {
        try ModelLocation.resolve(model, needsWeights: false)
    }

    /// The repository's name, where a folder is a snapshot of the hub's cache, whose own name is a commit.
    package static func repositoryName(of folder: String) -> String? {
        ModelLocation.name(ofSnapshot: folder)
    }

    /// The prompt of a conversation.
    ///
    /// - Throws: `DeepSeekVLError`.
    package func prepare(
        _ input: ConversationInput,
        tiling: Tiling,
        exif: EXIFOrientation
    ) throws(DeepSeekVLError) -> PreparedPrompt {
        guard input.pictures.isEmpty || loaded.vision != nil else {
            throw .conversation(
                description:
                    "\(name): expected a conversation without images, since the model sees none, found \(input.pictures.count)"
            )
        }
        let pictures = input.pictures.map { exif == .apply ? $0.decoded.upright : $0.decoded.stored }
        let rule = tiling.rule
        // Tags and pictures are matched before any picture is cut, so that a mistake costs nothing.
        do throws(PromptError) {
            switch input.form {
            case .question(let text, let system):
                return try prompt(
                    loaded.processor.question(text, system: system, imageCount: pictures.count),
                    pictures,
                    rule
                )
            case .messages(let messages):
                return try prompt(messages, pictures, rule)
            case .prompt(let text, let appliesTemplate, let system):
                let images = loaded.processor.prepare(pictures, rule, pool: run.pool)
                return try loaded.processor.prompt(
                    text: text,
                    appliesTemplate: appliesTemplate,
                    system: system,
                    images: images
                )
            }
        } catch {
            throw .conversation(description: error.description)
        }
    }

    private func prompt(
        _ messages: [Message],
        _ pictures: [PixelBuffer],
        _ rule: TilingRule
    ) throws(PromptError) -> PreparedPrompt {
        try loaded.processor.check(messages)
        let images = loaded.processor.prepare(pictures, rule, pool: run.pool)
        return try loaded.processor.prompt(messages, images: images)
    }

    /// Answers conversations together; each answer is what it would be alone.
    ///
    /// - Parameter onEvent: called with the conversation's number; returns false to cancel.
    /// - Throws: `DeepSeekVLError`.
    package func answer(
        _ inputs: [ConversationInput],
        _ parameters: Parameters,
        tiling: Tiling = .auto,
        exif: EXIFOrientation = .apply,
        onEvent: (Int, AnswerEvent) -> Bool = { _, _ in true }
    ) throws(DeepSeekVLError) -> [HostedAnswer] {
        try parameters.validate()
        var requests: [HostedRequest] = []
        for input in inputs {
            let prompt = try prepare(input, tiling: tiling, exif: exif)
            requests.append(HostedRequest(prompt: prompt, pictures: input.pictures))
        }
        return try answer(requests, parameters, exif: exif, onEvent: onEvent)
    }

    /// A generator over the model, with the host's cache of pictures.
    package var generator: Generator {
        Generator(
            language: loaded.language,
            vision: loaded.vision,
            run: run,
            features: features,
            cacheType: cacheType
        )
    }

    /// An empty cache for prompts that continue each other.
    package func sequenceCache() -> SequenceCache { generator.sequenceCache() }

    /// Answers prompts together; each answer is what it would be alone.
    ///
    /// - Parameter onEvent: called with the prompt's number; returns false to cancel.
    /// - Throws: `DeepSeekVLError`.
    package func answer(
        _ requests: [HostedRequest],
        _ parameters: Parameters,
        exif: EXIFOrientation = .apply,
        onEvent: (Int, AnswerEvent) -> Bool = { _, _ in true }
    ) throws(DeepSeekVLError) -> [HostedAnswer] {
        try parameters.validate()
        let generator = generator
        var sequences: [Sequence] = []
        // All begin with the same seed: each is what it would be alone.
        var options = parameters.options
        options.endTokens = loaded.endTokens
        options.penalizesPrompt = loaded.processor.penalizesPrompt
        do throws(GrammarError) {
            options.constraint = try constraints.constraint(parameters.form)
        } catch {
            throw DeepSeekVLError(error)
        }
        for request in requests {
            do throws(EngineError) {
                sequences.append(
                    try generator.sequence(request.prompt, options, continuing: request.memory)
                )
            } catch {
                throw DeepSeekVLError(error)
            }
        }
        var texts = requests.map { _ in AnswerText(loaded.tokenizer, stop: parameters.stop) }
        generator.generate(sequences) { event in
            switch event {
            case .tilesEncoded(let done, let total): return onEvent(0, .tilesEncoded(done, of: total))
            case .tokensPrefilled(let done, let total): return onEvent(0, .tokensPrefilled(done, of: total))
            case .token(let index, let token):
                let text = texts[index].push(token)
                if texts[index].isStopped { generator.finish(sequences[index], .stopString) }
                return text.isEmpty || onEvent(index, .text(text))
            case .finished(let index, _):
                let text = texts[index].finish()
                return text.isEmpty || onEvent(index, .text(text))
            }
        }
        timings = generator.timings
        var answers: [HostedAnswer] = []
        for (index, sequence) in sequences.enumerated() {
            let request = requests[index]
            let answer = finished(sequence, texts[index], request.pictures, exif)
            answers.append(
                HostedAnswer(
                    answer: answer,
                    images: request.prompt.images,
                    pictures: request.pictures,
                    promptScores: sequence.promptScores,
                    scores: sequence.tokens
                )
            )
            _ = onEvent(index, .finished(answer))
        }
        return answers
    }

    private func finished(
        _ sequence: Sequence,
        _ text: AnswerText,
        _ pictures: [ConversationPicture],
        _ exif: EXIFOrientation
    ) -> Answer {
        let parser = GroundingParser(text.visibleBytes, tokens: text.tokenEnds)
        let image = pictures.count - 1
        var objects: [GroundedObject] = []
        if image >= 0 {
            let decoded = pictures[image].decoded
            let seen = exif == .apply ? decoded.orientation : .upright
            let swaps = seen.swapsSides
            let width = swaps ? decoded.stored.height : decoded.stored.width
            let height = swaps ? decoded.stored.width : decoded.stored.height
            for found in parser.boxes {
                objects.append(PixelBoxes.object(found, image, width, height, seen, decoded.orientation))
            }
        }
        let prompt = sequence.prompt
        return Answer(
            text: text.visible,
            finishReason: (sequence.finish ?? .cancelled).rawValue,
            grounding: objects,
            groundingProblems: parser.problems.map(\.description),
            usage: Usage(
                promptTokens: prompt.ids.count,
                imageTokens: prompt.imageTokens,
                cachedTokens: sequence.cachedTokens,
                completionTokens: sequence.tokens.count
            ),
            tokens: sequence.tokens.map { Int($0.id) },
            prompt: prompt.text,
            promptTokens: prompt.ids.map { Int($0) },
            imageSpans: prompt.spans.map { [$0.start, $0.count] }
        )
    }
}

extension Tiling {
    /// The rule by which processors know this choice.
    package var rule: TilingRule {
        switch self {
        case .auto: .auto
        case .always: .always
        case .never: .never
        }
    }
}

/// From the 0 to 999 of an answer to pixels.
package enum PixelBoxes {
    /// An object with its box in the upright and in the stored picture.
    ///
    /// - Parameters:
    ///   - width: of the picture as the model saw it; `height` likewise.
    ///   - seen: the orientation that was applied before the model saw the picture.
    ///   - orientation: the orientation that the file states.
    package static func object(
        _ found: GroundedBox,
        _ image: Int,
        _ width: Int,
        _ height: Int,
        _ seen: Orientation,
        _ orientation: Orientation
    ) -> GroundedObject {
        // The official program multiplies by the side and cuts the fraction off.
        func pixel(_ value: Int, _ side: Int) -> Int { Int(Double(value) / 999 * Double(side)) }
        let box = [
            pixel(found.box[0], width), pixel(found.box[1], height), pixel(found.box[2], width),
            pixel(found.box[3], height),
        ]
        var upright = box
        var stored = box
        if seen != .upright {
            let back = seen.stored(
                left: box[0],
                top: box[1],
                right: box[2],
                bottom: box[3],
                width: width,
                height: height
            )
            stored = [back.left, back.top, back.right, back.bottom]
        } else if orientation != .upright {
            let turned = orientation.upright(
                left: box[0],
                top: box[1],
                right: box[2],
                bottom: box[3],
                width: width,
                height: height
            )
            upright = [turned.left, turned.top, turned.right, turned.bottom]
        }
        return GroundedObject(
            label: found.label,
            image: image,
            box: found.box,
            pixels: upright,
            storedPixels: stored,
            confidence: found.confidence ?? 1
        )
    }
}

/// An answer's text as it grows: whole characters, cut at stop strings.
struct AnswerText {
    private var decoder: StreamingDecoder
    private var stops: StopStrings
    private let tokenizer: Tokenizer
    private var bytes: [UInt8] = []
    private var ends: [(end: Int, logProbability: Float)] = []
    /// What the caller has been given: the answer.
    private(set) var visible = ""

    init(_ tokenizer: Tokenizer, stop: [String]) {
        self.tokenizer = tokenizer
        decoder = StreamingDecoder(tokenizer)
        stops = StopStrings(stop)
    }

    var isStopped: Bool { stops.isFound }
    /// The stop string that was found.
    var stopString: String? { stops.found }

    mutating func push(_ token: GeneratedToken) -> String {
        bytes.append(contentsOf: tokenizer.bytes(of: token.id))
        ends.append((bytes.count, token.logProbability))
        return show(stops.push(decoder.push(token.id)))
    }

    mutating func finish() -> String { show(stops.push(decoder.finish()) + stops.finish()) }

    private mutating func show(_ text: String) -> String {
        visible += text
        return text
    }

    /// The bytes that boxes are read from: all, or up to a stop string.
    var visibleBytes: [UInt8] { isStopped ? Array(bytes.prefix(visible.utf8.count)) : bytes }

    var tokenEnds: [(end: Int, logProbability: Float)] { ends }
}
