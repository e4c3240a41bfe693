import VLTensor

/// Settings of a DeepSeek-VL checkpoint (`config.json`, `model_type: multi_modality`).
package struct DeepSeekVLConfig: Sendable, Equatable {
    /// The towers that see.
    package enum Vision: Sendable, Equatable {
        /// SigLIP alone (`CLIPVisionTower`).
        case single(SigLIPTower)
        /// SAM for details and SigLIP for the whole (`HybridVisionTower`).
        case hybrid(high: SAMTower, low: SigLIPTower)

        /// Side of a picture in pixels as it comes in.
        package var imageSize: Int {
            switch self {
            case .single(let tower): tower.network.imageSize
            case .hybrid(let high, _): high.network.imageSize
            }
        }

        /// Tokens of a picture.
        package var tokens: Int {
            switch self {
            case .single(let tower), .hybrid(_, let tower): tower.network.tokens
            }
        }
    }

    package var vision: Vision
    package var aligner: AlignerConfig
    package var language: LlamaConfig

    /// - Throws: `LoadError.field`, `.unsupported`.
    package init(_ reader: ConfigReader) throws(LoadError) {
        func part(_ key: String) throws(LoadError) -> ConfigReader {
            guard let part = try reader.object(key) else {
                throw reader.error(key, expected: "an object", found: "nothing")
            }
            return part
        }
        func params(_ part: ConfigReader) throws(LoadError) -> ConfigReader {
            guard let params = try part.object("params") else {
                throw part.error("params", expected: "an object", found: "nothing")
            }
            return params
        }
        let languageReader = try part("language_config")
        if let type = try languageReader.string("model_type"), type != "llama" {
            throw languageReader.error("model_type", expected: "\"llama\"", found: "\"\(type)\"")
        }
        language = try LlamaConfig(languageReader)
        let visionReader = try part("vision_config")
        vision = try Vision(visionReader, params(visionReader))
        let alignerReader = try part("aligner_config")
        let name = try alignerReader.string("cls") ?? "MlpProjector"
        guard name == "MlpProjector" else {
            throw alignerReader.error("cls", expected: "\"MlpProjector\"", found: "\"\(name)\"")
        }
        let alignerParams = try params(alignerReader)
        aligner = try AlignerConfig(alignerParams)
        guard aligner.outputSize == language.hiddenSize else {
            throw alignerParams.error(
                "n_embed",
                expected: "language_config.hidden_size (\(language.hiddenSize))",
                found: "\(aligner.outputSize)"
            )
        }
        var widths: [Int]
        switch vision {
        case .single(let tower): widths = [tower.network.width]
        case .hybrid(let high, let low): widths = [high.network.outputChannels, low.network.width]
        }
        guard aligner.kind.takesTwo == (widths.count == 2) else {
            let fitting = AlignerConfig.Kind.allCases.filter { $0.takesTwo == (widths.count == 2) }
            throw alignerParams.error(
                "projector_type",
                expected: "one for \(widths.count == 2 ? "two towers" : "one tower"): "
                    + fitting.map { "\"\($0.rawValue)\"" }.joined(separator: ", "),
                found: "\"\(aligner.kind.rawValue)\""
            )
        }
        for width in widths where width != aligner.inputSize {
            throw alignerParams.error(
                "input_dim",
                expected: "the width of what the vision tower gives (\(width))",
                found: "\(aligner.inputSize)"
            )
        }
    }

    /// Numbers in all matrices, about.
    package var parameterCount: Int {
        func weights(_ tower: SigLIPConfig) -> Int {
            tower.layers * tower.width * (4 * tower.width + 2 * tower.mlpWidth)
        }
        let towers =
            switch vision {
            case .single(let tower): weights(tower.network)
            case .hybrid(let high, let low): high.network.parameterCount + weights(low.network)
            }
        return towers + aligner.parameterCount + language.parameterCount
    }
}

extension DeepSeekVLConfig.Vision {
    /// Reads `vision_config` and its `params`.
    fileprivate init(_ reader: ConfigReader, _ params: ConfigReader) throws(LoadError) {
        let name = try reader.string("cls") ?? "CLIPVisionTower"
        switch name {
        case "CLIPVisionTower":
            self = .single(try SigLIPTower(params))
        case "HybridVisionTower":
            func tower(_ key: String) throws(LoadError) -> ConfigReader {
                guard let found = try params.object(key) else {
                    throw params.error(key, expected: "an object", found: "nothing")
                }
                return found
            }
            let concatenation = try params.string("concat_type") ?? "tuple"
            guard concatenation == "tuple" else {
                throw params.error("concat_type", expected: "\"tuple\"", found: "\"\(concatenation)\"")
            }
            let highReader = try tower("high_res_cfg")
            let high = SAMTower(
                network: try SAMConfig(named: highReader),
                normalization: try ChannelNormalization.read(highReader)
            )
            let lowReader = try tower("low_res_cfg")
            let low = try SigLIPTower(lowReader)
            let side = high.network.outputSide
            guard side == low.network.grid else {
                throw lowReader.error(
                    "image_size",
                    expected:
                        "\(side) patches of \(low.network.patchSize) along a side, as the other tower gives",
                    found: "\(low.network.imageSize)"
                )
            }
            self = .hybrid(high: high, low: low)
        default:
            throw reader.error(
                "cls",
                expected: "\"CLIPVisionTower\" or \"HybridVisionTower\"",
                found: "\"\(name)\""
            )
        }
    }
}

extension SigLIPTower {
    fileprivate init(_ reader: ConfigReader) throws(LoadError) {
        self.init(
            network: try SigLIPConfig(named: reader),
            normalization: try ChannelNormalization.read(reader)
        )
    }
}
