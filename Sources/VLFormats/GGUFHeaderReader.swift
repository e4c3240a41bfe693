import VLJSON

/// Reads the header of a GGUF file, pair by pair and record by record, and checks all of it.
///
/// Nothing is reserved on the strength of a count: arrays grow by what was really read.
struct GGUFHeaderReader: ~Escapable {
    private let bytes: Span<UInt8>
    /// The file's name, for errors.
    private let file: String
    private var offset = 0

    @_lifetime(copy bytes)
    init(_ bytes: Span<UInt8>, file: String) {
        self.bytes = bytes
        self.file = file
    }

    private func refuse(_ fault: GGUFFault) -> FormatError { .gguf(file: file, fault) }

    mutating func read() throws(FormatError) -> GGUF.Header {
        var header = GGUF.Header()
        header.version = try readVersion()
        let tensors = try readCount("tensors", least: 24, limit: GGUF.tensorLimit)
        let pairs = try readCount("pairs of metadata", least: 13, limit: GGUF.pairLimit)
        var keys: Set<ExactString> = []
        for index in 0..<pairs {
            let pair = try readPair(index)
            guard keys.insert(ExactString(pair.key)).inserted else {
                throw refuse(.metadata(key: pair.key, .duplicate))
            }
            if pair.key == GGUF.alignmentKey { header.alignment = try alignment(pair) }
            header.pairs.append(pair)
        }
        var records: [Record] = []
        var names: Set<ExactString> = []
        for index in 0..<tensors {
            let record = try readRecord(index)
            guard names.insert(ExactString(record.name)).inserted else {
                throw .tensor(record.name, file: file, .duplicate)
            }
            records.append(record)
        }
        let (start, overflows) = offset.addingReportingOverflow(header.alignment - 1)
        guard !overflows else { throw refuse(.alignment("\(header.alignment)")) }
        header.dataStart = start / header.alignment * header.alignment
        guard records.isEmpty || header.dataStart <= bytes.count else {
            throw refuse(.truncated("the tensors' bytes", at: header.dataStart, needed: 0, found: 0))
        }
        header.entries = try place(records, header)
        return header
    }

    // MARK: Parts

    private mutating func readVersion() throws(FormatError) -> Int {
        guard bytes.count >= 4 else { throw .tooShort(file: file, expected: 24, found: bytes.count) }
        for (index, byte) in GGUF.magic.enumerated() where bytes[index] != byte {
            throw refuse(.magic((0..<4).map { bytes[$0] }))
        }
        guard bytes.count >= 24 else { throw .tooShort(file: file, expected: 24, found: bytes.count) }
        offset = 4
        let version = try readNumber(UInt32.self, "the version")
        guard (2...3).contains(version) else {
            throw refuse((2...3).contains(version.byteSwapped) ? .bigEndian : .version(version))
        }
        return Int(version)
    }

    /// A count of things that take at least `least` bytes each.
    private mutating func readCount(
        _ what: String,
        least: Int,
        limit: Int
    ) throws(FormatError) -> Int {
        let count = try readNumber(UInt64.self, "the number of \(what)")
        let room = (bytes.count - offset) / least
        guard count <= UInt64(min(room, limit)) else {
            throw refuse(.count(what, limit: min(room, limit), found: count))
        }
        return Int(count)
    }

    private mutating func readPair(_ index: Int) throws(FormatError) -> GGUF.Pair {
        let key = try readText("key \(index) of the metadata", limit: GGUF.keyLimit)
        guard !key.isEmpty else { throw refuse(.metadata(key: key, .emptyKey(index))) }
        let type = try readType(key)
        guard type == .array else {
            let range = try readValue(type, key)
            return GGUF.Pair(key: key, type: type, element: type, count: 1, range: range)
        }
        let element = try readType(key)
        guard element != .array else { throw refuse(.metadata(key: key, .nested)) }
        let count = try readNumber(UInt64.self, "the length of '\(key.excerpt())'")
        let room = (bytes.count - offset) / element.leastBytes
        guard count <= UInt64(room) else {
            throw refuse(.metadata(key: key, .arrayLength(limit: room, found: count)))
        }
        let start = offset
        switch element {
        case .string: for _ in 0..<Int(count) { _ = try skipText(key) }
        case .bool: for _ in 0..<Int(count) { _ = try readValue(.bool, key) }
        default: offset += Int(count) * element.leastBytes
        }
        return GGUF.Pair(key: key, type: type, element: element, count: Int(count), range: start..<offset)
    }

