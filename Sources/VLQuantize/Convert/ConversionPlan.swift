import VLFormats
import VLModels
import VLTensor

/// Which tensors a file will have, in which types.
struct ConversionPlan {
    private let network: NetworkSection
    private let policy: WeightPolicy
    private let run: Run
    private(set) var matrices: [OutgoingMatrix] = []
    /// Tensors that are float32 whatever they were, by their names in the file.
    private(set) var small: [(name: String, type: DType)] = []
    private(set) var fallbacks: [GGUFConverter.Fallback] = []
    /// A checkpoint's name of each, the first expert's where experts are stacked.
    private var names: [String] = []
    /// Where the stacks of experts are in `matrices`.
    private var stacks: [String: Int] = [:]

    init(_ network: NetworkSection, _ policy: WeightPolicy, _ run: Run) {
        self.network = network
        self.policy = policy
        self.run = run
    }

    /// Adds a tensor of the checkpoint.
    ///
    /// - Throws: `ConvertError.source` for one that holds no floating-point numbers.
    mutating func add(_ tensor: StoredTensor) throws(ConvertError) {
        guard let stored = DType(rawValue: tensor.dtype.rawValue.lowercased()), !stored.isBlock else {
            throw .source(
                file: tensor.file,
                expected: "F32, BF16 or F16 for tensor '\(tensor.name)'",
                found: tensor.dtype.rawValue
            )
        }
        let place = GGUFNames.place(inCheckpoint: tensor.name)
        func matrix(_ name: String, _ shape: [Int], _ order: OutgoingMatrix.Order) -> OutgoingMatrix {
            OutgoingMatrix(
                name: name,
                parts: [tensor],
                storedType: stored,
                type: stored,
                shape: shape,
                order: order
            )
        }
        if let slice = place.slice {
            let index: Int
            if let known = stacks[place.name] {
                index = known
            } else {
                index = matrices.count
                stacks[place.name] = index
                names.append(tensor.name)
                var stack = matrix(place.name, [network.experts] + tensor.shape, .asStored)
                // The others take their places below, in whatever order the files have them.
                stack.parts = Array(repeating: tensor, count: network.experts)
                matrices.append(stack)
            }
            guard stored == matrices[index].storedType else {
                throw .source(
                    file: tensor.file,
                    expected: "one type for all experts of '\(place.name)'",
                    found: "\(matrices[index].storedType.rawValue) and \(stored.rawValue)"
                )
            }
            matrices[index].parts[slice] = tensor
            return
        }
        if let latent = network.latent, tensor.name.hasSuffix(".kv_b_proj.weight") {
            let stem = place.name.dropLast("kv_b.weight".utf8.count)
            names += [tensor.name, tensor.name]
            matrices += [
                matrix(
                    stem + "k_b.weight",
                    [latent.heads, latent.rank, latent.plainSize],
                    .latentKeys(latent)
                ),
                matrix(
                    stem + "v_b.weight",
                    [latent.heads, latent.valueSize, latent.rank],
                    .latentValues(latent)
                ),
            ]
            return
        }
        var order = OutgoingMatrix.Order.asStored
        if let turned = network.turned, place.name.hasPrefix("blk.") {
            if place.name.hasSuffix(".attn_q.weight") { order = .turned(heads: turned.queries) }
            if place.name.hasSuffix(".attn_k.weight") { order = .turned(heads: turned.keys) }
        }
        names.append(tensor.name)
        matrices.append(matrix(place.name, tensor.shape, order))
    }

    /// Decides in which types the tensors go.
    ///
    /// - Parameter hasHead: whether the checkpoint has an output head beside its embedding.
    mutating func chooseTypes(hasHead: Bool) {
        for index in matrices.indices {
            var matrix = matrices[index]
            let name = names[index]
            guard Self.isMatrix(matrix, name) else {
                matrix.type = .float32
                small.append((matrix.name, matrix.storedType))
                matrices[index] = matrix
                continue
            }
            let isTiedHead = !hasHead && name.hasSuffix("embed_tokens.weight")
            func type(_ columns: Int) -> DType {
                policy.type(of: name, stored: matrix.storedType, columns: columns, isHead: isTiedHead)
            }
            // What the policy wants for rows that all blocks divide.
            let wanted = type(256)
            matrix.type = type(matrix.columns)
            if matrix.type != wanted {
                note(matrix, wanted, "its rows of \(matrix.columns) are no whole blocks")
            } else if wanted == .float16, !matrix.fitsFloat16(run) {
                matrix.type = matrix.storedType
                note(matrix, wanted, "it has values beyond 65504")
            }
            matrices[index] = matrix
        }
    }

    private mutating func note(_ matrix: OutgoingMatrix, _ wanted: DType, _ reason: String) {
        fallbacks.append(
            GGUFConverter.Fallback(tensor: matrix.name, wanted: wanted, type: matrix.type, reason: reason)
        )
    }

    /// Whether a tensor multiplies activations; norms, biases, gates and tables of positions stay in float32.
    static func isMatrix(_ matrix: OutgoingMatrix, _ name: String) -> Bool {
        matrix.shape.count >= 2 && name.hasSuffix(".weight") && !name.hasSuffix(".mlp.gate.weight")
    }
}
