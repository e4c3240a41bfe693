import VLFormats
import VLModels
import VLTensor

/// Rounded layers as blocks of a GGUF file: a group of whole blocks has the same scale in each of them.
extension GPTQuantizer {
    /// Quantizes and writes a GGUF file, which stands under its name only when it is whole; goes on with the layers that a
    /// killed process has left of it.
    ///
    /// - Parameter onStep: called with (steps done, steps in all).
    /// - Throws: `ConvertError`.
    package func writeGGUF(
        _ target: String,
        replaces: Bool,
        onStep: (Int, Int) -> Void
    ) throws(ConvertError) {
        guard replaces || !FileContents.exists(target) else { throw .exists(file: target) }
        guard options.order != .activationGroups, options.groupSize % 32 == 0 else {
            throw .inexpressible(
                file: target,
                what: "groups",
                expected: "groups of neighbouring columns, a multiple of 32",
                found: options.groupSize % 32 == 0 ? "--act-order" : "\(options.groupSize)"
            )
        }
        let model = try GGUFConverter.loading { () throws(LoadError) in try GGUFModel(at: path) }
        guard let gguf = model?.gguf else {
            throw .source(file: path, expected: "a GGUF file", found: "something else")
        }
        try quantize(target, [gguf.file.path], onStep: onStep) { (tensors) throws(FormatError) in
            var made: [String: [Int: StoredTensor]] = [:]
            for tensor in tensors {
                let place = GGUFNames.place(inCheckpoint: tensor.name)
                made[place.name, default: [:]][place.slice ?? 0] = tensor
            }
            try write(target, gguf, made)
        }
    }

    private func write(
        _ target: String,
        _ source: GGUF,
        _ made: [String: [Int: StoredTensor]]
    ) throws(FormatError) {
        let type = PackedTensors.blockType(isSymmetric: options.isSymmetric)
        let stated: Set<String> = ["general.file_type", "general.quantization_version"]
        var metadata: [(key: String, value: GGUFWriter.Value)] = source.pairs
            .filter { !stated.contains($0.key) }
            .map { ($0.key, .copy(source, $0)) }
        metadata.append(("general.file_type", .uint32(options.isSymmetric ? 2 : 3)))
        metadata.append(("general.quantization_version", .uint32(2)))
        var tensors: [OutgoingTensor] = []
        for stored in source.tensors {
            bytes.before += stored.byteCount
            let slices = stored.shape.count == 3 ? stored.shape[0] : 1
            let parts = (0..<slices).compactMap { made[stored.name]?[$0] }
            guard parts.count == slices, let dtype = StoredDType(rawValue: type.rawValue.uppercased()) else {
                // All experts of a tensor have one type.
                if !parts.isEmpty { keepAll(stored.name) }
                tensors.append(OutgoingTensor(stored))
                bytes.after += stored.byteCount
                continue
            }
            bytes.after += parts.reduce(0) { $0 + $1.byteCount }
            tensors.append(
                OutgoingTensor(name: stored.name, dtype: dtype, shape: stored.shape) {
                    (output) throws(FormatError) in
                    for part in parts { try output.write(part.bytes) }
                }
            )
        }
        try GGUFWriter.write(target, metadata: metadata, tensors: tensors, alignment: source.alignment)
    }

    /// Notes that the matrices of a tensor stay as they are.
    private func keepAll(_ tensor: String) {
        for index in steps.indices where GGUFNames.place(inCheckpoint: steps[index].name).name == tensor {
            if case .kept = steps[index].way { continue }
            steps[index].way = .kept(reason: "another expert of its tensor stays as it is")
        }
    }
}
