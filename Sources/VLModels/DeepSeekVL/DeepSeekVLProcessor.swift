import VLImage
import VLTensor
import VLText

/// Settings of the official processor (`preprocessor_config.json`, `processor_config.json`).
package struct DeepSeekVLProcessorConfig: Sendable, Equatable {
    /// Side of the square that a picture is fitted into.
    package var imageSize: Int
    /// Shortest side of a fitted picture.
    package var minimumSize: Int
    package var mean: [Double]
    package var deviation: [Double]
    /// Fills what the picture does not.
    package var background: [UInt8]
    /// Brings a byte to the range from 0 to 1.
    package var rescaleFactor: Double
    package var normalizes: Bool
    package var imageTag: String
    package var imageTokens: Int

    /// - Parameter processor: `processor_config.json`, which may be missing.
    /// - Throws: `LoadError.field`, `.unsupported`.
    package init(
        image reader: ConfigReader,
        processor: ConfigReader?,
        model: DeepSeekVLConfig
    ) throws(LoadError) {
        imageSize = try reader.int("image_size", 1...16384)
        guard imageSize == model.vision.imageSize else {
            throw reader.error(
                "image_size",
                expected: "the vision tower's image_size (\(model.vision.imageSize))",
                found: "\(imageSize)"
            )
        }
        minimumSize = try reader.int("min_size", 1...16384, default: 14)
        mean = try reader.channels("image_mean", default: [0.48145466, 0.4578275, 0.40821073])
        deviation = try reader.channels("image_std", default: [0.26862954, 0.26130258, 0.27577711])
        guard deviation.allSatisfy({ $0 != 0 }) else {
            throw reader.error("image_std", expected: "three numbers other than 0", found: "\(deviation)")
        }
        // The official class goes by the mean, whatever `background_color` says.
        let hasMean = !reader.contains("image_mean") || !reader.isNull("image_mean")
        background = hasMean ? mean.map { UInt8(max(0, min(255, $0 * 255))) } : [127, 127, 127]
        rescaleFactor = try reader.double("rescale_factor", default: 1 / 255, "a number above 0") {
            $0 > 0 && $0 <= 1e6
        }
        normalizes = try reader.bool("do_normalize", default: true)
        guard hasMean || !normalizes else {
            throw reader.error(
                "image_mean",
                expected: "three numbers, since do_normalize is true",
                found: "null"
            )
        }
        imageTag = try processor?.string("image_tag") ?? "<image_placeholder>"
        let tokens = model.vision.tokens
        imageTokens = try processor?.int("num_image_tokens", 1...1_048_576, default: 576) ?? 576
        let file = processor?.file ?? "processor_config.json"
        guard imageTokens == tokens else {
            throw .field(
                file: file,
                field: "num_image_tokens",
                expected: "the tokens that the vision tower gives (\(tokens))",
                found: "\(imageTokens)"
            )
        }
        guard !imageTag.isEmpty else {
            throw .field(file: file, field: "image_tag", expected: "a token", found: "an empty text")
        }
        if let processor, try processor.bool("add_special_token", default: false) {
            throw .unsupported(file: file, what: "add_special_token", known: "false")
        }
        let format = try processor?.string("sft_format") ?? "deepseek"
        guard format == "deepseek" else {
            throw .unsupported(file: file, what: "sft_format \"\(format)\"", known: "\"deepseek\"")
        }
    }
}

/// Turns messages and pictures into token ids and pixels: classes `VLChatProcessor` and `VLMImageProcessor` of the
/// official code.
package struct DeepSeekVLProcessor: Processor {
    package let config: DeepSeekVLProcessorConfig
    package var tokenizer: Tokenizer
    package let beginToken: Int32
    package let imageToken: Int32
    /// Whether the tokenizer begins a text with the begin token (`add_bos_token`).
    package let addsBeginToken: Bool

    package init(
        _ config: DeepSeekVLProcessorConfig,
        tokenizer: Tokenizer,
        beginToken: Int32,
        imageToken: Int32,
        addsBeginToken: Bool
    ) {
        self.config = config
        self.tokenizer = tokenizer
        self.beginToken = beginToken
        self.imageToken = imageToken
        self.addsBeginToken = addsBeginToken
    }

    package var imageTag: String? { config.imageTag }
    package var roles: (user: String, assistant: String) { DeepSeekVLTemplate.roles }
    /// The official program passes embeddings and no ids, so that the penalty sees the answer alone.
    package var penalizesPrompt: Bool { false }
    /// `stop_str` of the official conversation; the end token's text is the other one.
    package var chatStops: [String] { [DeepSeekVLTemplate.roles.user + ":"] }
    package var tileSize: Int { config.imageSize }

    /// Pictures are never cut, whatever the rule is.
    package func tiles(_ pictures: [PixelBuffer], _ rule: TilingRule, pool: ThreadPool) -> [TiledPicture] {
        pictures.map { picture in
            let square = Geometry.letterbox(
                picture,
                side: config.imageSize,
                shortest: config.minimumSize,
                color: (config.background[0], config.background[1], config.background[2]),
                parallel: { count, body in pool.parallel(count, body) }
            )
            return TiledPicture(whole: square)
        }
    }

    package func normalize(_ views: [PixelBuffer]) -> [Float] {
        Normalize.planes(
            views,
            factor: config.rescaleFactor,
            mean: config.normalizes ? config.mean : nil,
            deviation: config.deviation
        )
    }

    package var tileShapes: [(across: Int, down: Int)] { [(1, 1)] }

    package var templateName: String? { "deepseek-vl" }

    package func imageTokens(tilesAcross: Int, tilesDown: Int) -> Int { config.imageTokens }

    private func text(_ messages: [Message]) throws(PromptError) -> String {
        do throws(ConversationError) {
            return try DeepSeekVLTemplate.prompt(messages, tag: config.imageTag)
        } catch {
            throw .conversation(error)
        }
    }

    /// Encodes a whole text and puts a picture's tokens where its tag's token is.
    private func assemble(_ text: String, _ images: [PreparedImage]) throws(PromptError) -> PreparedPrompt {
        let encoded: [Int32]
        do throws(TokenizerError) {
            encoded = try tokenizer.encode(text)
        } catch {
            throw .tokenizer(error)
        }
        var ids: [Int32] = addsBeginToken ? [beginToken] : []
        var spans: [ImageSpan] = []
        for id in encoded {
            if id == imageToken && spans.count < images.count {
                spans.append(ImageSpan(start: ids.count, count: config.imageTokens, image: spans.count))
                ids += Array(repeating: imageToken, count: config.imageTokens)
            } else {
                ids.append(id)
            }
        }
        let tags = encoded.count { $0 == imageToken }
        guard tags == images.count else {
            throw .conversation(.images(index: 0, tags: tags, images: images.count, tag: config.imageTag))
        }
        return PreparedPrompt(text: text, ids: ids, spans: spans, images: images)
    }

    package func check(_ messages: [Message]) throws(PromptError) { _ = try text(messages) }

    package func prompt(_ messages: [Message], images: [PreparedImage]) throws(PromptError) -> PreparedPrompt
    {
        try assemble(try text(messages), images)
    }

    package func prompt(
        text: String,
        appliesTemplate: Bool,
        system: String,
        images: [PreparedImage]
    ) throws(PromptError) -> PreparedPrompt {
        guard appliesTemplate else { return try assemble(text, images) }
        let messages = [
            Message(role: roles.user, content: text, imageCount: images.count),
            Message(role: roles.assistant, content: ""),
        ]
        let first = system.isEmpty ? [] : [Message(role: "system", content: system)]
        return try prompt(first + messages, images: images)
    }
}
