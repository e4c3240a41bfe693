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
        try add(tensor, tensor.name, tensor.shape, stored, nil)
    }

    /// Adds a packed layer of the checkpoint.
    ///
    /// - Parameters:
    ///   - codes: the tensor with its codes.
    ///   - name: what its matrix would be called.
    /// - Throws: as for plain tensors.
    mutating func add(
        _ codes: StoredTensor,
        named name: String,
        _ matrix: PackedMatrix
    ) throws(ConvertError) {
        try add(codes, name, [matrix.rows, matrix.columns], matrix.type, matrix)
    }

    private mutating func add(
        _ tensor: StoredTensor,
        _ tensorName: String,
        _ tensorShape: [Int],
        _ stored: DType,
        _ packed: PackedMatrix?
    ) throws(ConvertError) {
        let place = GGUFNames.place(inCheckpoint: tensorName)
        func matrix(_ name: String, _ shape: [Int], _ order: OutgoingMatrix.Order) -> OutgoingMatrix {
            OutgoingMatrix(
                name: name,
                parts: [tensor],
                storedType: stored,
                type: stored,
                shape: shape,
                order: order,
                packed: packed.map { [$0] } ?? []
            )
        }
        if let slice = place.slice {
            let index: Int
            if let known = stacks[place.name] {
                index = known
            } else {
                index = matrices.count
                stacks[place.name] = index
                names.append(tensorName)
                var stack = matrix(place.name, [network.experts] + tensorShape, .asStored)
                // The others take their places below, in whatever order the files have them.
                stack.parts = Array(repeating: tensor, count: network.experts)
                if let packed { stack.packed = Array(repeating: packed, count: network.experts) }
                matrices.append(stack)
            }
            let isPacked = !matrices[index].packed.isEmpty
            if let packed, isPacked {
                matrices[index].parts[slice] = tensor
                matrices[index].packed[slice] = packed
                // Q5_0 holds what Q4_0 does, and float32 everything.
                if stored == .float32 || matrices[index].storedType == .q4_0 {
                    matrices[index].storedType = stored
                }
                return
            }
            guard stored == matrices[index].storedType, packed == nil, !isPacked else {
                throw .source(
                    file: tensor.file,
                    expected: "one type for all experts of '\(place.name)'",
                    found: "\(matrices[index].storedType.rawValue) and \(stored.rawValue)"
                )
            }
            matrices[index].parts[slice] = tensor
            return
        }
        if let latent = network.latent, tensorName.hasSuffix(".kv_b_proj.weight") {
            let stem = place.name.dropLast("kv_b.weight".utf8.count)
            names += [tensorName, tensorName]
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
        if let heads = GGUFNames.turnedHeads(place.name, network.turned) { order = .turned(heads: heads) }
        names.append(tensorName)
        matrices.append(matrix(place.name, tensorShape, order))
    }

    /// The type in which most of the packed layers go as they are; nil if none do.
    var packedType: DType? {
        var counts: [DType: Int] = [:]
        for matrix in matrices where matrix.keepsCodes {
            counts[matrix.type, default: 0] += matrix.rows * matrix.columns
        }
        return DType.allCases.filter { counts[$0] != nil }.max { counts[$0] ?? 0 < counts[$1] ?? 0 }
    }

    /// Decides in which types the tensors go.
    ///
    /// - Parameter hasHead: whether the checkpoint has an output head beside its embedding.
    /// - Throws: `ConvertError.source` for packed columns whose order no file can say, if no type is asked for.
    mutating func chooseTypes(hasHead: Bool) throws(ConvertError) {
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
            if matrix.hasOrder, keeps(name) {
                throw .source(
                    file: matrix.parts.first?.file ?? "",
                    expected:
                        "a type for '\(name)' (--type, or --weights with a cache): blocks of a file have their columns in order",
                    found: "columns in act-order"
                )
            }
            if matrix.type != wanted {
                note(matrix, wanted, "its rows of \(matrix.columns) are no whole blocks")
            } else if wanted == .float16, !matrix.fitsFloat16(run) {
                matrix.type = matrix.storedType
                note(matrix, wanted, "it has values beyond 65504")
            }
            matrices[index] = matrix
        }
    }

    /// Whether the policy leaves a matrix in whatever blocks it is.
    private func keeps(_ name: String) -> Bool {
        [DType.q4_0, .q5_0].allSatisfy { policy.type(of: name, stored: $0, columns: 256) == $0 }
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
