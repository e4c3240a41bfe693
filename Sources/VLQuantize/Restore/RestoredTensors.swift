import VLFormats
import VLModels
import VLTensor

/// The tensors of a checkpoint, made from those of a GGUF file: under their names, experts apart, rows in their order.
struct RestoredTensors {
    private let config: GGUFConfig
    /// What stands before the names of the language model's tensors.
    private let prefix: String
    private let type: DType?
    private let run: Run
    /// Types that the checkpoint had and the file has made float32; the one of most, and those of others by name.
    private var widened: (type: DType?, others: [String: DType]) = (nil, [:])

    private(set) var tensors: [OutgoingTensor] = []
    /// Tensors that do not go in the type asked for.
    private(set) var fallbacks: [GGUFConverter.Fallback] = []

    /// The type of most matrices.
    var mainType: DType {
        var bytes: [StoredDType: Int] = [:]
        for tensor in tensors where tensor.shape.count >= 2 {
            bytes[tensor.dtype, default: 0] += tensor.shape.reduce(1, *)
        }
        return [.bfloat16, .float16].first { type in
            let stored = StoredDType(rawValue: type.rawValue.uppercased())
            return bytes.allSatisfy { $0.value <= stored.map { bytes[$0] ?? 0 } ?? 0 } && !bytes.isEmpty
        } ?? .float32
    }

    /// - Parameters:
    ///   - type: of the matrices; nil leaves floating-point numbers as they are and makes bfloat16 of codes.
    /// - Throws: `ConvertError.source` for a tensor of a type that cannot be decoded.
    init(
        _ files: [GGUF],
        _ config: GGUFConfig,
        prefix: String,
        turned: (queries: Int, keys: Int)?,
        type: DType?,
        run: Run
    ) throws(ConvertError) {
        (self.config, self.prefix, self.type, self.run) = (config, prefix, type, run)
        for gguf in files { try add(gguf, turned) }
    }

    private mutating func add(_ gguf: GGUF, _ turned: (queries: Int, keys: Int)?) throws(ConvertError) {
        var others: [String: DType] = [:]
        gguf[SourceTypes.othersKey]?.asArray?.forEachText { text in
            let parts = String(decoding: text, as: UTF8.self).split(separator: "=")
            if parts.count == 2 { others[String(parts[0])] = DType(rawValue: parts[1].lowercased()) }
        }
        let most = (gguf[SourceTypes.mostKey]?.asText).flatMap { DType(rawValue: $0.lowercased()) }
        widened = (most.flatMap { $0.isBlock ? nil : $0 }, others.filter { !$0.value.isBlock })
        let all = gguf.tensors
        let byName = Dictionary(all.map { ($0.name, $0) }) { first, _ in first }
        for tensor in all {
            let stored = try Self.stored(tensor)
            if tensor.name.hasSuffix(".attn_v_b.weight") { continue }
            if tensor.name.hasSuffix(".attn_k_b.weight") {
                let stem = tensor.name.dropLast("k_b.weight".utf8.count)
                guard case .deepSeek(let deepSeek) = config, case .latent(let sizes) = deepSeek.attention,
                    let values = byName[stem + "v_b.weight"]
                else {
                    throw .load(.missingTensor(name: stem + "v_b.weight", shape: [], file: gguf.file.name))
                }
                try join(tensor, values, sizes, named: stem + "kv_b.weight")
                continue
            }
            if GGUFNames.isStacked(tensor.name), let count = tensor.shape.first {
                for index in 0..<count {
                    try add(tensor, stored, Array(tensor.shape.dropFirst()), .slice(index), slice: index)
                }
                continue
            }
            var order = OutgoingMatrix.Order.asStored
            if let heads = GGUFNames.turnedHeads(tensor.name, turned) { order = .unturned(heads: heads) }
            try add(tensor, stored, tensor.shape, order, slice: nil)
        }
    }

    private static func stored(_ tensor: StoredTensor) throws(ConvertError) -> DType {
        guard let type = DType(rawValue: tensor.dtype.rawValue.lowercased()) else {
            throw .source(
                file: tensor.file,
                expected: "a type that this program decodes for tensor '\(tensor.name)'",
                found: tensor.dtype.rawValue
            )
        }
        return type
    }

    /// The checkpoint's name of a tensor.
    private func name(_ tensor: String, _ slice: Int?) -> String {
        if let name = GGUFNames.name(of: .init(name: tensor, slice: slice)) { return prefix + name }
        return GGUFNames.checkpointName(ofTower: tensor)
    }

    /// The type in which a tensor goes.
    private mutating func choose(
        _ name: String,
        of tensor: String,
        _ stored: DType,
        isMatrix: Bool,
        fits: () -> Bool
    ) -> DType {
        guard isMatrix else {
            let was = widened.others[tensor] ?? widened.type
            return stored == .float32 ? was ?? stored : stored
        }
        let wanted = type ?? (stored.isBlock ? .bfloat16 : stored)
        guard wanted == .float16, stored != .float16, !fits() else { return wanted }
        let got: DType = stored.isBlock ? .bfloat16 : stored
        fallbacks.append(
            .init(tensor: name, wanted: wanted, type: got, reason: "it has values beyond 65504")
        )
        return got
    }

    private mutating func add(
        _ tensor: StoredTensor,
        _ stored: DType,
        _ shape: [Int],
        _ order: OutgoingMatrix.Order,
        slice: Int?
    ) throws(ConvertError) {
        let name = name(tensor.name, slice)
        var matrix = OutgoingMatrix(
            name: name,
            parts: [tensor],
            storedType: stored,
            type: stored,
            shape: shape,
            order: order
        )
        let isMatrix = ConversionPlan.isMatrix(matrix, name)
        let (checked, run) = (matrix, run)
        matrix.type = choose(name, of: tensor.name, stored, isMatrix: isMatrix) { checked.fitsFloat16(run) }
        guard let dtype = StoredDType(rawValue: matrix.type.rawValue.uppercased()) else { return }
        // What stays as it is is not computed with at all.
        if case .asStored = order, matrix.type == stored {
            tensors.append(OutgoingTensor(tensor, name: name))
        } else {
            tensors.append(matrix.outgoing(run, dtype))
        }
    }

    /// Adds the matrix that latent attention makes keys and values with, of the file's two.
    private mutating func join(
        _ keys: StoredTensor,
        _ values: StoredTensor,
        _ sizes: DeepSeekMoEConfig.Latent,
        named: String
    ) throws(ConvertError) {
        let name = name(named, nil)
        let (keyType, valueType) = (try Self.stored(keys), try Self.stored(values))
        let joined = JoinedLatent(
            keys: keys,
            keyType: keyType,
            values: values,
            valueType: valueType,
            sizes: sizes
        )
        guard joined.hasItsShapes else {
            throw .load(
                .shape(
                    name: keys.name,
                    expected: [sizes.heads, sizes.rank, sizes.plainSize],
                    found: keys.shape,
                    file: keys.file
                )
            )
        }
        let stored = keyType == valueType ? keyType : .float32
        let run = run
        let chosen = choose(name, of: keys.name, stored, isMatrix: true) { joined.fitsFloat16(run) }
        guard let dtype = StoredDType(rawValue: chosen.rawValue.uppercased()) else { return }
        tensors.append(
            OutgoingTensor(name: name, dtype: dtype, shape: joined.shape) { (output) throws(FormatError) in
                try joined.write(chosen, run, &output)
            }
        )
    }
}
