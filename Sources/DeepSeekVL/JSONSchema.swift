import VLGrammar
import VLJSON

/// A description of JSON values, for answers that have to be such values.
///
///     let invoice = JSONSchema.object([
///         "number": .string(pattern: "^[A-Z]{2}-[0-9]{4}$"),
///         "total": .number(0...),
///         "items": .array(of: .object(["name": .string, "pieces": .integer(1...999)])),
///     ])
///
/// Or as a text, the part of JSON Schema that OpenAI's strict mode takes: see docs/constrained-decoding.md.
public struct JSONSchema: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    /// Bytes that a schema's text has at most.
    public static let sizeLimit = SchemaCompiler.sizeLimit

    package let value: JSONValue

    package init(_ value: JSONValue) { self.value = value }

    /// Reads a schema from its text, and checks that it is supported.
    ///
    /// - Throws: `DeepSeekVLError.schema`.
    public init(json: String) throws(DeepSeekVLError) {
        do throws(GrammarError) {
            value = try SchemaCompiler.parse(Array(json.utf8))
            _ = try SchemaCompiler.compile(value)
        } catch {
            throw DeepSeekVLError(error)
        }
    }

    /// An object with these members, all of them, in this order.
    public init(dictionaryLiteral elements: (String, JSONSchema)...) {
        self = Self.object(elements.map { ($0.0, $0.1) }, optional: [])
    }

    /// The schema's text.
    public var json: String { String(decoding: JSONWriter.encode(value), as: UTF8.self) }

    // MARK: Values

    /// Any string.
    public static let string = JSONSchema(["type": "string"])
    /// Any number.
    public static let number = JSONSchema(["type": "number"])
    /// Any whole number.
    public static let integer = JSONSchema(["type": "integer"])
    /// True or false.
    public static let boolean = JSONSchema(["type": "boolean"])
    /// Null.
    public static let null = JSONSchema(["type": "null"])

    /// Strings in which a pattern is found, or of a length in characters.
    public static func string(
        pattern: String? = nil,
        format: String? = nil,
        length: ClosedRange<Int>? = nil
    ) -> JSONSchema {
        var schema: JSONObject = ["type": "string"]
        if let pattern { schema["pattern"] = .string(pattern) }
        if let format { schema["format"] = .string(format) }
        if let length {
            schema["minLength"] = .integer(Int64(length.lowerBound))
            schema["maxLength"] = .integer(Int64(length.upperBound))
        }
        return JSONSchema(.object(schema))
    }

    /// Whole numbers of a range.
    public static func integer(_ range: some RangeExpression<Int>) -> JSONSchema {
        let clamped = range.relative(to: -wholeLimit..<wholeLimit)
        var schema: JSONObject = ["type": "integer"]
        if clamped.lowerBound > -wholeLimit { schema["minimum"] = .integer(Int64(clamped.lowerBound)) }
        if clamped.upperBound < wholeLimit { schema["maximum"] = .integer(Int64(clamped.upperBound - 1)) }
        return JSONSchema(.object(schema))
    }

    private static let wholeLimit = 1_000_000_000_000_000_000

    /// Numbers between two others, these included.
    public static func number(_ range: ClosedRange<Double>) -> JSONSchema {
        JSONSchema([
            "type": "number", "minimum": .number(range.lowerBound), "maximum": .number(range.upperBound),
        ])
    }

    /// Numbers from another one on.
    public static func number(_ range: PartialRangeFrom<Double>) -> JSONSchema {
        JSONSchema(["type": "number", "minimum": .number(range.lowerBound)])
    }

    /// One of these texts.
    public static func oneOf(_ texts: [String]) -> JSONSchema {
        JSONSchema(["type": "string", "enum": .array(texts.map { .string($0) })])
    }

    /// What one of these describes.
    public static func anyOf(_ schemas: [JSONSchema]) -> JSONSchema {
        JSONSchema(["anyOf": .array(schemas.map(\.value))])
    }

    /// What another one describes, or null.
    public static func optional(_ schema: JSONSchema) -> JSONSchema { .anyOf([schema, .null]) }

    /// Arrays, of so many items.
    public static func array(of item: JSONSchema, count: ClosedRange<Int>? = nil) -> JSONSchema {
        var schema: JSONObject = ["type": "array", "items": item.value]
        if let count {
            schema["minItems"] = .integer(Int64(count.lowerBound))
            schema["maxItems"] = .integer(Int64(count.upperBound))
        }
        return JSONSchema(.object(schema))
    }

    /// Objects with these members in this order, all of them but the optional ones.
    public static func object(
        _ members: KeyValuePairs<String, JSONSchema>,
        optional: Set<String> = []
    ) -> JSONSchema {
        object(members.map { ($0.key, $0.value) }, optional: optional)
    }

    private static func object(_ members: [(String, JSONSchema)], optional: Set<String>) -> JSONSchema {
        var properties = JSONObject()
        var required: [JSONValue] = []
        for (name, schema) in members {
            properties[name] = schema.value
            if !optional.contains(name) { required.append(.string(name)) }
        }
        return JSONSchema([
            "type": "object", "properties": .object(properties), "required": .array(required),
            "additionalProperties": false,
        ])
    }

    /// The same with a text that says what it is, for whoever reads the schema.
    public func described(_ text: String) -> JSONSchema {
        guard var object = value.asObject else { return self }
        object["description"] = .string(text)
        return JSONSchema(.object(object))
    }
}
