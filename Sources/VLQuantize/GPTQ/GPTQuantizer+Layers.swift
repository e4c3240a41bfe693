import CVLKernels
import VLFormats
import VLModels
import VLTensor

/// The way through the layers.
extension GPTQuantizer {
    /// Quantizes all layers, or those that a process that was killed has left.
    ///
    /// - Parameters:
    ///   - target: the path of the result, beside which the layers are kept.
    ///   - sources: paths of the files that decide over it.
    ///   - onStep: called with (steps done, steps in all).
    ///   - write: makes the result of the layers' tensors.
    /// - Throws: `ConvertError`.
    func quantize(
        _ target: String,
        _ sources: [String],
        onStep: (Int, Int) -> Void,
        write: ([StoredTensor]) throws(FormatError) -> Void
    ) throws(ConvertError) {
        let isCalibrated = !options.roundsToNearest
        // A layer counts as much as its prompts pass it, plus as much again for what is done with the sums.
        let each = isCalibrated ? 2 * calibration.count + max(1, calibration.count / 2) : 1
        let parts: LayerParts
        do throws(FormatError) {
            parts = try LayerParts(of: target, job: WriteJob.describe("gptq", sources, job))
        } catch {
            throw .format(error)
        }
        let known = parts.layers(layerCount)
        resumedLayers = known.count
        var tensors: [StoredTensor] = []
        for index in 0..<layerCount {
            var done = index * each
            func count() {
                done += 1
                onStep(done, each * layerCount)
            }
            let overlay = SourceOverlay(source)
            let layer: LayerParts.Layer
            if index < known.count {
                layer = known[index]
                try restore(layer, into: overlay)
            } else {
                let made = try quantize(index, into: overlay, onPrompt: count)
                do throws(FormatError) {
                    layer = try parts.write(index, made.tensors, made.steps)
                } catch {
                    throw .format(error)
                }
            }
            steps += layer.steps
            tensors += layer.store.all
            if isCalibrated, index + 1 < layerCount {
                done = (index + 1) * each - calibration.count
                onStep(done, each * layerCount)
                calibration.pass(try stage(index, overlay), keeps: true, run, onPrompt: count)
            }
            onStep((index + 1) * each, each * layerCount)
        }
        do throws(FormatError) { try write(tensors) } catch { throw .format(error) }
    }

    /// What decides over the layers' bytes besides the source and the program.
    private var job: String {
        "\(options) \(form) \(run.compute) \(run.kernels.pointee.isa.rawValue) \(calibration.sum)"
    }

    /// Quantizes a layer; what its codes stand for goes into the overlay.
    private func quantize(
        _ index: Int,
        into overlay: SourceOverlay,
        onPrompt: () -> Void
    ) throws(ConvertError) -> (tensors: [OutgoingTensor], steps: [Step]) {
        let layer = try stage(index, source)
        let names = targets(layer)
        let collector = HessianCollector(layer.names, wanted: Set(names), run)
        if !options.roundsToNearest {
            run.observer = collector
            calibration.pass(layer, keeps: false, run, onPrompt: onPrompt)
            run.observer = nil
        }
        var (tensors, steps): ([OutgoingTensor], [Step]) = ([], [])
        var factor: (input: String, factor: FeedbackFactor?)?
        for name in Self.byInput(names) {
            let input = HessianCollector.input(of: name)
            if factor?.input != input {
                if let factor { collector.forget(factor.input) }
                factor = (input, try Self.factor(collector.hessian(of: name), name, options, run))
            }
            let reached = collector.hessian(of: name)?.rows ?? 0
            guard let (step, matrix) = try round(name, factor?.factor, reached, overlay) else { continue }
            steps.append(step)
            if let matrix { tensors += pack(matrix, name) }
        }
        return (tensors, steps)
    }

