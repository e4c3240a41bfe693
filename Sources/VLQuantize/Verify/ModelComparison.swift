import VLEngine
import VLModels
import VLTensor

/// A model that is compared, and what runs it.
package struct ComparedModel {
    /// What tables call it.
    package let name: String
    package let loaded: LoadedModel
    package let generator: Generator

    package init(name: String, loaded: LoadedModel, generator: Generator) {
        self.name = name
        self.loaded = loaded
        self.generator = generator
    }
}

/// Runs the same prompts through two models and measures how far apart they are, layer by layer and in the end.
///
/// Everything is summed in float64 in the order of the prompts and rows; threads share rows. So a comparison has the same
/// numbers for any number of threads.
package struct ModelComparison {
    private let a: ComparedModel
    private let b: ComparedModel
    package private(set) var differences = Differences()

    /// - Throws: `MeasureError.models` for models of another vocabulary, width or depth.
    package init(_ a: ComparedModel, _ b: ComparedModel) throws(MeasureError) {
        self.a = a
        self.b = b
        let pairs = [
            ("vocabulary", a.loaded.language.vocabularySize, b.loaded.language.vocabularySize),
            ("width", a.loaded.language.hiddenSize, b.loaded.language.hiddenSize),
            ("layers", Self.layers(a), Self.layers(b)),
        ]
        for (what, expected, found) in pairs where expected != found {
            throw .models(
                what: "\(b.name): \(what)",
                expected: "\(expected) as in \(a.name)",
                found: "\(found): another model"
            )
        }
    }

    private static func layers(_ model: ComparedModel) -> Int {
        model.loaded.language.cacheLayout(.float32).layers
    }

    /// Compares the models on a prompt.
    ///
    /// - Parameters:
    ///   - first: the prompt as the first model's processor makes it.
    ///   - second: as the second's does.
    ///   - scoredFrom: the first token whose prediction is compared, with all that follow it.
    /// - Throws: `MeasureError.models` if the prompts differ, `.notFinite`, `.engine`.
    package mutating func add(
        _ first: PreparedPrompt,
        _ second: PreparedPrompt,
        scoredFrom: Int
    ) throws(MeasureError) {
        if let place = zip(first.ids, second.ids).enumerated().first(where: { $0.element.0 != $0.element.1 })?
            .offset
            ?? (first.ids.count == second.ids.count ? nil : min(first.ids.count, second.ids.count))
        {
            throw .models(
                what: "\(b.name): token \(place) of a prompt",
                expected: place < first.ids.count
                    ? "\(first.ids[place]) as in \(a.name)" : "the end as in \(a.name)",
                found: place < second.ids.count ? "\(second.ids[place]): another tokenizer" : "the end"
            )
        }
        let left = try Self.trace(a, first)
        let right = try Self.trace(b, second)
        for name in left.names where name != "inputs_embeds" && name != "final_norm" {
            guard let stage = Differences.Stage(traced: name) else { continue }
            try compare(name, stage, left, right)
        }
        try compare("final_norm", .finalNorm, left, right)
        try predictions(first.ids, from: scoredFrom, left, right)
        differences.prompts += 1
    }

    /// Everything that a model computes on the way.
    private static func trace(_ model: ComparedModel, _ prompt: PreparedPrompt) throws(MeasureError) -> Trace
    {
        let run = model.generator.run
        let trace = Trace()
        var options = GenerationOptions()
        options.maxTokens = 0
        options.chunkSize = 512
        let sequence: Sequence
        do throws(EngineError) {
            sequence = try model.generator.sequence(prompt, options)
        } catch {
            throw .engine(error)
        }
        let before = run.trace
        run.trace = trace
        defer { run.trace = before }
        model.generator.generate([sequence]) { _ in true }
        return trace
    }

    /// Compares two traced tensors row by row.
    private mutating func compare(
        _ name: String,
        _ stage: Differences.Stage,
        _ left: Trace,
        _ right: Trace
    ) throws(MeasureError) {
        guard let first = left.entries[name], let second = right.entries[name], first.shape == second.shape
        else {
            throw .models(
                what: "\(b.name): '\(name)'",
                expected: "the shape \(left.entries[name]?.shape ?? []) as in \(a.name)",
                found: "\(right.entries[name]?.shape ?? [])"
            )
        }
        let columns = first.shape.last ?? 0
        guard columns > 0 else { return }
        let rows = first.values.count / columns
        let found = parallel(rows) { row in
            first.values.withUnsafeBufferPointer { first in
                second.values.withUnsafeBufferPointer { second in
                    RowDifference(
                        UnsafeBufferPointer(rebasing: first[row * columns..<(row + 1) * columns]),
                        UnsafeBufferPointer(rebasing: second[row * columns..<(row + 1) * columns])
                    )
                }
            }
        }
        for row in found {
            guard row.isFinite else { throw .notFinite(tensor: "\(a.name) or \(b.name): \(stage.name)") }
            differences.add(row, to: stage)
        }
    }

    /// Values of `body` for each row, computed on all threads.
    private func parallel<Value: Sendable>(_ count: Int, _ body: (Int) -> Value) -> [Value] {
        [Value](unsafeUninitializedCapacity: count) { buffer, initialized in
            guard let base = buffer.baseAddress else { return }
            nonisolated(unsafe) let target = base
            a.generator.run.pool.parallel(count) { (target + $0).initialize(to: body($0)) }
            initialized = count
        }
    }

    /// Compares what the models predict for the tokens from `scoredFrom` on.
    private mutating func predictions(
        _ ids: [Int32],
        from scoredFrom: Int,
        _ left: Trace,
        _ right: Trace
    ) throws(MeasureError) {
        guard let first = left.entries["final_norm"], let second = right.entries["final_norm"] else { return }
        let width = a.loaded.language.hiddenSize
        // A vocabulary's logits for all rows at once would take more memory than the model.
        let step = 32
        let start = max(1, scoredFrom)
        for from in stride(from: start, to: ids.count, by: step) {
            let targets = Array(ids[from..<min(ids.count, from + step)])
            let rows = from - 1..<from - 1 + targets.count
            let found = a.generator.run.scoped {
                b.generator.run.scoped {
                    let mine = Self.logits(a, first.values, rows, width)
                    let other = Self.logits(b, second.values, rows, width)
                    return parallel(targets.count) { row in
                        PredictionDifference(
                            UnsafeBufferPointer(start: mine[row: row], count: mine.columns),
                            UnsafeBufferPointer(start: other[row: row], count: other.columns),
                            target: Int(targets[row])
                        )
                    }
                }
            }
            for prediction in found {
                guard prediction.isFinite else {
                    throw .notFinite(tensor: "\(a.name) or \(b.name): the logits")
                }
                differences.add(prediction)
            }
        }
    }

    /// Logits of some rows, in the workspace of the model's run.
    private static func logits(
        _ model: ComparedModel,
        _ normed: [Float],
        _ rows: Range<Int>,
        _ width: Int
    ) -> Matrix {
        let run = model.generator.run
        let x = run.workspace.matrix(rows.count, width)
        normed.withUnsafeBufferPointer { values in
            guard let base = values.baseAddress else { return }
            x.pointer.update(from: base + rows.lowerBound * width, count: rows.count * width)
        }
        return model.loaded.language.logits(x, run)
    }
}

