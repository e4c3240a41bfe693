/// Where in a JSON text something was found.
package struct JSONPosition: Equatable, Sendable, CustomStringConvertible {
    /// Bytes before the place.
    package let offset: Int
    /// Line, from 1; lines end at a line feed.
    package let line: Int
    /// Column in characters (code points), from 1.
    package let column: Int
    /// The value's path, such as `language_config.layers[3]`; empty at the root.
    package let path: String

    package init(offset: Int, line: Int, column: Int, path: String) {
        self.offset = offset
        self.line = line
        self.column = column
        self.path = path
    }

    package var description: String {
        let place = "line \(line), column \(column) (byte \(offset))"
        return path.isEmpty ? place : "\(place): '\(path)'"
    }
}

/// What a JSON text could have held at some place.
package enum JSONExpectation: String, Sendable {
    case value = "a value"
    case object = "an object"
    case array = "an array"
    case text = "a text"
    case number = "a number"
    case wholeNumber = "a whole number"
    case count = "a whole number that is not negative"
    case bool = "true or false"
    case null = "null"
    case key = "a key in double quotes"
    case keyOrEnd = "a key in double quotes or '}'"
    case colon = "':'"
    case commaOrBrace = "',' or '}'"
    case commaOrBracket = "',' or ']'"
    case digit = "a digit"
    case end = "the end of the text"
}

/// Why a JSON text was refused.
package enum JSONError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Another token or type than the grammar or the reader wants; `found` is an excerpt of the text.
    case expected(JSONExpectation, found: String, at: JSONPosition)
    /// A key that its object has already, compared after escapes are undone.
    case duplicateKey(String, at: JSONPosition)
    /// Bytes that are no UTF-8: overlong, a surrogate, over U+10FFFF, or cut off.
    case invalidUTF8(byte: UInt8, at: JSONPosition)
    /// A control byte that a text holds without an escape.
    case controlByte(UInt8, at: JSONPosition)
    /// A backslash with something behind it that is no escape.
    case invalidEscape(String, at: JSONPosition)
    /// An escaped surrogate without its partner.
    case loneSurrogate(String, at: JSONPosition)
    /// A number literal with more bytes than any number needs.
    case numberTooLong(limit: Int, at: JSONPosition)
    /// A number that its type cannot hold.
    case outOfRange(literal: String, type: String, at: JSONPosition)
    /// Arrays and objects nested too deep.
    case tooDeep(limit: Int, at: JSONPosition)
    /// A text too big to be read at all.
    case tooLarge(bytes: Int, limit: Int)

    package var description: String {
        switch self {
        case .expected(let expectation, let found, let at):
            "\(at): expected \(expectation.rawValue), found \(found)"
        case .duplicateKey(let key, let at): "\(at): expected each key once, found '\(key)' twice"
        case .invalidUTF8(let byte, let at):
            "\(at): expected UTF-8, found the byte \(Self.hex(byte))"
        case .controlByte(let byte, let at):
            "\(at): expected no unescaped control byte in a text, found \(Self.hex(byte))"
        case .invalidEscape(let found, let at): "\(at): expected an escape of JSON, found '\(found)'"
        case .loneSurrogate(let found, let at): "\(at): expected a pair of surrogates, found '\(found)' alone"
        case .numberTooLong(let limit, let at):
            "\(at): expected a number of at most \(limit) characters, found a longer one"
        case .outOfRange(let literal, let type, let at): "\(at): expected \(type), found \(literal)"
        case .tooDeep(let limit, let at):
            "\(at): expected at most \(limit) levels of arrays and objects, found more"
        case .tooLarge(let bytes, let limit):
            "expected a text of at most \(limit) bytes, found \(bytes)"
        }
    }

    private static func hex(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return byte < 16 ? "0x0\(digits)" : "0x\(digits)"
    }
}

extension String {
    /// A form for messages: control characters escaped, at most `limit` characters.
    ///
    /// Names from files reach terminals and logs only through this.
    package func excerpt(limit: Int = 64) -> String {
        var result = ""
        var length = 0
        for scalar in unicodeScalars {
            if length == limit {
                result += "…"
                break
            }
            let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            let isLayout =
                (0x200E...0x200F).contains(scalar.value) || (0x2028...0x202E).contains(scalar.value)
                || (0x2066...0x2069).contains(scalar.value)
            if isControl || isLayout {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
            length += 1
        }
        return result
    }
}
