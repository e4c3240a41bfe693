import VLJSON
import VLTensor

/// A picture size that tiles may fill, in pixels.
package struct Resolution: Sendable, Equatable {
    package var width: Int
    package var height: Int

    package init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }

    /// Reads `candidate_resolutions`: pairs of width and height.
    static func list(_ reader: ConfigReader, default fallback: [Resolution]) throws(LoadError) -> [Resolution]
    {
        guard let pairs = try reader.array("candidate_resolutions") else { return fallback }
        let rule = "pairs of whole numbers from 1 to 65536"
        var list: [Resolution] = []
        for pair in pairs {
            guard case .array(let sides) = pair, sides.count == 2, case .integer(let width) = sides[0],
                case .integer(let height) = sides[1], (1...65536).contains(width),
                (1...65536).contains(height)
            else { throw reader.error("candidate_resolutions", expected: rule, found: pair.summary) }
            list.append(Resolution(width: Int(width), height: Int(height)))
        }
        guard !list.isEmpty, list.count <= 1024 else {
            throw reader.error("candidate_resolutions", expected: "1 to 1024 " + rule, found: "\(list.count)")
        }
        return list
    }
}

/// Settings of a DeepSeek-VL2 checkpoint (`config.json`, `model_type: deepseek_vl_v2`).
///
/// Defaults for omitted keys are those of the official classes in `modeling_deepseek_vl_v2.py`.
package struct DeepSeekVL2Config: Sendable, Equatable {
    package var vision: SigLIPConfig
    package var projector: ProjectorConfig
    package var language: DeepSeekMoEConfig
    package var candidateResolutions: [Resolution]
    /// Whether the global view comes before the tiles (`global_view_pos: head`).
    package var globalViewFirst: Bool

    /// - Throws: `LoadError.field`, `.unsupported`.
    package init(_ reader: ConfigReader) throws(LoadError) {
        guard let languageReader = try reader.object("language_config") else {
            throw reader.error("language_config", expected: "an object", found: "nothing")
        }
        language = try DeepSeekMoEConfig(languageReader)
        vision = try SigLIPConfig(reader)
        projector = try ProjectorConfig(reader)
        candidateResolutions = try Resolution.list(reader, default: [Resolution(width: 384, height: 384)])
        let position = try reader.string("global_view_pos") ?? "head"
        guard position == "head" || position == "tail" else {
            throw reader.error("global_view_pos", expected: "\"head\" or \"tail\"", found: "\"\(position)\"")
        }
        globalViewFirst = position == "head"
        let tag = try reader.string("tile_tag") ?? "2D"
        guard tag == "2D" else {
            throw .unsupported(file: reader.file, what: "tile_tag \"\(tag)\"", known: "\"2D\"")
        }
        guard projector.outputSize == language.hiddenSize else {
            throw reader.error(
                "projector_config.n_embed",
                expected: "language_config.hidden_size (\(language.hiddenSize))",
                found: "\(projector.outputSize)"
            )
        }
        guard projector.inputSize == vision.width else {
            throw reader.error(
                "projector_config.input_dim",
                expected: "vision_config.width (\(vision.width))",
                found: "\(projector.inputSize)"
            )
        }
    }
}

extension SigLIPConfig {
    /// Reads `vision_config`.
    init(_ reader: ConfigReader) throws(LoadError) {
        let file = reader.file
        let vision = try reader.object("vision_config")
        func int(_ key: String, _ range: ClosedRange<Int>, _ fallback: Int) throws(LoadError) -> Int {
            try vision?.int(key, range, default: fallback) ?? fallback
        }
        if let name = try vision?.string("model_name"), !name.hasPrefix("siglip") {
            throw .unsupported(file: file, what: "vision model_name \"\(name)\"", known: "\"siglip_…\"")
        }
        imageSize = try int("image_size", 1...16384, 384)
        patchSize = try int("patch_size", 1...16384, 16)
        width = try int("width", 1...65536, 1024)
        layers = try int("layers", 1...1024, 24)
        heads = try int("heads", 1...4096, 16)
        let ratio =
            try vision?.double("mlp_ratio", default: 4, "a number above 0") { $0 > 0 && $0 <= 64 } ?? 4
        mlpWidth = Int(Double(width) * ratio)
        activation = .geluTanh
        guard patchSize <= imageSize else {
            throw .field(
                file: file,
                field: "vision_config.patch_size",
                expected: "at most image_size (\(imageSize))",
                found: "\(patchSize)"
            )
        }
        guard grid <= 1024 else {
            throw .field(
                file: file,
                field: "vision_config.patch_size",
                expected: "at most 1024 patches along a side",
                found: "\(grid)"
            )
        }
        guard width % heads == 0 else {
            throw .field(
                file: file,
                field: "vision_config.heads",
                expected: "a divisor of width (\(width))",
                found: "\(heads)"
            )
        }
        guard mlpWidth > 0 else {
            throw .field(
                file: file,
                field: "vision_config.mlp_ratio",
                expected: "an MLP of at least 1",
                found: "\(ratio)"
            )
        }
        if let vision, try vision.bool("class_token", default: false) {
            throw .unsupported(file: file, what: "a vision tower with a class token", known: "one without")
        }
    }
}

