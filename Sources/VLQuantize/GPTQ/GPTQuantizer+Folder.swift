import VLFormats
import VLJSON
import VLModels

/// The layout of AutoGPTQ and GPTQModel: a folder with `qweight`, `qzeros`, `scales` and `g_idx` in the place of each
/// quantized layer's `weight`, and the other files of the model's folder as they are.
extension GPTQuantizer {
    /// Bytes of a file of tensors, about.
    private static let shardBytes = 5_000_000_000
    /// Endings of files that hold weights, or say where they are.
    private static let weightFiles = [
        ".safetensors", ".index.json", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx",
    ]

    /// Quantizes and writes a folder, which stands under its name only when it is whole.
    ///
    /// - Parameter onStep: called with (steps done, steps in all).
    /// - Throws: `ConvertError`.
    package func writeFolder(_ target: String, onStep: (Int, Int) -> Void) throws(ConvertError) {
        do {
            let folder = try AtomicFolder(target)
            let parts = try AtomicFolder(target + ".layers")
            let partsPath = parts("")
            let place = folder("")
            var made: [String: StoredTensor] = [:]
            try quantize(onStep: onStep) { (index, matrices) throws(ConvertError) in
                var tensors: [OutgoingTensor] = []
                for (name, matrix) in matrices {
                    // Symmetric files have the zero less one, as all older programs read it; a zero of 0 has no such form.
                    let offset = options.isSymmetric ? 1 : 0
                    tensors += PackedTensors.gptq(Self.stem(name), matrix, zeroOffset: offset, run)
                }
                for tensor in try Self.keep(tensors, partsPath + "\(index)") { made[tensor.name] = tensor }
            }
            try writeTensors(place, made)
            try copyFiles(place)
            try folder.commit()
        } catch let error as ConvertError {
            throw error
        } catch let error as FormatError {
            throw .format(error)
        } catch {
            throw .source(file: path, expected: "a checkpoint", found: "\(error)")
        }
    }

    /// Writes tensors into a file until all layers are done, and gives them as they lie there.
    static func keep(_ tensors: [OutgoingTensor], _ file: String) throws(ConvertError) -> [StoredTensor] {
        guard !tensors.isEmpty else { return [] }
        do throws(FormatError) {
            try SafetensorsWriter.write(file, tensors: tensors)
            return try WeightStore.open(file).all
        } catch {
            throw .format(error)
        }
    }

    /// A weight's name without its ending.
    private static func stem(_ name: String) -> String { String(name.dropLast(".weight".utf8.count)) }

    /// Writes all tensors, in the order of the source.
    private func writeTensors(_ place: String, _ made: [String: StoredTensor]) throws(FormatError) {
        var shards: [[StoredTensor]] = [[]]
        var room = Self.shardBytes
        for stored in try WeightStore.open(path).all {
            let stem = Self.stem(stored.name)
            let four = ["qweight", "qzeros", "scales", "g_idx"].compactMap { made["\(stem).\($0)"] }
            let tensors = stored.name.hasSuffix(".weight") && !four.isEmpty ? four : [stored]
            let size = tensors.reduce(0) { $0 + $1.byteCount }
            bytes.before += stored.byteCount
            bytes.after += size
            if size > room, shards.last?.isEmpty == false {
                shards.append([])
                room = Self.shardBytes
            }
            shards[shards.count - 1] += tensors
            room -= size
        }
        let format = [(key: "format", value: "pt")]
        if shards.count == 1 {
            let tensors = shards[0].map { OutgoingTensor($0) }
            return try SafetensorsWriter.write(
                place + "model.safetensors",
                metadata: format,
                tensors: tensors
            )
        }
        var files = JSONObject()
        for (index, shard) in shards.enumerated() {
            let name = "model-\(Self.padded(index + 1))-of-\(Self.padded(shards.count)).safetensors"
            let tensors = shard.map { OutgoingTensor($0) }
            try SafetensorsWriter.write(place + name, metadata: format, tensors: tensors)
            for tensor in shard { files[tensor.name] = .string(name) }
        }
        let index: JSONValue = [
            "metadata": ["total_size": .integer(Int64(bytes.after))], "weight_map": .object(files),
        ]
        try AtomicFile.write(place + "model.safetensors.index.json", JSONWriter.encode(index, .pretty))
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.utf8.count)) + digits
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
