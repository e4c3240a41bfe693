import CVLKernels
import VLFormats
import VLModels
import VLTensor

/// Writes a GGUF file with its matrices in smaller types, tensor by tensor.
///
/// The same input and options give the same bytes for any number of threads: rows are encoded alone, and written in order.
package struct Quantizer {
    /// What is wanted besides the target.
    package struct Options: Sendable {
        /// Types for tensors whose names hold a text; the first that fits counts.
        package var overrides: [(text: String, type: DType)] = []
        /// Type of the towers' and projectors' matrices; nil keeps what they have.
        package var vision: DType?
        /// Whether matrices that are in a block format may be quantized again.
        package var requantizes = false
        package var importance: ImportanceMatrix?

        package init() {}
    }

    /// A tensor's way from one type to another.
    package struct Step: Sendable {
        package let entry: TensorEntry
        package let stored: DType?
        package let type: DType?
        /// The type that was wanted, if rows are no whole blocks of it.
        package let wanted: DType?

        /// Bytes in the new file.
        package var byteCount: Int {
            guard let type, let columns = entry.shape.last else { return entry.range.count }
            return entry.shape.dropLast().reduce(1, *) * type.rowBytes(columns)
        }
    }

    private let source: GGUF
    private let path: String
    private let target: QuantizationTarget
    private let options: Options
    private let run: Run
    package let steps: [Step]

    private static let visionPrefixes = [
        "vision.", "vision_high.", "vision_low.", "vision_model.", "projector.", "aligner.", "v.", "mm.",
    ]
    /// Bytes of float32 that are in memory at once, about.
    private static let batchBytes = 1 << 22

    /// Plans the file.
    ///
    /// - Throws: `ConvertError`.
    package init(
        _ path: String,
        to target: QuantizationTarget,
        _ options: Options = Options(),
        run: Run
    ) throws(ConvertError) {
        self.path = path
        self.target = target
        self.options = options
        self.run = run
        do throws(FormatError) { source = try GGUF.open(path) } catch { throw .format(error) }
        let names = Set(source.entries.map(\.name))
        let layers =
            1
            + (names.compactMap { name in
                name.hasPrefix("blk.")
                    ? name.split(separator: ".").dropFirst().first.flatMap { Int($0) } : nil
            }.max() ?? -1)
        let hasHead = names.contains("output.weight")
        var steps: [Step] = []
        for entry in source.entries {
            let stored = DType(rawValue: entry.dtype.rawValue.lowercased())
            let wanted = Self.wanted(entry, target, options, layers: layers, hasHead: hasHead)
            guard wanted == nil || stored != nil else {
                throw .source(
                    file: path,
                    expected: "a type that this program decodes for tensor '\(entry.name)'",
                    found: entry.dtype.rawValue
                )
            }
            guard let stored, let wanted, wanted != stored, let columns = entry.shape.last else {
                steps.append(Step(entry: entry, stored: stored, type: nil, wanted: nil))
                continue
            }
            guard !stored.isBlock || options.requantizes else {
                throw .source(
                    file: path,
                    expected:
                        "F32, BF16 or F16 for tensor '\(entry.name)' (--allow-requantize quantizes codes again, at a loss)",
                    found: entry.dtype.rawValue
                )
            }
            let type = WeightPolicy.fitting(wanted, columns: columns, else: stored)
            steps.append(
                Step(
                    entry: entry,
                    stored: stored,
                    type: type == stored ? nil : type,
                    wanted: type == wanted ? nil : wanted
                )
            )
            if let importance = options.importance?.weights(of: entry.name) {
                let stacks = entry.shape.count == 3 ? entry.shape[0] : 1
                guard importance.count == columns * stacks else {
                    throw .source(
                        file: path,
                        expected:
                            "\(importance.count) columns of tensor '\(entry.name)', as the importance matrix has",
                        found: "\(columns * stacks)"
                    )
                }
            }
        }
        for (text, _) in options.overrides where !names.contains(where: { $0.contains(text) }) {
            throw .source(
                file: path,
                expected: "a tensor whose name holds '\(text)', as --tensor-type says",
                found: "none"
            )
        }
        if let importance = options.importance, !importance.names.contains(where: { names.contains($0) }) {
            throw .source(
                file: path,
                expected: "a tensor that the importance matrix names",
                found: "none: the matrix is of another model"
            )
        }
        self.steps = steps
    }

    /// The type that a tensor is to have; nil leaves it as it is.
    private static func wanted(
        _ entry: TensorEntry,
        _ target: QuantizationTarget,
        _ options: Options,
        layers: Int,
        hasHead: Bool
    ) -> DType? {
        let name = entry.name
        // Norms, biases, gates, tables of positions and what latent attention multiplies from both sides stay.
        guard entry.shape.count == 2 || entry.shape.count == 3 && name.hasSuffix("_exps.weight"),
            name.hasSuffix(".weight"), !name.hasSuffix("norm.weight"),
            !name.hasSuffix(".ffn_gate_inp.weight"),
            !["attn_kv_b.weight", "attn_k_b.weight", "attn_v_b.weight"].contains(where: {
                name.hasSuffix("." + $0)
            })
        else { return nil }
        if let override = options.overrides.first(where: { name.contains($0.text) }) { return override.type }
        if visionPrefixes.contains(where: { name.hasPrefix($0) }) { return options.vision }
        let isHead = name == "output.weight" || !hasHead && name == "token_embd.weight"
        return target.type(of: name, layers: layers, isHead: isHead)
    }

    /// Writes the file, which stands under its name only when it is whole.
    ///
    /// - Parameter onTensor: called with the number of tensors written so far.
    /// - Throws: `ConvertError.exists`, `.format`.
    package func write(
        _ target: String,
        replaces: Bool = false,
        onTensor: @escaping (Int) -> Void = { _ in }
    ) throws(ConvertError) {
        guard replaces || !FileContents.exists(target) else { throw .exists(file: target) }
        let stated: Set<String> = ["general.file_type", "general.quantization_version"]
        var metadata: [(key: String, value: GGUFWriter.Value)] = source.pairs
            .filter { !stated.contains($0.key) }
            .map { ($0.key, .copy(source, $0)) }
        metadata.append(("general.file_type", .uint32(self.target.fileType)))
        if steps.contains(where: { ($0.type ?? $0.stored)?.isBlock == true }) {
            metadata.append(("general.quantization_version", .uint32(2)))
        }
        var done = 0
        let tensors = steps.map { step in
            outgoing(step) {
                done += 1
                onTensor(done)
            }
        }
        do throws(FormatError) {
            try GGUFWriter.write(target, metadata: metadata, tensors: tensors, alignment: source.alignment)
        } catch {
            throw .format(error)
        }
    }

    private func outgoing(_ step: Step, onDone: @escaping () -> Void) -> OutgoingTensor {
        let bytes = source.file.bytes
        let range = step.entry.range
        guard let stored = step.stored, let type = step.type,
            let dtype = StoredDType(rawValue: type.rawValue.uppercased())
        else {
            return OutgoingTensor(name: step.entry.name, dtype: step.entry.dtype, shape: step.entry.shape) {
                (output) throws(FormatError) in
                try output.write(UnsafeRawBufferPointer(rebasing: bytes[range]))
                onDone()
            }
        }
        return OutgoingTensor(name: step.entry.name, dtype: dtype, shape: step.entry.shape) {
            (output) throws(FormatError) in
            try encode(step.entry, stored, type, &output)
            onDone()
        }
    }

    private func encode(
        _ entry: TensorEntry,
        _ stored: DType,
        _ type: DType,
        _ output: inout TensorOutput
    ) throws(FormatError) {
        let columns = entry.shape.last ?? 0
        let rows = entry.shape.dropLast().reduce(1, *)
        guard rows > 0, columns > 0, let base = source.file.bytes.baseAddress else { return }
        let start = base + entry.range.lowerBound
        let importance = options.importance?.weights(of: entry.name)
        let rowsOfExpert = rows / (entry.shape.count == 3 ? entry.shape[0] : 1)
        let rowBytes = type.rowBytes(columns)
        let batch = max(1, min(rows, Self.batchBytes / (columns * 4)))
        let buffer = WeightBuffer(byteCount: batch * rowBytes)
        guard let target = buffer.bytes.baseAddress else { return }
        for first in stride(from: 0, to: rows, by: batch) {
            let count = min(batch, rows - first)
            run.pool.parallel(count) { index in
                let row = first + index
                withUnsafeTemporaryAllocation(of: Float.self, capacity: columns) { values in
                    guard let values = values.baseAddress else { return }
                    let from = start + row * stored.rowBytes(columns)
                    if stored.isBlock {
                        vl_decode(stored.kernelType, from, values, Int64(columns))
                    } else {
                        run.decode(from, stored, count: columns, into: values)
                    }
                    let into = target + index * rowBytes
                    guard let importance, type.isBlock else {
                        return run.store(values, count: columns, as: type, into: into)
                    }
                    importance.withUnsafeBufferPointer { all in
                        let part = row / rowsOfExpert * columns
                        let weights = all.baseAddress.map { $0 + part }
                        // An expert that no row reached says nothing of its columns.
                        let isKnown = all[part..<part + columns].contains { $0 > 0 }
                        vl_encode(type.kernelType, values, isKnown ? weights : nil, into, Int64(columns))
                    }
                }
            }
            try output.write(UnsafeRawBufferPointer(start: target, count: count * rowBytes))
        }
    }
}
