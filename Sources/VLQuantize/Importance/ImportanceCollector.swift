import VLEngine
import VLModels
import VLTensor

/// Collects an importance matrix while a model runs.
///
/// Sums are float64 and are added row by row in the order of the products, threads sharing columns, so that the result
/// has the same bits for any number of threads.
package final class ImportanceCollector: ProductObserver {
    /// What the products with one matrix read.
    private final class Slot {
        let tensor: String
        let expert: Int?
        var sums: [Double] = []
        var rows = 0

        init(_ place: GGUFNames.Place) {
            tensor = place.name
            expert = place.slice
        }
    }

    private let slots: [Slot?]
    private let pool: ThreadPool
    /// Whether all rows of a prompt pass the output head.
    private let seesOutput: Bool
    /// Tokens that passed the language model.
    package private(set) var tokens = 0
    /// Prompts that were seen.
    package private(set) var prompts = 0

    /// - Parameters:
    ///   - matrices: names of the model's matrices, `LoadedModel.weightNames`.
    ///   - pool: the threads that add.
    ///   - output: whether the output head is measured too; llama.cpp's default is not to.
    package init(_ matrices: [String], pool: ThreadPool, output: Bool = false) {
        slots = matrices.map { name in
            ImportanceNames.isOutput(name) && !output ? nil : Slot(ImportanceNames.place(of: name))
        }
        self.pool = pool
        seesOutput = output
    }

    package func product(reads input: Matrix, with weight: WeightMatrix) {
        guard let origin = weight.origin, let slot = slots[Int(origin.index)], input.rows > 0 else { return }
        // A product with some of a tensor's rows is that of one head: each has sums of its own.
        let part = Int(origin.firstRow) / max(1, weight.rows)
        let columns = input.columns
        if slot.sums.count < (part + 1) * columns {
            slot.sums += [Double](repeating: 0, count: (part + 1) * columns - slot.sums.count)
        }
        if part == 0 { slot.rows += input.rows }
        slot.sums.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            nonisolated(unsafe) let sums = base + part * columns
            pool.ranges(columns, grain: max(1, 65536 / input.rows)) { range in
                for row in 0..<input.rows {
                    let values = input[row: row]
                    for column in range {
                        let value = Double(values[column])
                        sums[column] += value * value
                    }
                }
            }
        }
    }

    /// Runs a prompt through a model and collects what its products read.
    ///
    /// - Returns: false if `onTokens` stopped it; what was collected up to there stays.
    /// - Throws: `MeasureError.engine` for a prompt that does not fit the model.
    package func see(
        _ prompt: PreparedPrompt,
        _ generator: Generator,
        onTokens: (Int) -> Bool = { _ in true }
    ) throws(MeasureError) -> Bool {
        var options = GenerationOptions()
        options.maxTokens = 0
        options.chunkSize = 512
        if seesOutput { options.scoredFrom = 1 }
        let sequence: Sequence
        do throws(EngineError) {
            sequence = try generator.sequence(prompt, options)
        } catch {
            throw .engine(error)
        }
        let before = generator.run.observer
        generator.run.observer = self
        defer { generator.run.observer = before }
        generator.generate([sequence]) { event in
            guard case .tokensPrefilled(let done, _) = event else { return true }
            return onTokens(done)
        }
        guard sequence.finish != .cancelled else { return false }
        tokens += prompt.ids.count
        prompts += 1
        return true
    }

    /// What was collected.
    ///
    /// - Parameters:
    ///   - chunkSize: tokens of a chunk.
    ///   - datasets: names of the calibration files.
    /// - Throws: `MeasureError.notFinite`.
    package func matrix(chunkSize: Int, datasets: [String]) throws(MeasureError) -> ImportanceMatrix {
        var experts: [String: Int] = [:]
        var widths: [String: Int] = [:]
        for case let slot? in slots {
            if let expert = slot.expert { experts[slot.tensor] = max(experts[slot.tensor] ?? 0, expert + 1) }
            widths[slot.tensor] = max(widths[slot.tensor] ?? 0, slot.sums.count)
        }
        var matrix = ImportanceMatrix(
            chunkCount: (tokens + chunkSize - 1) / max(1, chunkSize),
            chunkSize: chunkSize,
            datasets: datasets
        )
        for case let slot? in slots {
            guard let width = widths[slot.tensor], width > 0 else { continue }
            guard slot.sums.allSatisfy(\.isFinite) else { throw .notFinite(tensor: slot.tensor) }
            // Beyond float32 the sum of squares is as good as no number.
            let sums = slot.sums.map { Float($0) }
            guard sums.allSatisfy(\.isFinite) else { throw .notFinite(tensor: slot.tensor) }
            guard let expert = slot.expert, let count = experts[slot.tensor] else {
                matrix.entries[slot.tensor] = ImportanceMatrix.Entry(sums: sums, counts: [slot.rows])
                continue
            }
            var entry =
                matrix.entries[slot.tensor]
                ?? ImportanceMatrix.Entry(
                    sums: [Float](repeating: 0, count: count * width),
                    counts: [Int](repeating: 0, count: count)
                )
            for (index, sum) in sums.enumerated() { entry.sums[expert * width + index] = sum }
            entry.counts[expert] = slot.rows
            matrix.entries[slot.tensor] = entry
        }
        return matrix
    }
}
