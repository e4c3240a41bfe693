/// How large the activations are that each column of each weight meets: what a quantizer weighs its errors with.
///
/// Names are those of GGUF files, experts stacked; the file formats are llama.cpp's.
package struct ImportanceMatrix: Sendable, Equatable {
    /// What one tensor's products read.
    package struct Entry: Sendable, Equatable {
        /// Sums of squares over the rows that were read, matrix after matrix: of each expert, or of each head where a
        /// tensor has one matrix a head, `columns` values.
        package var sums: [Float]
        /// Rows that were read: of each expert, or a single number for all matrices.
        package var counts: [Int]

        /// - Precondition: a count, and as many sums for each.
        package init(sums: [Float], counts: [Int]) {
            precondition(
                !counts.isEmpty && !sums.isEmpty && sums.count % counts.count == 0,
                "sums of a count"
            )
            self.sums = sums
            self.counts = counts
        }

        /// Sums that share a count.
        var sumsPerCount: Int { sums.count / counts.count }

        /// Mean squares in the order of `sums`; 1 for matrices that nothing was read with, as llama.cpp has it.
        package var means: [Float] {
            sums.indices.map { index in
                let count = counts[index / sumsPerCount]
                return count > 0 ? sums[index] / Float(count) : 1
            }
        }
    }

    /// By the tensor's name.
    package var entries: [String: Entry]
    /// Chunks of calibration text that were read, and tokens of each.
    ///
    /// A file of the former format does not state the size: it is 0, and counts are chunks and not rows.
    package var chunkCount: Int
    package var chunkSize: Int
    /// Names of the calibration files.
    package var datasets: [String]

    package init(
        entries: [String: Entry] = [:],
        chunkCount: Int = 0,
        chunkSize: Int = 0,
        datasets: [String] = []
    ) {
        self.entries = entries
        self.chunkCount = chunkCount
        self.chunkSize = chunkSize
        self.datasets = datasets
    }

    /// Names of the tensors, sorted by their bytes.
    package var names: [String] { entries.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }

    /// Mean squares of what a tensor's columns meet, [columns], or [experts, columns] one after the other; nil if the
    /// matrix does not know the tensor.
    package func weights(of tensor: String) -> [Float]? { entries[tensor]?.means }

    /// A number that tells these weights from others, by chance.
    var fingerprint: UInt64 {
        var sum: UInt64 = 0
        func add(_ word: UInt64) { sum = (sum ^ word) &* 0x9e37_79b9_7f4a_7c15 ^ sum >> 29 }
        for name in names {
            for byte in name.utf8 { add(UInt64(byte)) }
            for value in weights(of: name) ?? [] { add(UInt64(value.bitPattern)) }
        }
        return sum
    }

    /// Experts that no row reached.
    package struct Unreached: Sendable, Equatable {
        /// The layer's number, -1 where the name has none.
        package let layer: Int
        /// Numbers of the experts, from 0.
        package let experts: [Int]
        /// How many the layer has.
        package let count: Int
    }

    /// The layers with experts that were never reached.
    package var unreached: [Unreached] {
        var found: [Int: Unreached] = [:]
        for (name, entry) in entries where entry.counts.count > 1 {
            let missing = entry.counts.indices.filter { entry.counts[$0] == 0 }
            let layer = Self.layer(name)
            // The matrices of an expert are reached together; a file made elsewhere may disagree: the most counts.
            if !missing.isEmpty, missing.count > found[layer]?.experts.count ?? 0 {
                found[layer] = Unreached(layer: layer, experts: missing, count: entry.counts.count)
            }
        }
        return found.values.sorted { $0.layer < $1.layer }
    }

    private static func layer(_ name: String) -> Int {
        let parts = name.split(separator: ".")
        return parts.count > 1 && parts[0] == "blk" ? Int(parts[1]) ?? -1 : -1
    }

    /// Adds what another matrix of the same model has seen.
    ///
    /// - Parameter file: what messages call the other one.
    /// - Throws: `MeasureError.otherModel` if a tensor has another size there.
    package mutating func add(_ other: ImportanceMatrix, file: String) throws(MeasureError) {
        var other = other
        if chunkSize == 0 && !entries.isEmpty { countRows(chunk: other.chunkSize) }
        if other.chunkSize == 0 { other.countRows(chunk: chunkSize) }
        for name in other.names {
            guard let new = other.entries[name] else { continue }
            guard var old = entries[name] else {
                entries[name] = new
                continue
            }
            // A file of the old format has one count for all experts.
            let counts = max(old.counts.count, new.counts.count)
            guard old.sums.count == new.sums.count, counts % old.counts.count == 0,
                counts % new.counts.count == 0,
                old.sums.count % counts == 0
            else {
                throw .otherModel(
                    file: file,
                    tensor: name,
                    expected: "\(old.sums.count) values with \(old.counts.count) counts",
                    found: "\(new.sums.count) with \(new.counts.count)"
                )
            }
            for index in old.sums.indices { old.sums[index] += new.sums[index] }
            old.counts = (0..<counts).map { index in
                let (sum, overflows) = old.counts[index * old.counts.count / counts].addingReportingOverflow(
                    new.counts[index * new.counts.count / counts]
                )
                return overflows ? Int.max : sum
            }
            entries[name] = old
        }
        chunkCount += other.chunkCount
        if chunkSize == 0 { chunkSize = other.chunkSize }
        datasets += other.datasets
    }

    /// Makes chunks that were counted rows, so that they weigh as much as those of other files.
    private mutating func countRows(chunk: Int) {
        let chunk = min(chunk, 1 << 24)
        guard chunk > 1 else { return }
        for (name, entry) in entries {
            entries[name]?.sums = entry.sums.map { $0 * Float(chunk) }
            entries[name]?.counts = entry.counts.map {
                $0.multipliedReportingOverflow(by: chunk).partialValue
            }
        }
    }

    /// Matrices that a tensor stacks, and the columns of each; nil for a scalar.
    ///
    /// A row of a convolution's kernels, [out, in, height, width], meets all of a patch.
    private static func columns(_ shape: [Int]) -> (matrices: Int, columns: Int)? {
        func product(_ sizes: ArraySlice<Int>) -> Int {
            sizes.reduce(1) { $0.multipliedReportingOverflow(by: $1).partialValue }
        }
        guard let last = shape.last else { return nil }
        return shape.count > 3 ? (1, product(shape.dropFirst())) : (product(shape.dropLast(2)), last)
    }

    /// Checks that the matrix can be one of a model.
    ///
    /// What it knows besides the layers (a vision tower's matrices, for a file without the tower) does not matter.
    ///
    /// - Parameters:
    ///   - tensors: the model's, with shapes outermost first.
    ///   - file: what messages call the matrix.
    /// - Throws: `MeasureError.otherModel` naming the first tensor that has another size or that the model lacks.
    package func check(
        _ tensors: some Swift.Sequence<(name: String, shape: [Int])>,
        file: String
    ) throws(MeasureError) {
        var known: Set<String> = []
        var matches = 0
        for (name, shape) in tensors {
            known.insert(name)
            guard let entry = entries[name], let (matrices, columns) = Self.columns(shape) else { continue }
            guard entry.sums.count == columns.multipliedReportingOverflow(by: matrices).partialValue else {
                throw .otherModel(
                    file: file,
                    tensor: name,
                    expected: matrices == 1
                        ? "\(columns) columns" : "\(matrices) matrices of \(columns) columns",
                    found: "\(entry.sums.count) values"
                )
            }
            matches += 1
        }
        guard matches > 0 else {
            throw .otherModel(
                file: file,
                tensor: names.first ?? "",
                expected: "tensors of the model",
                found: "none of its \(known.count) tensors"
            )
        }
        // One matrix in one file, two in another: the model is the same.
        let split = [".attn_kv_b.weight", ".attn_k_b.weight", ".attn_v_b.weight"]
        let stray = names.first { name in
            name.hasPrefix("blk.") && !known.contains(name) && !split.contains { name.hasSuffix($0) }
        }
        if let stray {
            throw .otherModel(file: file, tensor: stray, expected: "a tensor of the model", found: "none")
        }
    }
}
