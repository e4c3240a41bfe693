/// A JSON value as a tree, for configurations and other small files.
package enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    /// A number without fraction and exponent that 64 signed bits hold, exactly.
    case integer(Int64)
    /// Any other number, as the nearest double.
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    /// Reads one JSON text, behind which only white space may stand.
    ///
    /// - Throws: what `JSONScanner` throws.
    package init(
        parsing bytes: Span<UInt8>,
        depthLimit: Int = JSONScanner.defaultDepthLimit
    ) throws(JSONError) {
        var scanner = try JSONScanner(bytes, depthLimit: depthLimit)
        self = try scanner.readValue()
        try scanner.finish()
    }

    /// Reads one JSON text from an array of bytes.
    package init(parsing bytes: [UInt8]) throws(JSONError) { self = try JSONValue(parsing: bytes.span) }

    // MARK: Typed views

    /// Whether this is JSON's null.
    package var isNull: Bool { self == .null }

    /// The truth value, if this is one.
    package var asBool: Bool? { if case .bool(let value) = self { value } else { nil } }

    /// The whole number, if this is one written as such (`64`, but neither `64.0` nor `"64"`).
    package var asInt: Int? { if case .integer(let value) = self { Int(exactly: value) } else { nil } }

    /// The number as a double, if this is one.
    package var asDouble: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    /// The text, if this is one.
    package var asString: String? { if case .string(let value) = self { value } else { nil } }

    /// The elements, if this is an array.
    package var asArray: [JSONValue]? { if case .array(let value) = self { value } else { nil } }

    /// The members, if this is an object.
    package var asObject: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// The member `key`, if this is an object that has it.
    package subscript(key: String) -> JSONValue? { asObject?[key] }

    /// What this is, in a few words for the `found …` of an error.
    package var summary: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .string(let value): "\"\(value.excerpt())\""
        case .array(let value): "an array of \(value.count)"
        case .object(let value): "an object of \(value.count)"
        }
    }
}

extension JSONScanner {
    /// Reads the next value, of any kind, as a tree.
    package mutating func readValue() throws(JSONError) -> JSONValue {
        switch try peek() {
        case .null:
            try readNull()
            return .null
        case .bool: return .bool(try readBool())
        case .text: return .string(try readString())
        case .number:
            let number = try scanNumber()
            return number.int64.map { .integer($0) } ?? .number(number.double)
        case .array:
            var elements: [JSONValue] = []
            try beginArray()
            while try nextElement() { elements.append(try readValue()) }
            return .array(elements)
        case .object:
            var members = JSONObject()
            try beginObject()
            while let key = try nextKey() {
                let name = string(key)
                members[name] = try readValue()
            }
            return .object(members)
        }
    }
}

// MARK: Literals

extension JSONValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral
{
    package init(nilLiteral: ()) { self = .null }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(floatLiteral value: Double) { self = .number(value) }
    package init(stringLiteral value: String) { self = .string(value) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }

    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        var members = JSONObject()
        for (key, value) in elements { members[key] = value }
        self = .object(members)
    }
}
