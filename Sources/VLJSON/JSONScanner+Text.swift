/// A text of the scanned bytes, checked but not decoded.
package struct JSONText: Sendable {
    /// The bytes between the quotes.
    package let range: Range<Int>
    /// Whether a backslash is among them; if not, the bytes are the text.
    package let hasEscapes: Bool
}

extension JSONScanner {
    /// Reads a text without decoding it.
    package mutating func readText() throws(JSONError) -> JSONText {
        skipSpace()
        guard byte(at: offset) == UInt8(ascii: "\"") else { throw unexpected(.text) }
        return try scanText()
    }

    /// Reads a text as a string.
    package mutating func readString() throws(JSONError) -> String { try string(readText()) }

    /// Reads a text as its UTF-8 bytes.
    package mutating func readBytes() throws(JSONError) -> [UInt8] {
        let text = try readText()
        var result: [UInt8] = []
        append(text, to: &result)
        return result
    }

    /// The decoded string of a text that this scanner read.
    package func string(_ text: JSONText) -> String {
        guard text.hasEscapes else { return bytes.string(in: text.range) }
        var decoded: [UInt8] = []
        append(text, to: &decoded)
        return String(decoding: decoded, as: UTF8.self)
    }

    /// Appends the decoded UTF-8 bytes of a text that this scanner read.
    package func append(_ text: JSONText, to result: inout [UInt8]) {
        text.append(of: bytes, to: &result)
    }

    /// The bytes between a text's quotes as they stand; they are the text where it has no escapes.
    @_lifetime(copy self)
    package func raw(_ text: JSONText) -> Span<UInt8> { bytes.extracting(text.range) }

    /// Whether the decoded text is `word`, byte by byte.
    package func matches(_ text: JSONText, _ word: StaticString) -> Bool {
        let length = word.utf8CodeUnitCount
        if !text.hasEscapes {
            guard text.range.count == length else { return false }
            let start = text.range.lowerBound
            return word.withUTF8Buffer { letters in
                letters.indices.allSatisfy { bytes[start + $0] == letters[$0] }
            }
        }
        var decoded: [UInt8] = []
        append(text, to: &decoded)
        return word.withUTF8Buffer { $0.elementsEqual(decoded) }
    }
}

// MARK: Scanning

extension JSONScanner {
    /// Reads from an opening quote, which is the next byte, past the closing one, and checks all between.
    mutating func scanText() throws(JSONError) -> JSONText {
        let start = offset + 1
        var index = start
        var hasEscapes = false
        let count = bytes.count
        while index < count {
            let byte = bytes[index]
            if byte >= 0x80 {
                index = try scanCharacter(at: index)
            } else if byte == UInt8(ascii: "\"") {
                offset = index + 1
                return JSONText(range: start..<index, hasEscapes: hasEscapes)
            } else if byte == UInt8(ascii: "\\") {
                hasEscapes = true
                index = try scanEscape(at: index)
            } else if byte < 0x20 {
                throw .controlByte(byte, at: position(at: index))
            } else {
                index += 1
            }
        }
        throw .expected(.text, found: "a text without its closing quote", at: position(at: start - 1))
    }

    /// Checks a character of two to four bytes and gives the index behind it.
    private func scanCharacter(at index: Int) throws(JSONError) -> Int {
        let lead = bytes[index]
        // The second byte's range excludes overlong forms, surrogates and what lies over U+10FFFF.
        let (length, second): (Int, ClosedRange<UInt8>) =
            switch lead {
            case 0xC2...0xDF: (2, 0x80...0xBF)
            case 0xE0: (3, 0xA0...0xBF)
            case 0xED: (3, 0x80...0x9F)
            case 0xE1...0xEF: (3, 0x80...0xBF)
            case 0xF0: (4, 0x90...0xBF)
            case 0xF1...0xF3: (4, 0x80...0xBF)
            case 0xF4: (4, 0x80...0x8F)
            default: (0, 0...0)
            }
        guard length > 0 else { throw .invalidUTF8(byte: lead, at: position(at: index)) }
        guard second.contains(byte(at: index + 1)) else {
            throw .invalidUTF8(byte: lead, at: position(at: index))
        }
        for next in 2..<max(length, 2) where byte(at: index + next) & 0xC0 != 0x80 {
            throw .invalidUTF8(byte: lead, at: position(at: index))
        }
        return index + length
    }

