/// Writes one JSON text (RFC 8259), value by value, in the order given.
///
///     var writer = JSONWriter()
///     writer.beginObject()
///     writer.key("answer")
///     writer.write("a ring")
///     writer.endObject()
///     // writer.bytes is {"answer":"a ring"}
///
/// The same calls give the same bytes on every machine. Calls that do not make one JSON value are mistakes of
/// the caller and stop the program.
package struct JSONWriter {
    /// How values are set apart.
    package enum Layout: Sendable {
        /// No white space at all.
        case compact
        /// One member or element a line, two spaces a level, a line feed at the end of the text.
        case pretty
    }

    private struct Frame {
        let isObject: Bool
        var count = 0
        var hasKey = false
    }

    private let layout: Layout
    private var frames: [Frame] = []
    private var isFinished = false

    /// The text so far: UTF-8.
    package private(set) var bytes: [UInt8] = []

    /// An empty text.
    package init(_ layout: Layout = .compact) { self.layout = layout }

    /// The JSON text of a tree.
    package static func encode(_ value: JSONValue, _ layout: Layout = .compact) -> [UInt8] {
        var writer = JSONWriter(layout)
        writer.write(value)
        return writer.bytes
    }

    // MARK: Structure

    /// Begins an object; members follow, each a `key` and a value.
    package mutating func beginObject() { open(isObject: true) }

    /// Ends the object.
    package mutating func endObject() { close(isObject: true) }

    /// Begins an array.
    package mutating func beginArray() { open(isObject: false) }

    /// Ends the array.
    package mutating func endArray() { close(isObject: false) }

    /// Writes a member's key.
    ///
    /// Keys of one object must differ, which is not checked.
    package mutating func key(_ key: String) {
        guard let frame = frames.last, frame.isObject, !frame.hasKey else {
            preconditionFailure("a key outside an object, or two in a row")
        }
        separate()
        frames[frames.count - 1].hasKey = true
        appendQuoted(key)
        bytes.append(UInt8(ascii: ":"))
        if layout == .pretty { bytes.append(UInt8(ascii: " ")) }
    }

    private mutating func open(isObject: Bool) {
        beginValue()
        bytes.append(UInt8(ascii: isObject ? "{" : "["))
        frames.append(Frame(isObject: isObject))
    }

    private mutating func close(isObject: Bool) {
        guard let frame = frames.popLast(), frame.isObject == isObject, !frame.hasKey else {
            preconditionFailure("an end without its beginning, or a key without its value")
        }
        if layout == .pretty, frame.count > 0 { breakLine() }
        bytes.append(UInt8(ascii: isObject ? "}" : "]"))
        endValue()
    }

    /// Takes note that a value begins, and sets it apart from the one before.
    private mutating func beginValue() {
        precondition(!isFinished, "a second value behind the first")
        guard let frame = frames.last else { return }
        if frame.isObject {
            precondition(frame.hasKey, "a value without a key in an object")
            frames[frames.count - 1].hasKey = false
        } else {
            separate()
        }
    }

    private mutating func endValue() {
        guard frames.isEmpty else { return }
        isFinished = true
        if layout == .pretty { bytes.append(UInt8(ascii: "\n")) }
    }

    private mutating func separate() {
        if frames[frames.count - 1].count > 0 { bytes.append(UInt8(ascii: ",")) }
        frames[frames.count - 1].count += 1
        if layout == .pretty { breakLine() }
    }

    private mutating func breakLine() {
        bytes.append(UInt8(ascii: "\n"))
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * frames.count))
    }

    // MARK: Values

    /// Writes a text.
    package mutating func write(_ value: String) {
        beginValue()
        appendQuoted(value)
        endValue()
    }

    /// Writes a whole number.
    package mutating func write(_ value: some BinaryInteger) { writeLiteral("\(value)") }

    /// Writes the shortest number that reads back as this double; null if it is not finite, for which JSON
    /// has no word.
    package mutating func write(_ value: Double) { writeLiteral(value.isFinite ? "\(value)" : "null") }

    /// Writes the shortest number that reads back as this float; null if it is not finite.
    package mutating func write(_ value: Float) { writeLiteral(value.isFinite ? "\(value)" : "null") }

    /// Writes true or false.
    package mutating func write(_ value: Bool) { writeLiteral(value ? "true" : "false") }

    /// Writes null.
    package mutating func writeNull() { writeLiteral("null") }

    /// Writes a tree.
    package mutating func write(_ value: JSONValue) {
        switch value {
        case .null: writeNull()
        case .bool(let value): write(value)
        case .integer(let value): write(value)
        case .number(let value): write(value)
        case .string(let value): write(value)
        case .array(let elements):
            beginArray()
            for element in elements { write(element) }
            endArray()
        case .object(let members):
            beginObject()
            for (name, value) in members {
                key(name)
                write(value)
            }
            endObject()
        }
    }

    private mutating func writeLiteral(_ literal: String) {
        beginValue()
        bytes.append(contentsOf: literal.utf8)
        endValue()
    }

    private mutating func appendQuoted(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0x0A: bytes.append(contentsOf: "\\n".utf8)
            case 0x0D: bytes.append(contentsOf: "\\r".utf8)
            case 0x09: bytes.append(contentsOf: "\\t".utf8)
            case 0..<0x20, 0x7F:
                let digits = String(byte, radix: 16)
                bytes.append(contentsOf: (byte < 16 ? "\\u000" : "\\u00").utf8)
                bytes.append(contentsOf: digits.utf8)
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