    private mutating func readType(_ key: String) throws(FormatError) -> GGUFType {
        let number = try readNumber(UInt32.self, "the type of '\(key.excerpt())'")
        guard let type = GGUFType(rawValue: number) else {
            throw refuse(.metadata(key: key, .unknownType(number)))
        }
        return type
    }

    /// The place of a value that is no array.
    private mutating func readValue(_ type: GGUFType, _ key: String) throws(FormatError) -> Range<Int> {
        if type == .string {
            let range = try skipText(key)
            guard String(validating: range, of: bytes) != nil else {
                throw refuse(.metadata(key: key, .notUTF8))
            }
            return range
        }
        try need(type.leastBytes, "the value of '\(key.excerpt())'")
        let start = offset
        if type == .bool, bytes[start] > 1 { throw refuse(.metadata(key: key, .bool(bytes[start]))) }
        offset += type.leastBytes
        return start..<offset
    }

    private func alignment(_ pair: GGUF.Pair) throws(FormatError) -> Int {
        guard pair.type == .uint32 else { throw refuse(.alignment("a value of type \(pair.type.name)")) }
        var value = 0
        for index in 0..<4 { value |= Int(bytes[pair.range.lowerBound + index]) << (8 * index) }
        guard value > 0, value & (value - 1) == 0 else { throw refuse(.alignment("\(value)")) }
        return value
    }

    // MARK: Tensors

    /// A tensor's record before its place is checked.
    private struct Record {
        let name: String
        let dtype: StoredDType
        let shape: [Int]
        let byteCount: Int
        let offset: UInt64
    }

    private mutating func readRecord(_ index: Int) throws(FormatError) -> Record {
        let name = try readText("the name of tensor \(index)", limit: GGUF.nameLimit)
        func refuse(_ fault: TensorFault) -> FormatError { .tensor(name, file: file, fault) }
        let rank = try readNumber(UInt32.self, "the record of tensor \(index)")
        guard rank <= UInt32(GGUF.rankLimit) else { throw refuse(.rank(limit: GGUF.rankLimit)) }
        var shape: [Int] = []
        for _ in 0..<rank {
            let size = try readNumber(UInt64.self, "the record of tensor \(index)")
            guard let size = Int(exactly: size) else { throw refuse(.dimension(size)) }
            shape.append(size)
        }
        // The file has the innermost first.
        shape.reverse()
        let number = try readNumber(UInt32.self, "the record of tensor \(index)")
        guard let dtype = StoredDType(ggufNumber: number) else { throw refuse(.unknownType(number)) }
        if dtype.isBlock, let row = shape.last, row % dtype.blockSize != 0 {
            throw refuse(.wholeBlocks(dtype: dtype, row: row))
        }
        guard let byteCount = dtype.byteCount(shape: shape) else {
            throw refuse(.sizeOverflow(shape: shape))
        }
        let offset = try readNumber(UInt64.self, "the record of tensor \(index)")
        return Record(name: name, dtype: dtype, shape: shape, byteCount: byteCount, offset: offset)
    }