extension ProjectorConfig {
    /// Reads `projector_config`.
    package init(_ reader: ConfigReader) throws(LoadError) {
        let projector = try reader.object("projector_config")
        func int(_ key: String, _ range: ClosedRange<Int>, _ fallback: Int) throws(LoadError) -> Int {
            try projector?.int(key, range, default: fallback) ?? fallback
        }
        kind = try projector?.choice("projector_type", default: .downsampleMLPGELU) ?? .downsampleMLPGELU
        inputSize = try int("input_dim", 1...1_048_576, 1152)
        outputSize = try int("n_embed", 1...1_048_576, 2048)
        depth = try int("depth", 1...64, 2)
        mlpRatio = try int("mlp_ratio", 1...64, 1)
        downsampleRatio = try int("downsample_ratio", 1...64, 2)
        if let projector, try projector.bool("token_pooling", default: false) {
            throw .unsupported(file: reader.file, what: "projector_config.token_pooling", known: "false")
        }
        if kind == .identity && inputSize != outputSize {
            throw .field(
                file: reader.file,
                field: "projector_config.n_embed",
                expected: "input_dim (\(inputSize)) for an identity",
                found: "\(outputSize)"
            )
        }
    }
}

/// Settings of the official processor (`processor_config.json`).
package struct DeepSeekVL2ProcessorConfig: Sendable, Equatable {
    package var candidateResolutions: [Resolution]
    package var patchSize: Int
    package var downsampleRatio: Int
    package var mean: [Double]
    package var deviation: [Double]
    package var normalizes: Bool
    package var imageToken: String
    package var padToken: String
    /// Conversation template (`sft_format`).
    package var template: String

    /// - Parameter model: gives what the file omits; nil reader means that there is no such file.
    /// - Throws: `LoadError.field`.
    package init(_ reader: ConfigReader?, model: DeepSeekVL2Config) throws(LoadError) {
        candidateResolutions =
            try reader.map { (reader) throws(LoadError) in
                try Resolution.list(reader, default: model.candidateResolutions)
            } ?? model.candidateResolutions
        patchSize =
            try reader?.int("patch_size", 1...16384, default: model.vision.patchSize)
            ?? model.vision.patchSize
        let ratio = model.projector.kind == .downsampleMLPGELU ? model.projector.downsampleRatio : 1
        downsampleRatio = try reader?.int("downsample_ratio", 1...64, default: ratio) ?? ratio
        mean = try reader?.channels("image_mean", default: [0.5, 0.5, 0.5]) ?? [0.5, 0.5, 0.5]
        deviation = try reader?.channels("image_std", default: [0.5, 0.5, 0.5]) ?? [0.5, 0.5, 0.5]
        normalizes = try reader?.bool("normalize", default: true) ?? true
        imageToken = try reader?.string("image_token") ?? "<image>"
        padToken = try reader?.string("pad_token") ?? "<｜▁pad▁｜>"
        template = try reader?.string("sft_format") ?? "deepseek"
        let file = reader?.file ?? "config.json"
        guard deviation.allSatisfy({ $0 != 0 }) else {
            throw .field(
                file: file,
                field: "image_std",
                expected: "three numbers other than 0",
                found: "\(deviation)"
            )
        }
        let tile = model.vision.imageSize
        for resolution in candidateResolutions
        where resolution.width % tile != 0 || resolution.height % tile != 0
            || resolution.width / tile * (resolution.height / tile) > 1024
        {
            throw .field(
                file: file,
                field: "candidate_resolutions",
                expected: "multiples of the vision tower's image_size (\(tile)), at most 1024 tiles",
                found: "[\(resolution.width), \(resolution.height)]"
            )
        }
        guard candidateResolutions[0].width == tile else {
            throw .field(
                file: file,
                field: "candidate_resolutions",
                expected: "first the width of one tile, the vision tower's image_size (\(tile))",
                found: "\(candidateResolutions[0].width)"
            )
        }
        let side = (tile / patchSize + downsampleRatio - 1) / downsampleRatio
        guard side == model.projector.side(grid: model.vision.grid) else {
            throw .field(
                file: file,
                field: "patch_size, downsample_ratio",
                expected:
                    "\(model.projector.side(grid: model.vision.grid)) tokens along a tile's side, as the model gives",
                found: "\(side)"
            )
        }
    }
}

extension DeepSeekVL2Config {
    /// Numbers in all matrices, about: what the weights take is this times the bytes of one.
    package var parameterCount: Int {
        let tower = vision.layers * vision.width * (4 * vision.width + 2 * vision.mlpWidth)
        return tower + language.parameterCount
    }
}