    /// A rounded matrix as the result has it.
    private func pack(_ matrix: RoundedMatrix, _ name: String) -> [OutgoingTensor] {
        switch form {
        case .packed:
            // Symmetric files have the zero less one, as all older programs read it; a zero of 0 has no such form.
            return PackedTensors.gptq(
                Self.stem(name),
                matrix,
                zeroOffset: options.isSymmetric ? 1 : 0,
                run
            )
        case .blocks:
            let blocks = PackedTensors.blocks(matrix, isSymmetric: options.isSymmetric, run)
            return [OutgoingTensor(name: name, dtype: .uint8, shape: [blocks.count], bytes: blocks)]
        }
    }

    /// Puts what the codes of a layer stand for into the overlay: the very values that they had when they were made.
    private func restore(_ layer: LayerParts.Layer, into overlay: SourceOverlay) throws(ConvertError) {
        for step in layer.steps {
            if case .kept = step.way { continue }
            let found = try GGUFConverter.loading { () throws(LoadError) in try source.tensor(step.name, []) }
            guard found.shape.count == 2, let (buffer, values) = Self.floats(found.shape) else { continue }
            switch form {
            case .packed:
                let matrix = try GGUFConverter.loading { () throws(LoadError) in
                    try PackedMatrix(step.name, found.shape, packedFormat(), layer.store)
                }
                run.pool.parallel(values.rows) { row in
                    matrix.writeValues(row: row, columns: 0..<values.columns, run, into: values[row: row])
                }
            case .blocks:
                let type = PackedTensors.blockType(isSymmetric: options.isSymmetric)
                let rowBytes = type.rowBytes(values.columns)
                guard let stored = layer.store.peek(step.name), stored.byteCount == values.rows * rowBytes,
                    let base = stored.bytes.baseAddress
                else {
                    throw .source(
                        file: layer.store.path,
                        expected: "\(values.rows * rowBytes) bytes for tensor '\(step.name)'",
                        found: "others"
                    )
                }
                run.pool.parallel(values.rows) { row in
                    run.decode(base + row * rowBytes, type, count: values.columns, into: values[row: row])
                }
            }
            overlay.replace(step.name, buffer, rows: values.rows, columns: values.columns)
        }
    }

    /// Memory for a matrix of float32; nil for one without elements.
    private static func floats(_ shape: [Int]) -> (buffer: WeightBuffer, values: Matrix)? {
        let count = shape[0] * shape[1]
        let buffer = WeightBuffer(byteCount: count * 4)
        guard let base = buffer.bytes.baseAddress else { return nil }
        let pointer = base.bindMemory(to: Float.self, capacity: count)
        return (buffer, Matrix(pointer, rows: shape[0], columns: shape[1]))
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

    /// Rounds a matrix, says how, and puts what became of it into the overlay.
    ///
    /// - Returns: no matrix if it stays as it is; nil for what is none.
    private func round(
        _ name: String,
        _ factor: FeedbackFactor?,
        _ reached: Int,
        _ overlay: SourceOverlay
    ) throws(ConvertError) -> (step: Step, matrix: RoundedMatrix?)? {
        let found = try GGUFConverter.loading { () throws(LoadError) in try source.tensor(name, []) }
        guard found.shape.count == 2 else { return nil }
        let (rows, columns) = (found.shape[0], found.shape[1])
        var step = Step(name: name, way: factor == nil ? .nearest : .feedback, rows: reached)
        if let obstacle = form.obstacle(rows: rows, columns: columns) {
            step.way = .kept(reason: obstacle)
            return (step, nil)
        }
        let short = columns % options.groupSize
        step.shortGroup = short == 0 ? nil : short
        guard let (buffer, values) = Self.floats(found.shape) else { return nil }
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
            return (step, nil)
        }
        // The values are no longer needed: what the codes stand for takes their place.
        run.pool.parallel(rows) { matrix.decode(row: $0, into: values[row: $0]) }
        overlay.replace(name, buffer, rows: rows, columns: columns)
        return (step, matrix)
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
