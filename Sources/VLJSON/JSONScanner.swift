/// The kind of a JSON value.
package enum JSONKind: String, Sendable {
    case object
    case array
    case text
    case number
    case bool
    case null
}

/// A strict reader of one JSON text (RFC 8259), value by value, without a tree.
///
/// Refuses duplicate keys, trailing commas, comments, a byte-order mark, bytes that are no UTF-8, lone
/// surrogates, raw control bytes in texts, `NaN` and `Infinity`, overlong numbers and nesting over a limit.
/// It reads each byte once, keeps no more than the keys of the objects that are open, and never reads outside
/// its span.
///
///     var scanner = try JSONScanner(bytes.span)
///     try scanner.beginObject()
///     while let key = try scanner.nextKey() {
///         if scanner.matches(key, "vocab_size") {
///             size = try scanner.readCount()
///         } else {
///             try scanner.skipValue()
///         }
///     }
///     try scanner.finish()
///
/// After `nextKey` or a true `nextElement` exactly one value must be read or skipped.
package struct JSONScanner: ~Escapable {
    /// An open array or object.
    private struct Frame {
        let isObject: Bool
        /// Members or elements begun so far.
        var count = 0
        /// Whether a member's or an element's value is being read, so that errors name it in their path.
        var isInValue = false
    }

    /// The deepest nesting that is read by default.
    package static let defaultDepthLimit = 128
    /// The biggest text that is read: offsets of keys are kept in 32 bits.
    package static let sizeLimit = Int(UInt32.max >> 1)

    let bytes: Span<UInt8>
    let depthLimit: Int
    /// The next byte.
    package internal(set) var offset = 0
    private var frames: [Frame] = []
    private var keys = KeyStack()

    /// Starts at the first byte of `bytes`.
    ///
    /// - Throws: `JSONError.tooLarge` for a text of 2 GiB and more.
    @_lifetime(copy bytes)
    package init(
        _ bytes: Span<UInt8>,
        depthLimit: Int = JSONScanner.defaultDepthLimit
    ) throws(JSONError) {
        self.bytes = bytes
        self.depthLimit = depthLimit
        guard bytes.count <= JSONScanner.sizeLimit else {
            throw .tooLarge(bytes: bytes.count, limit: JSONScanner.sizeLimit)
        }
    }

    // MARK: Structure

    /// The kind of the next value, which is not consumed.
    package mutating func peek() throws(JSONError) -> JSONKind {
        skipSpace()
        switch byte(at: offset) {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .text
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        default: throw unexpected(.value)
        }
    }

    /// Consumes the `{` of an object.
    package mutating func beginObject() throws(JSONError) { try open(.object, UInt8(ascii: "{")) }

    /// Consumes the `[` of an array.
    package mutating func beginArray() throws(JSONError) { try open(.array, UInt8(ascii: "[")) }

    private mutating func open(_ expected: JSONExpectation, _ bracket: UInt8) throws(JSONError) {
        skipSpace()
        guard byte(at: offset) == bracket else { throw unexpected(expected) }
        guard frames.count < depthLimit else { throw .tooDeep(limit: depthLimit, at: position) }
        offset += 1
        let isObject = expected == .object
        frames.append(Frame(isObject: isObject))
        if isObject { keys.beginObject() }
    }

    /// The next key of the object that is open, or nil when the object ends here (its `}` is consumed).
    ///
    /// - Precondition: the innermost open value is an object.
    package mutating func nextKey() throws(JSONError) -> JSONText? {
        guard let frame = frames.last, frame.isObject else {
            preconditionFailure("nextKey outside an object")
        }
        frames[frames.count - 1].isInValue = false
        skipSpace()
        let next = byte(at: offset)
        if next == UInt8(ascii: "}") {
            offset += 1
            frames.removeLast()
            keys.endObject()
            return nil
        }
        if frame.count > 0 {
            guard next == UInt8(ascii: ",") else { throw unexpected(.commaOrBrace) }
            offset += 1
            skipSpace()
        }
        guard byte(at: offset) == UInt8(ascii: "\"") else {
            throw unexpected(frame.count > 0 ? .key : .keyOrEnd)
        }
        let start = offset
        let key = try scanText()
        frames[frames.count - 1].count += 1
        guard keys.insert(key, of: bytes) else {
            throw .duplicateKey(string(key).excerpt(), at: position(at: start))
        }
        skipSpace()
        guard byte(at: offset) == UInt8(ascii: ":") else { throw unexpected(.colon) }
        offset += 1
        frames[frames.count - 1].isInValue = true
        return key
    }

    /// Whether the array that is open has another element; its `]` is consumed when not.
    ///
    /// - Precondition: the innermost open value is an array.
    package mutating func nextElement() throws(JSONError) -> Bool {
        guard let frame = frames.last, !frame.isObject else {
            preconditionFailure("nextElement outside an array")
        }
        frames[frames.count - 1].isInValue = false
        skipSpace()
        let next = byte(at: offset)
        if next == UInt8(ascii: "]") {
            offset += 1
            frames.removeLast()
            return false
        }
        if frame.count > 0 {
            guard next == UInt8(ascii: ",") else { throw unexpected(.commaOrBracket) }
            offset += 1
            skipSpace()
            guard byte(at: offset) != UInt8(ascii: "]") else { throw unexpected(.value) }
        }
        frames[frames.count - 1].count += 1
        frames[frames.count - 1].isInValue = true
        return true
    }

    /// Reads past one value of any kind, checking it like any other.
    package mutating func skipValue() throws(JSONError) {
        switch try peek() {
        case .object:
            try beginObject()
            while try nextKey() != nil { try skipValue() }
        case .array:
            try beginArray()
            while try nextElement() { try skipValue() }
        case .text: _ = try scanText()
        case .number: _ = try scanNumber()
        case .bool: _ = try readBool()
        case .null: try readNull()
        }
    }

    /// Checks that only white space follows.
    package mutating func finish() throws(JSONError) {
        skipSpace()
        guard offset == bytes.count else { throw unexpected(.end) }
    }

    // MARK: Literals

    /// Reads `true` or `false`.
    package mutating func readBool() throws(JSONError) -> Bool {
        skipSpace()
        if byte(at: offset) == UInt8(ascii: "t") {
            try consume("true", or: .bool)
            return true
        }
        try consume("false", or: .bool)
        return false
    }

    /// Reads `null`.
    package mutating func readNull() throws(JSONError) {
        skipSpace()
        try consume("null", or: .null)
    }

    /// Consumes the next value if it is `null`, and says whether it did.
    package mutating func skipNull() throws(JSONError) -> Bool {
        guard try peek() == .null else { return false }
        try readNull()
        return true
    }

    private mutating func consume(
        _ word: StaticString,
        or expectation: JSONExpectation
    ) throws(JSONError) {
        let length = word.utf8CodeUnitCount
        guard bytes.count - offset >= length else { throw unexpected(expectation) }
        let start = offset
        let isEqual = word.withUTF8Buffer { letters in
            letters.indices.allSatisfy { bytes[start + $0] == letters[$0] }
        }
        guard isEqual else { throw unexpected(expectation) }
        offset += length
    }

    // MARK: Bytes

    /// The byte at `index`, or 0 (which no JSON token has) behind the end.
    func byte(at index: Int) -> UInt8 { index < bytes.count ? bytes[index] : 0 }

    /// Moves to the next byte that is no white space.
    mutating func skipSpace() {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x0A, 0x0D, 0x09: offset += 1
            default: return
            }
        }
    }

    // MARK: Errors

    /// The place of the next byte, for errors of the caller's own.
    ///
    /// Takes time in proportion to the bytes before it: for errors only.
    package var position: JSONPosition { position(at: offset) }

    /// The place of the byte at `offset`.
    func position(at offset: Int) -> JSONPosition {
        var line = 1
        var column = 1
        for index in 0..<min(offset, bytes.count) {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return JSONPosition(offset: offset, line: line, column: column, path: path)
    }

    /// The path of the value that is being read; empty at the root.
    private var path: String {
        var result = ""
        var object = 0
        for frame in frames {
            if frame.isObject {
                if frame.isInValue, let key = keys.lastKey(ofObject: object) {
                    if !result.isEmpty { result += "." }
                    result += string(key).excerpt(limit: 40)
                }
                object += 1
            } else if frame.isInValue {
                result += "[\(frame.count - 1)]"
            }
        }
        return result.excerpt(limit: 200)
    }

    /// The error for a byte, or the end, where something else belongs.
    func unexpected(_ expectation: JSONExpectation) -> JSONError {
        .expected(expectation, found: excerpt(at: offset), at: position(at: offset))
    }

    /// The text at `start` in a form for messages.
    func excerpt(at start: Int) -> String {
        guard start < bytes.count else { return "the end" }
        var end = start + 1
        let limit = min(start + 32, bytes.count)
        guard bytes[start] == UInt8(ascii: "\"") else {
            if isWordByte(bytes[start]) { while end < limit, isWordByte(bytes[end]) { end += 1 } }
            return "'\(bytes.string(in: start..<end).excerpt())'"
        }
        while end < limit, bytes[end] != UInt8(ascii: "\"") || bytes[end - 1] == UInt8(ascii: "\\") {
            end += 1
        }
        guard end < limit else { return bytes.string(in: start..<end).excerpt() + "…" }
        return bytes.string(in: start...end).excerpt()
    }

    private func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "+"):
            true
        default: byte >= 0x80
        }
    }
}