/// How far apart two rows are.
struct RowDifference: Sendable {
    /// |a - b| / |a|; 0 if both are zeros.
    let relative: Double
    /// a · b / (|a| |b|); 1 if both are zeros.
    let cosine: Double

    init(_ a: UnsafeBufferPointer<Float>, _ b: UnsafeBufferPointer<Float>, centered: Bool = false) {
        var (meanA, meanB) = (0.0, 0.0)
        if centered {
            for index in a.indices {
                meanA += Double(a[index])
                meanB += Double(b[index])
            }
            meanA /= Double(a.count)
            meanB /= Double(a.count)
        }
        var (squareA, squareB, product, difference) = (0.0, 0.0, 0.0, 0.0)
        for index in a.indices {
            let x = Double(a[index]) - meanA
            let y = Double(b[index]) - meanB
            squareA += x * x
            squareB += y * y
            product += x * y
            difference += (x - y) * (x - y)
        }
        // Of a row of zeros there is no share: what the other one has is all of it.
        relative = squareA > 0 ? (difference / squareA).squareRoot() : difference > 0 ? 1 : difference
        let size = (squareA * squareB).squareRoot()
        cosine = size > 0 ? min(1, product / size) : difference == 0 ? 1 : product
    }

    var isFinite: Bool { relative.isFinite && cosine.isFinite }
}
