import VLFormats
import VLJSON
import VLModels

/// The layout of AutoGPTQ and GPTQModel: a folder with `qweight`, `qzeros`, `scales` and `g_idx` in the place of each
/// quantized layer's `weight`, and the other files of the model's folder as they are.
extension GPTQuantizer {
    /// Endings of files that hold weights, or say where they are.
    private static let weightFiles = [
        ".safetensors", ".index.json", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx",
    ]

    /// Quantizes and writes a folder, which stands under its name only when it is whole; goes on with the layers that a
    /// killed process has left of it.
    ///
    /// - Parameter onStep: called with (steps done, steps in all).
    /// - Throws: `ConvertError`.
    package func writeFolder(_ target: String, onStep: (Int, Int) -> Void) throws(ConvertError) {
        let store: WeightStore
        do throws(FormatError) {
            // A folder that cannot be written is told now, not after hours.
            _ = try AtomicFolder(target)
            store = try WeightStore.open(path)
        } catch {
            throw .format(error)
        }
        let sources =
            store.files.map { path.hasSuffix($0) ? path : path + "/" + $0 } + [path + "/config.json"]
        try quantize(target, sources, onStep: onStep) { (tensors) throws(FormatError) in
            let folder = try AtomicFolder(target)
            try SafetensorsShards.write(self.tensors(store, tensors), into: folder)
            try copyFiles(folder(""))
            try folder.commit()
        }
    }

    /// A weight's name without its ending.
    static func stem(_ name: String) -> String { String(name.dropLast(".weight".utf8.count)) }

    /// All tensors of the folder, in the order of the source.
    private func tensors(_ store: WeightStore, _ packed: [StoredTensor]) -> [OutgoingTensor] {
        let made = Dictionary(packed.map { ($0.name, $0) }) { first, _ in first }
        var result: [OutgoingTensor] = []
        for stored in store.all {
            let stem = Self.stem(stored.name)
            let four = ["qweight", "qzeros", "scales", "g_idx"].compactMap { made["\(stem).\($0)"] }
            let tensors = stored.name.hasSuffix(".weight") && !four.isEmpty ? four : [stored]
            bytes.before += stored.byteCount
            bytes.after += tensors.reduce(0) { $0 + $1.byteCount }
            result += tensors.map { OutgoingTensor($0) }
        }
        return result
    }

    /// Copies what else is in the source's folder, and says in its configuration how the weights are packed.
    private func copyFiles(_ place: String) throws(FormatError) {
        let own = ["config.json", "quantize_config.json"]
        for name in try FileContents.names(in: path, endingIn: "") ?? [] {
            guard !name.hasPrefix("."), !own.contains(name),
                !Self.weightFiles.contains(where: { name.hasSuffix($0) })
            else { continue }
            let content: [UInt8]
            do throws(FormatError) {
                content = try FileContents.read("\(path)/\(name)", limit: 1 << 30)
            } catch {
                // A folder in the folder belongs to other programs.
                if case .notAFile = error { continue }
                throw error
            }
            try AtomicFile.write(place + name, content)
        }
        let settings = settings
        var config = try FileContents.readJSON("\(path)/config.json").asObject ?? JSONObject()
        config["quantization_config"] = settings
        try AtomicFile.write(place + "config.json", JSONWriter.encode(.object(config), .pretty))
        try AtomicFile.write(place + "quantize_config.json", JSONWriter.encode(settings, .pretty))
    }

    /// How this program reads the layers.
    ///
    /// - Throws: `LoadError`.
    func packedFormat() throws(LoadError) -> PackedFormat {
        try PackedFormat(ConfigReader(settings.asObject ?? JSONObject(), file: "quantize_config.json"))
    }

    /// How the weights are packed, as GPTQModel, vLLM and transformers read it.
    private var settings: JSONValue {
        var settings: JSONObject = [
            "bits": 4, "group_size": .integer(Int64(options.groupSize)),
            "desc_act": .bool(options.order == .activationGroups), "sym": .bool(options.isSymmetric),
            "lm_head": false, "quant_method": "gptq",
            "checkpoint_format": .string(options.isSymmetric ? "gptq" : "gptq_v2"), "pack_dtype": "int32",
        ]
        // What is no packed layer, by patterns of names: programs that make layers before they see files need to know.
        var skipped = JSONObject()
        for part in ["vision", "vision_model", "projector", "aligner"] { skipped["-:^\(part)\\..*"] = [:] }
        skipped["-:.*\\.mlp\\.gate$"] = [:]
        for step in steps {
            guard case .kept = step.way else { continue }
            let name = Self.stem(step.name).split(separator: ".").joined(separator: "\\.")
            skipped["-:^\(name)$"] = [:]
        }
        settings["dynamic"] = .object(skipped)
        settings["meta"] = [
            "quantizer": ["deepseek-vl:0.1.0"], "damp_percent": .number(options.damping),
            "static_groups": .bool(options.order == .activation), "true_sequential": false,
        ]
        return .object(settings)
    }
}
