import VLJSON
import VLTensor

/// Mean and deviation by which a tower changes its pixels (`pixel_mean`, `pixel_std`).
package struct ChannelNormalization: Sendable, Equatable {
    package var mean: [Double]
    package var deviation: [Double]
}

/// A SigLIP tower and what happens to its pixels before.
package struct SigLIPTower: Sendable, Equatable {
    package var network: SigLIPConfig
    package var normalization: ChannelNormalization?
}

/// A SAM tower and what happens to its pixels before.
package struct SAMTower: Sendable, Equatable {
    package var network: SAMConfig
    package var normalization: ChannelNormalization?
}

/// The official tables of towers: configurations give their names only, keys beside the name change single sizes.
extension SigLIPConfig {
    /// `SigLIP_MODEL_CONFIG` of the official `siglip_vit.py`, and the ratio of its MLPs; the side of a picture stands
    /// beside the name.
    private static func table(_ name: String) -> (config: SigLIPConfig, mlpRatio: Double)? {
        func config(patch: Int, width: Int, layers: Int) -> SigLIPConfig {
            SigLIPConfig(
                imageSize: 336,
                patchSize: patch,
                width: width,
                layers: layers,
                heads: 16,
                mlpWidth: 0,
                activation: .geluErf
            )
        }
        switch name {
        case "siglip_so400m_patch14_384", "siglip_so400m_patch14_224":
            return (config(patch: 14, width: 1152, layers: 27), 3.7362)
        case "siglip_large_patch16_384":
            return (config(patch: 16, width: 1024, layers: 24), 4)
        default:
            return nil
        }
    }

    /// Reads a tower's parameters.
    init(named reader: ConfigReader) throws(LoadError) {
        let name = try reader.string("model_name") ?? "siglip_large_patch16_384"
        guard var (found, ratio) = Self.table(name) else {
            throw reader.error(
                "model_name",
                expected:
                    "\"siglip_large_patch16_384\", \"siglip_so400m_patch14_384\" or \"siglip_so400m_patch14_224\"",
                found: "\"\(name)\""
            )
        }
        found.imageSize = try reader.int("image_size", 1...16384, default: found.imageSize)
        found.patchSize = try reader.int("patch_size", 1...16384, default: found.patchSize)
        found.width = try reader.int("width", 1...65536, default: found.width)
        found.layers = try reader.int("layers", 1...1024, default: found.layers)
        found.heads = try reader.int("heads", 1...4096, default: found.heads)
        ratio = try reader.double("mlp_ratio", default: ratio, "a number above 0") { $0 > 0 && $0 <= 64 }
        found.mlpWidth = Int(Double(found.width) * ratio)
        // Layers count from the end where the number is not positive, and the last one is -1.
        let selected = try reader.int("select_layer", -1024...1024, default: -2)
        found.layers =
            selected <= 0 ? min(found.layers, found.layers + selected + 1) : min(found.layers, selected)
        guard found.layers > 0 else {
            throw reader.error("select_layer", expected: "a layer of the tower", found: "\(selected)")
        }
        guard found.patchSize <= found.imageSize, found.grid <= 1024 else {
            throw reader.error(
                "image_size",
                expected: "1 to 1024 patches of \(found.patchSize) along a side",
                found: "\(found.imageSize)"
            )
        }
        guard found.width % found.heads == 0 else {
            throw reader.error(
                "heads",
                expected: "a divisor of width (\(found.width))",
                found: "\(found.heads)"
            )
        }
        guard found.mlpWidth > 0 else {
            throw reader.error("mlp_ratio", expected: "an MLP of at least 1", found: "\(found.mlpWidth)")
        }
        self = found
    }
}

extension SAMConfig {
    /// Reads a tower's parameters; `SAM_MODEL_CONFIG` of the official `sam.py` by name, changed by keys.
    init(named reader: ConfigReader) throws(LoadError) {
        self.init()
        let name = try reader.string("model_name") ?? "sam_b_downsample"
        switch name {
        case "sam_b_downsample": break
        case "sam_vit_b": downsampleChannels = []
        case "sam_vit_l":
            (width, layers, heads, globalLayers, downsampleChannels) = (1024, 24, 16, [5, 11, 17, 23], [])
        case "sam_vit_h":
            (width, layers, heads, globalLayers, downsampleChannels) = (1280, 32, 16, [7, 15, 23, 31], [])
        default:
            throw reader.error(
                "model_name",
                expected: "\"sam_b_downsample\", \"sam_vit_b\", \"sam_vit_l\" or \"sam_vit_h\"",
                found: "\"\(name)\""
            )
        }
        imageSize = try reader.int("image_size", 1...4096, default: 336)
        patchSize = try reader.int("patch_size", 1...4096, default: patchSize)
        width = try reader.int("width", 1...65536, default: width)
        layers = try reader.int("layers", 1...1024, default: layers)
        heads = try reader.int("heads", 1...4096, default: heads)
        neckChannels = try reader.int("prompt_embed_dim", 1...65536, default: neckChannels)
        globalLayers = try Self.list(reader, "global_attn_indexes", 0...1023) ?? globalLayers
        downsampleChannels = try Self.list(reader, "downsample_channels", 1...65536) ?? downsampleChannels
        guard patchSize <= imageSize, grid <= 256 else {
            throw reader.error(
                "image_size",
                expected: "1 to 256 patches of \(patchSize) along a side",
                found: "\(imageSize)"
            )
        }
        guard width % heads == 0 else {
            throw reader.error("heads", expected: "a divisor of width (\(width))", found: "\(heads)")
        }
        guard globalLayers.contains(where: { $0 < layers }) else {
            throw reader.error(
                "global_attn_indexes",
                expected: "at least one of the \(layers) layers",
                found: "\(globalLayers)"
            )
        }
        guard downsampleChannels.count <= 8 else {
            throw reader.error(
                "downsample_channels",
                expected: "at most 8 convolutions",
                found: "\(downsampleChannels.count)"
            )
        }
        globalLayers = globalLayers.filter { $0 < layers }
    }

    private static func list(
        _ reader: ConfigReader,
        _ key: String,
        _ range: ClosedRange<Int>
    ) throws(LoadError) -> [Int]? {
        guard let values = try reader.array(key) else { return nil }
        var list: [Int] = []
        for value in values {
            guard let number = value.asInt, range.contains(number), list.count < 1024 else {
                throw reader.error(
                    key,
                    expected: "whole numbers from \(range.lowerBound) to \(range.upperBound)",
                    found: value.summary
                )
            }
            list.append(number)
        }
        return list
    }
}

extension ChannelNormalization {
    /// Reads `pixel_mean` and `pixel_std`; nil unless both are there.
    static func read(_ reader: ConfigReader) throws(LoadError) -> ChannelNormalization? {
        guard !reader.isNull("pixel_mean"), !reader.isNull("pixel_std") else { return nil }
        let found = ChannelNormalization(
            mean: try reader.channels("pixel_mean", default: []),
            deviation: try reader.channels("pixel_std", default: [])
        )
        guard found.deviation.allSatisfy({ $0 != 0 }) else {
            throw reader.error(
                "pixel_std",
                expected: "three numbers other than 0",
                found: "\(found.deviation)"
            )
        }
        return found
    }
}
