import VLFormats
import VLModels

/// The keys of a file that holds what sees, beside that of a language model, as llama.cpp's readers expect them
/// (`clip.*`).
///
/// llama.cpp has no projector of DeepSeek-VL or -VL2, and refuses the file by the projector's name.
enum VisionSection {
    static let architecture = "clip"

    /// - Throws: `LoadError`.
    static func pairs(_ folder: ModelFolder) throws(LoadError) -> [NetworkSection.Pair] {
        let vision: SigLIPConfig
        let projector: String
        let width: Int
        switch folder.modelType {
        case "deepseek_vl_v2":
            let config = try DeepSeekVL2Config(folder.config)
            (vision, projector, width) = (config.vision, "deepseek-vl2", config.language.hiddenSize)
        default:
            let config = try DeepSeekVLConfig(folder.config)
            width = config.language.hiddenSize
            switch config.vision {
            case .single(let tower): (vision, projector) = (tower.network, "deepseek-vl")
            case .hybrid(_, let tower): (vision, projector) = (tower.network, "deepseek-vl-hybrid")
            }
        }
        func whole(_ name: String, _ value: Int) -> NetworkSection.Pair {
            ("clip.vision." + name, .uint32(UInt32(clamping: value)))
        }
        return [
            ("clip.has_vision_encoder", .bool(true)), ("clip.projector_type", .text(projector)),
            ("clip.use_gelu", .bool(true)), whole("image_size", vision.imageSize),
            whole("patch_size", vision.patchSize), whole("embedding_length", vision.width),
            whole("feed_forward_length", vision.mlpWidth), whole("block_count", vision.layers),
            whole("attention.head_count", vision.heads), whole("projection_dim", width),
            ("clip.vision.attention.layer_norm_epsilon", .float32(vision.epsilon)),
        ]
    }
}
