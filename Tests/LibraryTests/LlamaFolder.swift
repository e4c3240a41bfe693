import Foundation
import VLFormats
import VLTestSupport

/// A tiny Llama checkpoint with random weights, as Hugging Face lays it out.
struct LlamaFolder {
    private let scratch: ScratchFolder
    var path: String { scratch("llama") }
    private static let begin = "<｜begin▁of▁sentence｜>"
    private static let end = "<｜end▁of▁sentence｜>"
    private static let vocabulary = 2112

    init() throws {
        scratch = try ScratchFolder()
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        func write(_ name: String, _ text: String) throws {
            try AtomicFile.write(path + "/" + name, Array(text.utf8))
        }
        try write(
            "config.json",
            """
            {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": \(Self.vocabulary),
             "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 50000.0,
             "rope_scaling": {"type": "linear", "factor": 2.0}, "tie_word_embeddings": true}
            """
        )
        try write(
            "tokenizer_config.json",
            #"{"bos_token": "\#(Self.begin)", "eos_token": "\#(Self.end)", "add_bos_token": true}"#
        )
        try AtomicFile.write(path + "/tokenizer.json", Self.tokenizerBytes())
        var state: UInt64 = 7
        func tensor(_ name: String, _ shape: [Int], around center: Float = 0) -> OutgoingTensor {
            let values = (0..<shape.reduce(1, *)).map { _ -> Float in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return center + Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31 * 0.2
            }
            return OutgoingTensor(
                name: name,
                dtype: .float32,
                shape: shape,
                bytes: values.withUnsafeBytes { Array($0) }
            )
        }
        var tensors = [
            tensor("model.embed_tokens.weight", [Self.vocabulary, 64]),
            tensor("model.norm.weight", [64], around: 1),
        ]
        for layer in 0..<2 {
            let place = "model.layers.\(layer)."
            for (name, shape) in [
                ("self_attn.q_proj", [64, 64]), ("self_attn.k_proj", [32, 64]),
                ("self_attn.v_proj", [32, 64]), ("self_attn.o_proj", [64, 64]),
                ("mlp.gate_proj", [96, 64]), ("mlp.up_proj", [96, 64]), ("mlp.down_proj", [64, 96]),
            ] {
                tensors.append(tensor("\(place)\(name).weight", shape))
            }
            for name in ["input_layernorm", "post_attention_layernorm"] {
                tensors.append(tensor("\(place)\(name).weight", [64], around: 1))
            }
        }
        try SafetensorsWriter.write(path + "/model.safetensors", tensors: tensors)
    }

    private static func tokenizerBytes() throws -> [UInt8] {
        try fixtureBytes("text/tiny-llm-linear.tokenizer.json")
    }

    /// The path of another file, gone with the folder.
    func file(_ name: String) -> String { scratch(name) }
}
