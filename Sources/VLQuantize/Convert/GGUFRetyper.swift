import VLFormats
import VLModels
import VLTensor

/// Writes a model that is in one GGUF file, or in two, into one with its matrices in the types that loading would run them in.
struct GGUFRetyper {
    private let model: GGUFModel
    private let policy: WeightPolicy
    private let run: Run

    /// - Parameters:
    ///   - vision: the file that holds what sees, where that is another and its name does not say so.
    ///   - policy: as loading takes it.
    /// - Throws: `ConvertError`.
    init(_ path: String, vision: String?, _ policy: WeightPolicy, run: Run) throws(ConvertError) {
        (self.policy, self.run) = (policy, run)
        let found = try GGUFConverter.loading { () throws(LoadError) in
            try GGUFModel(at: path, vision: vision)
        }
        guard let found else { throw .source(file: path, expected: "a GGUF file", found: "something else") }
        model = found
        // Names and shapes are known to be right then.
        _ = try GGUFConverter.loading { () throws(LoadError) in
            try Registry.load(path, vision: vision, run: run)
        }
    }

    /// Writes the file, replacing one of the same name.
    ///
    /// - Parameter onTensor: called with the number of tensors written so far, and of all.
    /// - Throws: `ConvertError`.
    func write(_ path: String, onTensor: @escaping (Int, Int) -> Void) throws(ConvertError) {
        var tensors: [OutgoingTensor] = []
        for tensor in model.store.all { tensors.append(try outgoing(tensor)) }
        let count = tensors.count
        let files = [model.gguf, model.vision].compactMap(\.self)
        do throws(FormatError) {
            try GGUFWriter.write(
                path,
                metadata: metadata,
                tensors: tensors,
                resuming: WriteJob.describe("retype", files.map(\.file.path), "\(policy)")
            ) { onTensor($0, count) }
        } catch {
            throw .format(error)
        }
    }

    /// The language model's pairs, and the texts that belong to what sees.
    private var metadata: [(key: String, value: GGUFWriter.Value)] {
        let first = model.gguf.pairs.map { ($0.key, GGUFWriter.Value.copy(model.gguf, $0)) }
        guard let vision = model.vision else { return first }
        let documents = Set(GGUFDocuments.keys.map(\.key))
        return first.filter { !documents.contains($0.0) }
            + vision.pairs.filter { documents.contains($0.key) }.map { ($0.key, .copy(vision, $0)) }
    }

    private func outgoing(_ tensor: StoredTensor) throws(ConvertError) -> OutgoingTensor {
        let stored = try GGUFConverter.loading { () throws(LoadError) in try DType.stored(tensor) }
        let stacked = GGUFNames.isStacked(tensor.name) ? 0 : nil
        let name =
            GGUFNames.name(of: .init(name: tensor.name, slice: stacked))
            ?? GGUFNames.checkpointName(ofTower: tensor.name)
        var matrix = OutgoingMatrix(
            name: tensor.name,
            parts: [tensor],
            storedType: stored,
            type: stored,
            shape: tensor.shape
        )
        guard ConversionPlan.isMatrix(matrix, name) else { return OutgoingTensor(tensor) }
        matrix.type = policy.type(
            of: name,
            stored: stored,
            columns: WeightPolicy.columns(tensor.shape),
            isHead: tensor.name == "token_embd.weight" && model.store.peek("output.weight") == nil
        )
        guard matrix.type != stored, let dtype = StoredDType(rawValue: matrix.type.rawValue.uppercased())
        else { return OutgoingTensor(tensor) }
        return matrix.outgoing(run, dtype)
    }
}
