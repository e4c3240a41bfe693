/// The type of a value in a GGUF file's metadata; the raw value is its number there.
package enum GGUFType: UInt32, Sendable, CaseIterable {
    case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

    /// Bytes of a value; for a text and an array the least that they take.
    var leastBytes: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .uint64, .int64, .float64, .string: 8
        case .array: 12
        }
    }

    /// Its name in messages and tables.
    package var name: String {
        switch self {
        case .uint8: "u8"
        case .int8: "i8"
        case .uint16: "u16"
        case .int16: "i16"
        case .uint32: "u32"
        case .int32: "i32"
        case .float32: "f32"
        case .bool: "bool"
        case .string: "text"
        case .array: "array"
        case .uint64: "u64"
        case .int64: "i64"
        case .float64: "f64"
        }
    }
}

/// A value of a GGUF file's metadata.
package enum GGUFValue: Sendable {
    /// A whole number up to 64 bits with a sign.
    case integer(Int64)
    /// A whole number above that.
    case unsigned(UInt64)
    case number(Double)
    case bool(Bool)
    case text(String)
    case array(GGUFArray)

    /// A whole number that `Int` holds; nil for anything else.
    package var asInt: Int? {
        guard case .integer(let value) = self else { return nil }
        return Int(exactly: value)
    }

    /// A number, whole or not.
    package var asDouble: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .unsigned(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    package var asBool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    package var asText: String? {
        guard case .text(let value) = self else { return nil }
        return value
    }

    package var asArray: GGUFArray? {
        guard case .array(let value) = self else { return nil }
        return value
    }

    /// What kind of value it is, for messages.
    package var kind: String {
        switch self {
        case .integer, .unsigned: "a whole number"
        case .number: "a number"
        case .bool: "true or false"
        case .text: "a text"
        case .array(let array): "an array of \(array.element.name)"
        }
    }
}

/// An array of a GGUF file's metadata, decoded when it is looked at: vocabularies have 100,000 texts and more.
package struct GGUFArray: Sendable {
    /// The type of its elements; never an array.
    package let element: GGUFType
    package let count: Int
    let mapping: MappedFile
    /// The elements' bytes in the file.
    let range: Range<Int>

    /// Bytes that all texts take together, for reservations; 0 if the elements are no texts.
    package var textByteCount: Int { element == .string ? range.count - 8 * count : 0 }

    /// Hands the bytes of each text to `body`, in order; does nothing if the elements are no texts.
    ///
    /// The bytes are those of the file, which need not be UTF-8.
    package func forEachText<Failure: Error>(
        _ body: (UnsafeBufferPointer<UInt8>) throws(Failure) -> Void
    ) throws(Failure) {
        guard element == .string else { return }
        let bytes = mapping.bytes
        var offset = range.lowerBound
        // The lengths were checked when the file was opened; they are again, lest a file changes meanwhile.
        for _ in 0..<count where range.upperBound - offset >= 8 {
            let length = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
            guard length <= UInt64(range.upperBound - offset) else { return }
            let end = offset + Int(length)
            let raw = UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
            try body(raw.bindMemory(to: UInt8.self))
            offset = end
        }
    }

    /// The first elements, at most `limit`.
    package func prefix(_ limit: Int) -> [GGUFValue] {
        var result: [GGUFValue] = []
        if element == .string {
            struct Enough: Error {}
            do {
                try forEachText { (text) throws(Enough) in
                    guard result.count < limit else { throw Enough() }
                    result.append(.text(String(decoding: text, as: UTF8.self)))
                }
            } catch {}
            return result
        }
        let size = element.leastBytes
        for index in 0..<min(limit, count) {
            guard let value = GGUFValue(element, mapping.bytes, at: range.lowerBound + index * size) else {
                return result
            }
            result.append(value)
        }
        return result
    }

    /// All elements as whole numbers; nil if one is none.
    package var integers: [Int]? {
        guard element != .string, element != .array else { return nil }
        let values = prefix(count).compactMap(\.asInt)
        return values.count == count ? values : nil
    }
}

extension GGUFValue {
    /// A number or a truth value at a place whose bytes are known to be there; nil for other types.
    init?(_ type: GGUFType, _ bytes: UnsafeRawBufferPointer, at offset: Int) {
        func load<Value: FixedWidthInteger>(_: Value.Type) -> Value {
            Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
        }
        guard offset >= 0, offset + type.leastBytes <= bytes.count else { return nil }
        switch type {
        case .uint8: self = .integer(Int64(load(UInt8.self)))
        case .int8: self = .integer(Int64(load(Int8.self)))
        case .uint16: self = .integer(Int64(load(UInt16.self)))
        case .int16: self = .integer(Int64(load(Int16.self)))
        case .uint32: self = .integer(Int64(load(UInt32.self)))
        case .int32: self = .integer(Int64(load(Int32.self)))
        case .int64: self = .integer(load(Int64.self))
        case .uint64:
            let value = load(UInt64.self)
            self = Int64(exactly: value).map { .integer($0) } ?? .unsigned(value)
        case .float32: self = .number(Double(Float(bitPattern: load(UInt32.self))))
        case .float64: self = .number(Double(bitPattern: load(UInt64.self)))
        case .bool: self = .bool(load(UInt8.self) != 0)
        case .string, .array: return nil
        }
    }
}
