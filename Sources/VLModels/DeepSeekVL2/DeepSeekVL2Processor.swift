import VLImage
import VLTensor
import VLText

/// When pictures are cut into tiles.
package enum TilingRule: String, Sendable, CaseIterable {
    /// As officially: unless the conversation has three or more pictures.
    case auto
    case always
    case never
}

/// Why messages and pictures do not become a prompt.
package enum PromptError: Error, CustomStringConvertible {
    case conversation(ConversationError)
    case tokenizer(TokenizerError)

    package var description: String {
        switch self {
        case .conversation(let error): error.description
        case .tokenizer(let error): error.description
        }
    }
}

/// Turns messages and pictures into token ids and tiles: class `DeepseekVLV2Processor` of the official code.
package struct DeepSeekVL2Processor: Processor {
    package let config: DeepSeekVL2ProcessorConfig
    package let template: ConversationTemplate
    package var tokenizer: Tokenizer
    package let tileSize: Int
    package var imageTag: String? { ConversationTemplate.imageTag }
    package var roles: (user: String, assistant: String) { template.roles }
    package let beginToken: Int32
    package let endToken: Int32
    package let imageToken: Int32
    private let tokensAlongSide: Int

    /// - Parameters:
    ///   - beginToken: the tokenizer's begin token; `endToken` and `imageToken` likewise.
    /// - Throws: `LoadError.unsupported` for a template that is not known.
    package init(
        _ config: DeepSeekVL2ProcessorConfig,
        model: DeepSeekVL2Config,
        tokenizer: Tokenizer,
        beginToken: Int32,
        endToken: Int32,
        imageToken: Int32
    ) throws(LoadError) {
        guard let template = ConversationTemplate(rawValue: config.template) else {
            throw .unsupported(
                file: "processor_config.json",
                what: "sft_format \"\(config.template)\"",
                known: ConversationTemplate.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
            )
        }
        self.config = config
        self.template = template
        self.tokenizer = tokenizer
        self.beginToken = beginToken
        self.endToken = endToken
        self.imageToken = imageToken
        tileSize = model.vision.imageSize
        tokensAlongSide = model.projector.side(grid: model.vision.grid)
    }

    package func resolve(_ rule: TilingRule, pictures: Int) -> TilingRule {
        guard rule == .auto else { return rule }
        return pictures <= 2 ? .always : .never
    }

    /// The tiles of one picture, as bytes.
    private func tiles(_ picture: PixelBuffer, tiled: Bool, pool: ThreadPool) -> TiledPicture {
        let candidates = config.candidateResolutions.map { (width: $0.width, height: $0.height) }
        let resolution =
            tiled
            ? Geometry.bestResolution(width: picture.width, height: picture.height, candidates: candidates)
            : (width: tileSize, height: tileSize)
        func level(_ channel: Int) -> UInt8 { UInt8(max(0, min(255, config.mean[channel] * 255))) }
        return TiledPicture(
            picture,
            tile: tileSize,
            resolution: resolution,
            color: (level(0), level(1), level(2)),
            parallel: { count, body in pool.parallel(count, body) }
        )
    }

    package func tiles(_ pictures: [PixelBuffer], _ rule: TilingRule, pool: ThreadPool) -> [TiledPicture] {
        let tiled = resolve(rule, pictures: pictures.count) == .always
        return pictures.map { tiles($0, tiled: tiled, pool: pool) }
    }

    package var tileShapes: [(across: Int, down: Int)] {
        config.candidateResolutions.map { ($0.width / tileSize, $0.height / tileSize) }
    }

    package var templateName: String? { template.rawValue }

    package func imageTokens(tilesAcross: Int, tilesDown: Int) -> Int {
        let side = tokensAlongSide
        return side * (side + 1) + 1 + tilesDown * side * (tilesAcross * side + 1)
    }

    package func normalize(_ views: [PixelBuffer]) -> [Float] {
        Normalize.planes(views, mean: config.normalizes ? config.mean : nil, deviation: config.deviation)
    }

    /// Ids and places of pictures from the pieces of a prompt.
    ///
    /// - Parameter text: the prompt as people read it.
    /// - Throws: `PromptError.tokenizer`.
    package func assemble(
        _ segments: [PromptSegment],
        images: [PreparedImage],
        text: String
    ) throws(PromptError) -> PreparedPrompt {
        var ids: [Int32] = []
        var spans: [ImageSpan] = []
        for segment in segments {
            switch segment {
            case .begin: ids.append(beginToken)
            case .end: ids.append(endToken)
            case .text(let text):
                do throws(TokenizerError) {
                    ids += try tokenizer.encode(text)
                } catch {
                    throw .tokenizer(error)
                }
            case .image(let index):
                let image = images[index]
                let count = imageTokens(tilesAcross: image.tilesAcross, tilesDown: image.tilesDown)
                spans.append(ImageSpan(start: ids.count, count: count, image: index))
                ids += Array(repeating: imageToken, count: count)
            }
        }
        return PreparedPrompt(text: text, ids: ids, spans: spans, images: images)
    }

    private func segments(_ messages: [Message]) throws(PromptError) -> [PromptSegment] {
        do throws(ConversationError) {
            return try template.segments(messages)
        } catch {
            throw .conversation(error)
        }
    }

    package func check(_ messages: [Message]) throws(PromptError) { _ = try segments(messages) }

    package func prompt(_ messages: [Message], images: [PreparedImage]) throws(PromptError) -> PreparedPrompt
    {
        try assemble(try segments(messages), images: images, text: template.prompt(messages))
    }

    package func prompt(
        text: String,
        appliesTemplate: Bool,
        system: String,
        images: [PreparedImage]
    ) throws(PromptError) -> PreparedPrompt {
        let whole = appliesTemplate ? template.prompt(wrapping: text, system: system) : text
        let segments: [PromptSegment]
        do throws(ConversationError) {
            segments = try template.segments(prompt: whole, imageCount: images.count)
        } catch {
            throw .conversation(error)
        }
        return try assemble(segments, images: images, text: whole)
    }
}