    /// Checks the records' places and makes entries of them.
    private func place(_ records: [Record], _ header: GGUF.Header) throws(FormatError) -> [TensorEntry] {
        var entries: [TensorEntry] = []
        let dataBytes = max(0, bytes.count - header.dataStart)
        for record in records {
            func refuse(_ fault: TensorFault) -> FormatError { .tensor(record.name, file: file, fault) }
            guard record.offset <= UInt64(dataBytes) else {
                throw refuse(.pastEnd(end: Int(clamping: record.offset), dataBytes: dataBytes))
            }
            let begin = Int(record.offset)
            guard begin % header.alignment == 0 else {
                throw refuse(.misaligned(offset: begin, alignment: header.alignment))
            }
            guard record.byteCount <= dataBytes - begin else {
                let (end, overflows) = begin.addingReportingOverflow(record.byteCount)
                throw refuse(.pastEnd(end: overflows ? Int.max : end, dataBytes: dataBytes))
            }
            let start = header.dataStart + begin
            entries.append(
                TensorEntry(
                    name: record.name,
                    dtype: record.dtype,
                    shape: record.shape,
                    range: start..<start + record.byteCount
                )
            )
        }
        try checkCover(entries, header)
        return entries
    }

    /// Checks that no two tensors share bytes, and that no hole is bigger than alignment explains.
    private func checkCover(_ entries: [TensorEntry], _ header: GGUF.Header) throws(FormatError) {
        let sorted = entries.sorted {
            ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
        }
        var end = header.dataStart
        var last = ""
        for entry in sorted {
            let begin = entry.range.lowerBound
            let expected = end - header.dataStart
            let found = begin - header.dataStart
            if begin < end {
                throw .tensor(
                    entry.name,
                    file: file,
                    .overlap(expected: expected, found: found, other: last)
                )
            }
            if begin - end >= header.alignment {
                throw .tensor(entry.name, file: file, .hole(expected: expected, found: found))
            }
            end = entry.range.upperBound
            last = entry.name
        }
    }

    // MARK: Bytes

    private func need(_ count: Int, _ what: @autoclosure () -> String) throws(FormatError) {
        guard count <= bytes.count - offset else {
            throw refuse(.truncated(what(), at: offset, needed: count, found: bytes.count - offset))
        }
    }

    private mutating func readNumber<Value: FixedWidthInteger & UnsignedInteger>(
        _: Value.Type,
        _ what: @autoclosure () -> String
    ) throws(FormatError) -> Value {
        let size = Value.bitWidth / 8
        guard size <= bytes.count - offset else {
            throw refuse(.truncated(what(), at: offset, needed: size, found: bytes.count - offset))
        }
        var value: Value = 0
        for index in 0..<size { value |= Value(bytes[offset + index]) << (8 * index) }
        offset += size
        return value
    }

    /// The bytes of a text, without a look at them.
    private mutating func skipText(_ key: String) throws(FormatError) -> Range<Int> {
        try skipText(limit: GGUF.textLimit, "a text of '\(key.excerpt())'")
    }

    private mutating func skipText(
        limit: Int,
        _ what: @autoclosure () -> String
    ) throws(FormatError) -> Range<Int> {
        let length = try readNumber(UInt64.self, what())
        guard length <= UInt64(limit) else {
            throw refuse(.textTooLong(what(), limit: limit, found: length))
        }
        guard length <= UInt64(bytes.count - offset) else {
            throw refuse(
                .truncated(what(), at: offset, needed: Int(length), found: bytes.count - offset)
            )
        }
        let start = offset
        offset += Int(length)
        return start..<offset
    }

    /// A name: valid UTF-8 of at most `limit` bytes.
    private mutating func readText(_ what: String, limit: Int) throws(FormatError) -> String {
        let range = try skipText(limit: limit, what)
        guard let text = String(validating: range, of: bytes) else { throw refuse(.notUTF8(what)) }
        return text
    }
}

extension String {
    /// The text of some bytes if they are UTF-8.
    fileprivate init?(validating range: Range<Int>, of bytes: Span<UInt8>) {
        let text = bytes.extracting(range).withUnsafeBufferPointer {
            String(validating: $0, as: UTF8.self)
        }
        guard let text else { return nil }
        self = text
    }
}