    /// Checks the escape that begins with the backslash at `index` and gives the index behind it.
    private func scanEscape(at index: Int) throws(JSONError) -> Int {
        switch byte(at: index + 1) {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return index + 2
        case UInt8(ascii: "u"):
            guard let unit = bytes.hexQuad(at: index + 2) else { throw badEscape(at: index, length: 6) }
            guard unit & 0xF800 == 0xD800 else { return index + 6 }
            guard unit < 0xDC00, byte(at: index + 6) == UInt8(ascii: "\\"),
                byte(at: index + 7) == UInt8(ascii: "u"), let low = bytes.hexQuad(at: index + 8),
                low & 0xFC00 == 0xDC00
            else {
                throw .loneSurrogate(rawExcerpt(at: index, length: 6), at: position(at: index))
            }
            return index + 12
        default: throw badEscape(at: index, length: 2)
        }
    }

    private func badEscape(at index: Int, length: Int) -> JSONError {
        .invalidEscape(rawExcerpt(at: index, length: length), at: position(at: index))
    }

    private func rawExcerpt(at index: Int, length: Int) -> String {
        bytes.string(in: index..<min(index + length, bytes.count)).excerpt()
    }
}

extension JSONText {
    /// Appends the decoded bytes of this text, which was checked when `bytes` were scanned.
    func append(of bytes: Span<UInt8>, to result: inout [UInt8]) {
        result.reserveCapacity(result.count + range.count)
        var index = range.lowerBound
        while index < range.upperBound {
            let byte = bytes[index]
            guard hasEscapes, byte == UInt8(ascii: "\\") else {
                result.append(byte)
                index += 1
                continue
            }
            index += 2
            switch bytes[index - 1] {
            case UInt8(ascii: "b"): result.append(0x08)
            case UInt8(ascii: "f"): result.append(0x0C)
            case UInt8(ascii: "n"): result.append(0x0A)
            case UInt8(ascii: "r"): result.append(0x0D)
            case UInt8(ascii: "t"): result.append(0x09)
            case UInt8(ascii: "u"):
                var code = UInt32(bytes.hexQuad(at: index) ?? 0xFFFD)
                index += 4
                if code & 0xFC00 == 0xD800 {
                    let low = UInt32(bytes.hexQuad(at: index + 2) ?? 0xDC00)
                    code = 0x10000 + (code & 0x3FF) << 10 + (low & 0x3FF)
                    index += 6
                }
                result.append(contentsOf: String(Unicode.Scalar(code) ?? "\u{FFFD}").utf8)
            case let other: result.append(other)
            }
        }
    }
}

extension Span where Element == UInt8 {
    /// The bytes of `range` as a string; what is no UTF-8 becomes U+FFFD.
    func string(in range: some RangeExpression<Int>) -> String {
        extracting(range).withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }

    /// The number that four hexadecimal digits at `start` write, or nil.
    func hexQuad(at start: Int) -> UInt16? {
        guard start >= 0, count - start >= 4 else { return nil }
        var result: UInt16 = 0
        for index in start..<start + 4 {
            let digit: UInt8
            switch self[index] {
            case let byte where byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"): digit = byte - 0x30
            case let byte where byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f"): digit = byte - 0x57
            case let byte where byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "F"): digit = byte - 0x37
            default: return nil
            }
            result = result << 4 | UInt16(digit)
        }
        return result
    }
}
