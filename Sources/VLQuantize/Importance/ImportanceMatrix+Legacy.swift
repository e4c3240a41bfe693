import VLFormats

/// The former format of llama.cpp (`.dat`), which its tools still read: no marks, numbers of 32 bits, little-endian.
///
///     entries
///     for each: length and bytes of the name, calls, number of values, mean squares times calls as float32
///     chunks, length and bytes of the data set's name         (not in the oldest files)
///
/// It has one count for all experts; those that were never reached have ones.
extension ImportanceMatrix {
    /// Reads the bytes of a file.
    ///
    /// - Throws: `MeasureError.matrix`.
    package static func parse(legacy bytes: [UInt8], file: String) throws(MeasureError) -> ImportanceMatrix {
        var reader = LegacyReader(bytes: bytes, file: file)
        let count = try reader.number("the number of tensors", 1...1_048_576)
        var matrix = ImportanceMatrix()
        for index in 0..<count {
            let place = "tensor \(index) of \(count)"
            let name = try reader.text("\(place): its name", 1...4096)
            let calls = try reader.number("'\(name)': the number of calls", 0...Int(Int32.max))
            let sums = try reader.floats("'\(name)'")
            try check(sums, "tensor '\(name)'", file)
            guard matrix.entries[name] == nil else {
                throw .matrix(
                    file: file,
                    place: "tensor '\(name)'",
                    expected: "each name once",
                    found: "it twice"
                )
            }
            // Without calls the sums are the means themselves.
            matrix.entries[name] = Entry(sums: sums, counts: [max(1, calls)])
        }
        guard !reader.isAtEnd else { return matrix }
        matrix.chunkCount = try reader.number("the number of chunks", 0...Int(Int32.max))
        if !reader.isAtEnd {
            let dataset = try reader.text("the data set's name", 0...1_048_576)
            if !dataset.isEmpty { matrix.datasets = [dataset] }
        }
        guard reader.isAtEnd else {
            throw .matrix(
                file: file,
                place: "byte \(reader.offset)",
                expected: "the end",
                found: "\(bytes.count - reader.offset) bytes more"
            )
        }
        return matrix
    }

    /// Writes the file; tensors of which no expert was reached are left out.
    ///
    /// - Throws: `MeasureError.matrix` for a number that 32 bits do not hold, `.format`.
    package func writeLegacy(_ path: String) throws(MeasureError) {
        let stored = names.filter { entries[$0]?.counts.contains { $0 > 0 } ?? false }
        var bytes: [UInt8] = []
        func append(_ number: Int, _ what: String) throws(MeasureError) {
            guard let number = Int32(exactly: number) else {
                throw .matrix(file: path, place: what, expected: "at most \(Int32.max)", found: "\(number)")
            }
            withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
        }
        try append(stored.count, "the number of tensors")
        let chunk = max(1, chunkSize)
        for name in stored {
            guard let entry = entries[name], let most = entry.counts.max() else { continue }
            try append(name.utf8.count, "a name's length")
            bytes.append(contentsOf: name.utf8)
            // Rounded up, so that no count becomes none; without a chunk's size the counts are calls already.
            let calls = most / chunk + (most % chunk == 0 ? 0 : 1)
            try append(calls, "'\(name)': the number of calls")
            try append(entry.sums.count, "'\(name)': the number of values")
            for mean in entry.means {
                let value = mean * Float(calls)
                withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
            }
        }
        try append(chunkCount, "the number of chunks")
        let dataset = datasets.last ?? ""
        try append(dataset.utf8.count, "the length of the data set's name")
        bytes.append(contentsOf: dataset.utf8)
        do throws(FormatError) {
            try AtomicFile.write(path, bytes)
        } catch {
            throw .format(error)
        }
    }
}

/// Reads numbers and texts of bytes that may end anywhere.
private struct LegacyReader {
    let bytes: [UInt8]
    let file: String
    var offset = 0

    init(bytes: [UInt8], file: String) {
        self.bytes = bytes
        self.file = file
    }

    var isAtEnd: Bool { offset == bytes.count }

    private func short(_ what: String, _ wanted: Int) -> MeasureError {
        .matrix(
            file: file,
            place: "byte \(offset)",
            expected: "\(wanted) bytes for \(what)",
            found: "\(bytes.count - offset): the file is truncated or no importance matrix"
        )
    }

    private mutating func word(_ what: String) throws(MeasureError) -> UInt32 {
        guard bytes.count - offset >= 4 else { throw short(what, 4) }
        defer { offset += 4 }
        return (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * $1) }
    }

    mutating func number(_ what: String, _ range: ClosedRange<Int>) throws(MeasureError) -> Int {
        let start = offset
        let value = Int(Int32(bitPattern: try word(what)))
        guard range.contains(value) else {
            throw .matrix(
                file: file,
                place: "byte \(start): \(what)",
                expected: "a number from \(range.lowerBound) to \(range.upperBound)",
                found: "\(value): damaged, or no importance matrix"
            )
        }
        return value
    }

    mutating func text(_ what: String, _ range: ClosedRange<Int>) throws(MeasureError) -> String {
        let count = try number("the length of \(what)", range)
        guard bytes.count - offset >= count else { throw short(what, count) }
        defer { offset += count }
        guard let text = String(validating: bytes[offset..<offset + count], as: UTF8.self) else {
            throw .matrix(
                file: file,
                place: "byte \(offset): \(what)",
                expected: "UTF-8",
                found: "other bytes"
            )
        }
        return text
    }

    mutating func floats(_ what: String) throws(MeasureError) -> [Float] {
        let count = try number("\(what): the number of values", 1...Int(Int32.max))
        guard (bytes.count - offset) / 4 >= count else { throw short("\(what): its values", 4 * count) }
        var values: [Float] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(Float(bitPattern: try word(what))) }
        return values
    }
}
