import VLJSON

/// Reads the JSON header of a safetensors file and checks every entry.
struct SafetensorsHeaderReader {
    /// The file's name, for errors.
    let file: String
    /// The data section's first byte in the file.
    let dataStart: Int
    /// The bytes of the data section.
    let dataBytes: Int

    /// An entry as it is written, before its values are held against each other.
    private struct RawEntry {
        var dtype: String?
        var shape: [Int]?
        var isRankTooBig = false
        var offsets: [Int]?
        var offsetCount = 0
    }

    /// The checked header, its tensors in the order of their bytes.
    func read(_ text: Span<UInt8>) throws(FormatError) -> Safetensors.Header {
        var header = Safetensors.Header(entries: [], metadata: [])
        // The header's limit is far below the scanner's, so this cannot fail; the error is kept all the same.
        var scanner: JSONScanner
        do { scanner = try JSONScanner(text) } catch { throw .header(file: file, error) }
        try json { () throws(JSONError) in try scanner.beginObject() }
        while let key = try json({ () throws(JSONError) in try scanner.nextKey() }) {
            if scanner.matches(key, "__metadata__") {
                header.metadata = try json { () throws(JSONError) in try readMetadata(&scanner) }
            } else {
                let raw = try json { () throws(JSONError) in try readEntry(&scanner) }
                header.entries.append(try check(raw, name: scanner.string(key)))
            }
        }
        try json { () throws(JSONError) in try scanner.finish() }
        try sortAndCheckCover(&header.entries)
        return header
    }

    private func readMetadata(
        _ scanner: inout JSONScanner
    ) throws(JSONError) -> [(key: String, value: String)] {
        var result: [(key: String, value: String)] = []
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            result.append((scanner.string(key), try scanner.readString()))
        }
        return result
    }

    private func readEntry(_ scanner: inout JSONScanner) throws(JSONError) -> RawEntry {
        var entry = RawEntry()
        try scanner.beginObject()
        while let field = try scanner.nextKey() {
            if scanner.matches(field, "dtype") {
                entry.dtype = try scanner.readString()
            } else if scanner.matches(field, "shape") {
                var shape: [Int] = []
                try scanner.beginArray()
                while try scanner.nextElement() {
                    let size = try scanner.readCount()
                    if shape.count < Safetensors.rankLimit {
                        shape.append(size)
                    } else {
                        entry.isRankTooBig = true
                    }
                }
                entry.shape = shape
            } else if scanner.matches(field, "data_offsets") {
                var offsets: [Int] = []
                try scanner.beginArray()
                while try scanner.nextElement() {
                    let offset = try scanner.readCount()
                    if offsets.count < 2 { offsets.append(offset) }
                    entry.offsetCount += 1
                }
                entry.offsets = offsets
            } else {
                try scanner.skipValue()
            }
        }
        return entry
    }

    /// Holds an entry's values against each other and against the data section.
    private func check(_ raw: RawEntry, name: String) throws(FormatError) -> TensorEntry {
        func refuse(_ fault: TensorFault) -> FormatError { .tensor(name, file: file, fault) }
        guard let dtypeName = raw.dtype else { throw refuse(.missingField("dtype")) }
        guard let dtype = StoredDType(rawValue: dtypeName), dtype.isSafetensors else {
            throw refuse(.unsupportedDType(dtypeName))
        }
        guard let shape = raw.shape else { throw refuse(.missingField("shape")) }
        guard !raw.isRankTooBig else { throw refuse(.rank(limit: Safetensors.rankLimit)) }
        guard let expected = dtype.byteCount(shape: shape) else {
            throw refuse(.sizeOverflow(shape: shape))
        }
        guard let offsets = raw.offsets else { throw refuse(.missingField("data_offsets")) }
        guard raw.offsetCount == 2 else { throw refuse(.offsetCount(raw.offsetCount)) }
        let (begin, end) = (offsets[0], offsets[1])
        guard begin <= end else { throw refuse(.reversed(begin: begin, end: end)) }
        guard end <= dataBytes else { throw refuse(.pastEnd(end: end, dataBytes: dataBytes)) }
        guard end - begin == expected else {
            throw refuse(
                .byteCount(expected: expected, found: end - begin, shape: shape, dtype: dtype)
            )
        }
        return TensorEntry(
            name: name,
            dtype: dtype,
            shape: shape,
            range: dataStart + begin..<dataStart + end
        )
    }

    /// Brings the entries into the order of their bytes and checks that they fill the data section.
    private func sortAndCheckCover(_ entries: inout [TensorEntry]) throws(FormatError) {
        entries.sort {
            ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
        }
        var end = dataStart
        for (index, entry) in entries.enumerated() {
            let begin = entry.range.lowerBound
            let (expected, found) = (end - dataStart, begin - dataStart)
            if begin > end {
                throw .tensor(entry.name, file: file, .hole(expected: expected, found: found))
            }
            // Sorted entries that cover all up to `end` can overlap only the one before.
            if begin < end {
                let other = entries[index - 1].name
                throw .tensor(
                    entry.name,
                    file: file,
                    .overlap(expected: expected, found: found, other: other)
                )
            }
            end = entry.range.upperBound
        }
        guard end - dataStart == dataBytes else {
            throw .dataSize(file: file, expected: end - dataStart, found: dataBytes)
        }
    }

    /// Runs a step of the scanner and gives its error the file's name.
    private func json<Result>(
        _ body: () throws(JSONError) -> Result
    ) throws(FormatError) -> Result {
        do {
            return try body()
        } catch {
            throw .header(file: file, error)
        }
    }
}
