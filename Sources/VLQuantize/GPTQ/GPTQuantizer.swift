import VLEngine
import VLFormats
import VLJSON
import VLModels
import VLTensor

/// Quantizes a model to 4 bits with error feedback, layer by layer, and writes it in GPTQ's layout or as a GGUF file.
///
/// Each layer is calibrated with what the layers before it give when they are quantized already. One layer's Hessians and
/// float32 values are in memory at a time, beside the hidden states of the calibration.
package final class GPTQuantizer {
    /// How a matrix was rounded.
    package struct Step: Sendable {
        package enum Way: Sendable, Equatable {
            /// With error feedback.
            case feedback
            /// To the nearest, as too few rows, or none but zeros, reached it.
            case nearest
            /// Not at all: it is as it was.
            case kept(reason: String)
        }

        /// The name of its weights in a checkpoint.
        package let name: String
        package internal(set) var way: Way
        /// Rows of the calibration that reached it.
        package internal(set) var rows = 0
        /// Columns of its last group, if these are fewer than in others.
        package internal(set) var shortGroup: Int?
        /// What was added to the Hessian's diagonal, as a share of its mean.
        package internal(set) var damping: Double?
        /// The output's squared error as a share of the output's square: with feedback, and rounded to the nearest.
        package internal(set) var error: (feedback: Double, nearest: Double)?
    }

    let path: String
    let form: GPTQForm
    package let options: GPTQOptions
    let run: Run
    private let model: LoadedModel
    private let decoder: Decoder
    private let source: any WeightSource
    private let calibration: CalibrationRows
    /// What became of each matrix, in the order of the layers.
    package internal(set) var steps: [Step] = []
    /// Bytes of the tensors before and after.
    package internal(set) var bytes = (before: 0, after: 0)

    /// - Parameters:
    ///   - path: the model's folder or GGUF file.
    ///   - model: the same, loaded.
    ///   - blocks: whether a GGUF file is to be written.
    /// - Throws: `ConvertError` for a source that is quantized already.
    package init(
        _ path: String,
        _ model: LoadedModel,
        blocks: Bool,
        _ options: GPTQOptions,
        run: Run
    ) throws(ConvertError) {
        self.path = path
        self.model = model
        self.options = options
        self.run = run
        form = blocks ? .blocks : .packed
        guard let decoder = model.language as? Decoder else {
            throw .source(file: path, expected: "a model with decoder layers", found: "another one")
        }
        self.decoder = decoder
        source = try GGUFConverter.loading { () throws(LoadError) in try Registry.weights(of: path) }
        calibration = CalibrationRows(hidden: decoder.hiddenSize)
    }

    /// Refuses a source that is quantized already, before it is loaded.
    ///
    /// - Throws: `ConvertError`.
    package static func check(_ path: String) throws(ConvertError) {
        let model = try GGUFConverter.loading { () throws(LoadError) in try GGUFModel(at: path) }
        if let model {
            for tensor in model.gguf.entries
            where tensor.dtype.isBlock && tensor.name.hasPrefix("blk.") && tensor.shape.count > 1 {
                throw .source(
                    file: path,
                    expected: "F32, BF16 or F16 for tensor '\(tensor.name)'",
                    found: "\(tensor.dtype.rawValue): it is quantized already"
                )
            }
            return
        }
        let folder = try GGUFConverter.loading { () throws(LoadError) in try ModelFolder(path) }
        guard folder.config["quantization_config"] == nil || folder.config.isNull("quantization_config")
        else {
            throw .source(
                file: "config.json",
                expected: "a checkpoint of floating-point numbers",
                found: "'quantization_config': it is quantized already"
            )
        }
    }

    /// Adds a prompt to the calibration.
    ///
    /// - Throws: `ConvertError.calibration`.
    package func calibrate(with prompt: PreparedPrompt) throws(ConvertError) {
        do throws(MeasureError) {
            try calibration.add(prompt, model, run)
        } catch {
            throw .calibration(error)
        }
    }

    /// Rows of the calibration.
    package var calibrationRows: Int { calibration.rows }
    /// Prompts of the calibration.
    package var calibrationPrompts: Int { calibration.count }
    /// Bytes of the calibration's hidden states.
    package var calibrationBytes: Int { calibration.byteCount }
    /// Layers of the model.
    package var layerCount: Int { decoder.layerCount }

    /// Most bytes that the Hessians of one layer and the factor of one of them take.
    ///
    /// - Throws: `ConvertError`.
    package func hessianBytes() throws(ConvertError) -> Int {
        guard !options.roundsToNearest else { return 0 }
        var most = 0
        for index in 0..<layerCount {
            let layer = try stage(index, source)
            var sizes: [String: Int] = [:]
            for name in targets(layer) {
                let found = try GGUFConverter.loading { () throws(LoadError) in try source.tensor(name, []) }
                sizes[HessianCollector.input(of: name)] = found.shape.last ?? 0
            }
            let sum = sizes.values.reduce(0) { $0 + InputHessian.byteCount($1) }
            most = max(most, sum + FeedbackFactor.byteCount(sizes.values.max() ?? 0))
        }
        return most
    }

    private func stage(_ index: Int, _ source: any WeightSource) throws(ConvertError) -> DecoderStage {
        try GGUFConverter.loading { () throws(LoadError) in
            try DecoderStage(decoder, index, source, cacheType: decoder.cacheType(nil, run), run)
        }
    }

    /// The matrices of a layer that are quantized.
    private func targets(_ layer: DecoderStage) -> [String] {
        layer.names.filter { name in
            if name.hasSuffix(".mlp.gate.weight") { return false }
            // Latent attention multiplies them from both sides, which blocks do not allow.
            let folded = ["kv_b_proj", "k_b_proj", "v_b_proj"].contains { name.hasSuffix(".\($0).weight") }
            return form == .packed || !folded
        }
    }

    /// Quantizes all layers.
    ///
    /// - Parameters:
    ///   - onStep: called with (steps done, steps in all).
    ///   - store: takes a layer's rounded matrices, by names.
    /// - Throws: `ConvertError`.
    func quantize(
        onStep: (Int, Int) -> Void,
        store: (Int, [(name: String, matrix: RoundedMatrix)]) throws(ConvertError) -> Void
    ) throws(ConvertError) {
        let isCalibrated = !options.roundsToNearest
        // A layer counts as much as its prompts pass it, plus as much again for what is done with the sums.
        let each = isCalibrated ? 2 * calibration.count + max(1, calibration.count / 2) : 1
        let total = each * layerCount
        for index in 0..<layerCount {
            var done = index * each
            func count() {
                done += 1
                onStep(done, total)
            }
            let layer = try stage(index, source)
            let names = targets(layer)
            let collector = HessianCollector(layer.names, wanted: Set(names), run)
            if isCalibrated {
                run.observer = collector
                calibration.pass(layer, keeps: false, run, onPrompt: count)
                run.observer = nil
            }
            let overlay = SourceOverlay(source)
            var rounded: [(name: String, matrix: RoundedMatrix)] = []
            var factor: (input: String, factor: FeedbackFactor?)?
            for name in Self.byInput(names) {
                let input = HessianCollector.input(of: name)
                if factor?.input != input {
                    if let factor { collector.forget(factor.input) }
                    factor = (input, try Self.factor(collector.hessian(of: name), name, options, run))
                }
                let reached = collector.hessian(of: name)?.rows ?? 0
                if let matrix = try round(name, factor?.factor, reached, overlay) {
                    rounded.append((name, matrix))
                }
            }
            if isCalibrated, index + 1 < layerCount {
                done = index * each + each - calibration.count
                onStep(done, total)
                calibration.pass(try stage(index, overlay), keeps: true, run, onPrompt: count)
            }
            try store(index, rounded)
            onStep((index + 1) * each, total)
        }
    }

    /// Names with those that read the same input side by side.
    private static func byInput(_ names: [String]) -> [String] {
        var inputs: [String: [String]] = [:]
        for name in names { inputs[HessianCollector.input(of: name), default: []].append(name) }
        return names.flatMap { inputs.removeValue(forKey: HessianCollector.input(of: $0)) ?? [] }
    }

    /// The factor of a Hessian; nil if that says nothing.
    private static func factor(
        _ hessian: InputHessian?,
        _ name: String,
        _ options: GPTQOptions,
        _ run: Run
    ) throws(ConvertError) -> FeedbackFactor? {
        guard let hessian else { return nil }
        for column in 0..<hessian.size where !hessian.sums[row: column][column].isFinite {
            throw .calibration(.notFinite(tensor: name))
        }
        guard hessian.rows >= options.leastRows else { return nil }
        let natural = options.order == .natural ? (0..<Int32(hessian.size)).map { $0 } : nil
        return FeedbackFactor(hessian, damping: options.damping, order: natural, run)
    }

    /// Rounds a matrix, notes how, and puts what became of it into the overlay; nil if it stays as it is.
    private func round(
        _ name: String,
        _ factor: FeedbackFactor?,
        _ reached: Int,
        _ overlay: SourceOverlay
    ) throws(ConvertError) -> RoundedMatrix? {
        let found = try GGUFConverter.loading { () throws(LoadError) in try source.tensor(name, []) }
        guard found.shape.count == 2 else { return nil }
        let (rows, columns) = (found.shape[0], found.shape[1])
        var step = Step(name: name, way: factor == nil ? .nearest : .feedback, rows: reached)
        defer { steps.append(step) }
        if let obstacle = form.obstacle(rows: rows, columns: columns) {
            step.way = .kept(reason: obstacle)
            return nil
        }
        let short = columns % options.groupSize
        step.shortGroup = short == 0 ? nil : short
        let buffer = WeightBuffer(byteCount: rows * columns * 4)
        guard let base = buffer.bytes.baseAddress else { return nil }
        let values = Matrix(
            base.bindMemory(to: Float.self, capacity: rows * columns),
            rows: rows,
            columns: columns
        )
        try read(found, name, into: values)
        source.release(name)
        let grid = form.grid(isSymmetric: options.isSymmetric)
        let matrix: RoundedMatrix
        if let factor {
            matrix = ErrorFeedback(values, factor, grid, options, run).round()
            step.damping = factor.damping
            if let errors = matrix.errors, errors.whole > 0 {
                step.error = (errors.rounded / errors.whole, errors.nearest / errors.whole)
            }
        } else {
            matrix = RoundedMatrix.nearest(values, grid, groupSize: options.groupSize, run)
        }
        guard matrix.isFinite else {
            step.way = .kept(reason: "it has values that no scale in float16 covers")
            return nil
        }
        // The values are no longer needed: what the codes stand for takes their place.
        run.pool.parallel(rows) { matrix.decode(row: $0, into: values[row: $0]) }
        overlay.replace(name, buffer, rows: rows, columns: columns)
        return matrix
    }

    private func read(_ found: SourceTensor, _ name: String, into values: Matrix) throws(ConvertError) {
        guard !found.type.isBlock else {
            throw .source(
                file: found.file,
                expected: "F32, BF16 or F16 for tensor '\(name)'",
                found: "\(found.type.rawValue): it is quantized already"
            )
        }
        let rowBytes = found.type.rowBytes(values.columns)
        let isFinite = withUnsafeTemporaryAllocation(of: Bool.self, capacity: values.rows) { isFinite in
            guard let flags = isFinite.baseAddress else { return true }
            nonisolated(unsafe) let marks = flags
            run.pool.parallel(values.rows) { row in
                let target = values[row: row]
                run.decode(found.pointer + row * rowBytes, found.type, count: values.columns, into: target)
                marks[row] = UnsafeBufferPointer(start: target, count: values.columns).allSatisfy(\.isFinite)
            }
            return (0..<values.rows).allSatisfy { marks[$0] }
        }
        guard isFinite else {
            throw .source(
                file: found.file,
                expected: "finite numbers in tensor '\(name)'",
                found: "others"
            )
        }
    }
}
