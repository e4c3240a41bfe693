import VLFormats
import VLModels
import VLTensor
import VLText

/// Writes a GGUF file with its matrices in smaller types, tensor by tensor.
///
/// The same input and options give the same bytes for any number of threads: rows are encoded alone, and written in order.
package struct Quantizer {
    /// What is wanted besides the target.
    package struct Options: Sendable {
        /// Types for tensors whose names have a match; the first counts.
        package var overrides: [(pattern: SearchPattern, type: DType)] = []
        /// Type of the output head, or of the embedding where that is the head; nil is the target's choice.
        package var output: DType?
        /// Type of the embedding; nil is the target's choice.
        package var embedding: DType?
        /// Type of the towers' and projectors' matrices; nil keeps what they have.
        package var vision: DType?
        /// Whether matrices that are in a block format may be quantized again.
        package var requantizes = false
        package var importance: ImportanceMatrix?
        /// What messages call it.
        package var importanceFile = "importance matrix"

        package init() {}
    }

    /// A tensor's way from one type to another.
    package struct Step: Sendable {
        package let tensor: StoredTensor
        /// The new type; nil leaves the tensor as it is.
        package let type: DType?

        /// Bytes in the new file.
        package var byteCount: Int {
            guard let type, let columns = tensor.shape.last else { return tensor.byteCount }
            return tensor.shape.dropLast().reduce(1, *) * type.rowBytes(columns)
        }

        /// The new type's name.
        package var typeName: String { type?.rawValue ?? tensor.dtype.rawValue.lowercased() }
    }

    private let source: GGUF
    private let target: QuantizationTarget
    private let options: Options
    private let run: Run
    package let steps: [Step]
    /// Tensors that go in another type than the one wanted.
    package let fallbacks: [GGUFConverter.Fallback]

    private static let visionPrefixes = [
        "vision.", "vision_high.", "vision_low.", "vision_model.", "projector.", "aligner.", "v.", "mm.",
    ]
    /// Plans the file.
    ///
    /// - Throws: `ConvertError`.
    package init(
        _ path: String,
        to target: QuantizationTarget,
        _ options: Options = Options(),
        run: Run
    ) throws(ConvertError) {
        self.target = target
        self.options = options
        self.run = run
        do throws(FormatError) { source = try GGUF.open(path) } catch { throw .format(error) }
        let tensors = source.tensors
        try Self.check(tensors.map { ($0.name, $0.shape) }, options, path)
        let architecture = source["general.architecture"]?.asText ?? ""
        let model = QuantizationTarget.Model(
            layers: (tensors.compactMap { Self.layer($0.name) }.max() ?? -1) + 1,
            experts: source[architecture + ".expert_count"]?.asInt ?? 0,
            architecture: architecture,
            hasImportance: options.importance != nil
        )
        let hasHead = tensors.contains { $0.name == "output.weight" }
        var steps: [Step] = []
        var fallbacks: [GGUFConverter.Fallback] = []
        for tensor in tensors {
            var type: DType?
            if let wanted = try Self.wanted(tensor, target, options, model, hasHead: hasHead) {
                let stored = try Self.stored(
                    tensor,
                    path,
                    mayBeBlock: options.requantizes || tensor.dtype.rawValue.lowercased() == wanted.rawValue
                )
                let columns = tensor.shape.last ?? 1
                // Rows that no block fits go as float16, as llama.cpp has it.
                var got = WeightPolicy.fitting(wanted, columns: columns, else: .float16)
                var reason = "its rows of \(columns) are no whole blocks"
                if got == .float16, stored != .float16,
                    !Self.matrix(tensor, stored, got).fitsFloat16(run)
                {
                    got = stored
                    reason = (wanted == .float16 ? "" : reason + ", and ") + "it has values beyond 65504"
                }
                if got != wanted {
                    fallbacks.append(
                        GGUFConverter.Fallback(tensor: tensor.name, wanted: wanted, type: got, reason: reason)
                    )
                }
                type = got == stored ? nil : got
            }
            steps.append(Step(tensor: tensor, type: type))
        }
        (self.steps, self.fallbacks) = (steps, fallbacks)
    }

    /// Checks what is wanted of single tensors against those that there are.
    private static func check(
        _ tensors: [(name: String, shape: [Int])],
        _ options: Options,
        _ path: String
    ) throws(ConvertError) {
        for (pattern, _) in options.overrides {
            var isUsed = false
            for (name, shape) in tensors where isQuantizable(name, shape) && !isUsed {
                isUsed = try matches(pattern, name)
            }
            guard !isUsed else { continue }
            throw .source(
                file: path,
                expected: "a matrix whose name has a match of '\(pattern.source)', as --tensor-type says",
                found: "none"
            )
        }
        do throws(MeasureError) {
            try options.importance?.check(tensors, file: options.importanceFile)
        } catch {
            throw .importance(error)
        }
    }

    /// The type of a tensor that is to be encoded.
    private static func stored(
        _ tensor: StoredTensor,
        _ path: String,
        mayBeBlock: Bool
    ) throws(ConvertError) -> DType {
        guard let stored = DType(rawValue: tensor.dtype.rawValue.lowercased()) else {
            throw .source(
                file: path,
                expected: "a type that this program decodes for tensor '\(tensor.name)'",
                found: tensor.dtype.rawValue
            )
        }
        guard !stored.isBlock || mayBeBlock else {
            throw .source(
                file: path,
                expected:
                    "F32, BF16 or F16 for tensor '\(tensor.name)' (--allow-requantize quantizes codes again, at a loss)",
                found: tensor.dtype.rawValue
            )
        }
        return stored
    }

    /// The number in "blk.N.".
    private static func layer(_ name: String) -> Int? {
        name.hasPrefix("blk.") ? name.split(separator: ".").dropFirst().first.flatMap { Int($0) } : nil
    }

    private static func matrix(_ tensor: StoredTensor, _ stored: DType, _ type: DType) -> OutgoingMatrix {
        OutgoingMatrix(
            name: tensor.name,
            parts: [tensor],
            storedType: stored,
            type: type,
            shape: tensor.shape
        )
    }

    private static func matches(_ pattern: SearchPattern, _ name: String) throws(ConvertError) -> Bool {
        do throws(TokenizerError) { return try pattern.matches(name) } catch {
            throw .load(.tokenizer(description: error.description))
        }
    }

    /// Whether a tensor may have another type: norms, biases, gates and tables of positions stay.
    private static func isQuantizable(_ name: String, _ shape: [Int]) -> Bool {
        (shape.count == 2 || shape.count == 3 && name.hasPrefix("blk.")) && name.hasSuffix(".weight")
            && !name.hasSuffix("norm.weight") && !name.hasSuffix(".ffn_gate_inp.weight")
    }

    /// The type that a tensor is to have; nil leaves it as it is.
    private static func wanted(
        _ tensor: StoredTensor,
        _ target: QuantizationTarget,
        _ options: Options,
        _ model: QuantizationTarget.Model,
        hasHead: Bool
    ) throws(ConvertError) -> DType? {
        let name = tensor.name
        guard isQuantizable(name, tensor.shape) else { return nil }
        if name == "token_embd.weight", let type = options.embedding { return type }
        if name == "output.weight", let type = options.output { return type }
        for (pattern, type) in options.overrides where try matches(pattern, name) { return type }
        if visionPrefixes.contains(where: { name.hasPrefix($0) }) { return options.vision }
        let isHead = name == "output.weight" || !hasHead && name == "token_embd.weight"
        if isHead, let type = options.output { return type }
        return target.type(of: name, in: model, isHead: isHead)
    }

    /// Writes the file, which stands under its name only when it is whole; goes on with what a killed process has left of
    /// the same file.
    ///
    /// - Parameter onTensor: called with the number of tensors written so far.
    /// - Throws: `ConvertError.exists`, `.format`.
    package func write(
        _ target: String,
        replaces: Bool = false,
        onTensor: (Int) -> Void = { _ in }
    ) throws(ConvertError) {
        guard replaces || !FileContents.exists(target) else { throw .exists(file: target) }
        let stated: Set<String> = ["general.file_type", "general.quantization_version"]
        var metadata: [(key: String, value: GGUFWriter.Value)] = source.pairs
            .filter { !stated.contains($0.key) }
            .map { ($0.key, .copy(source, $0)) }
        metadata.append(("general.file_type", .uint32(self.target.fileType)))
        if steps.contains(where: { $0.type?.isBlock ?? $0.tensor.dtype.isBlock }) {
            metadata.append(("general.quantization_version", .uint32(2)))
        }
        do throws(FormatError) {
            try GGUFWriter.write(
                target,
                metadata: metadata,
                tensors: steps.map(outgoing),
                alignment: source.alignment,
                resuming: WriteJob.describe(
                    "quantize",
                    [source.file.path],
                    options.importance.map { "importance \($0.fingerprint)" } ?? ""
                ),
                onTensor: onTensor
            )
        } catch {
            throw .format(error)
        }
    }

    private func outgoing(_ step: Step) -> OutgoingTensor {
        let tensor = step.tensor
        guard let type = step.type, let stored = DType(rawValue: tensor.dtype.rawValue.lowercased()),
            let dtype = StoredDType(rawValue: type.rawValue.uppercased())
        else { return OutgoingTensor(tensor) }
        var matrix = Self.matrix(tensor, stored, type)
        matrix.importance = options.importance?.weights(of: tensor.name)
        return matrix.outgoing(run, dtype)
    }
}
