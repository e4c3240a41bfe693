import VLJSON

/// Turns a JSON Schema into a grammar: the part of the language that OpenAI's strict mode takes, with optional members.
///
/// What it does not know is refused, never passed over: a schema whose grammar were wider than itself would promise
/// what answers do not keep. Members come in the order of `properties`.
package struct SchemaCompiler {
    /// Bytes of a schema's text.
    package static let sizeLimit = 256 << 10
    /// Levels of nested values in a schema's text.
    package static let depthLimit = 64
    /// Values of all `enum`s together.
    static let enumLimit = 2000
    /// Members of all objects together.
    static let memberLimit = 5000
    /// Length of a text and of an array that is counted.
    static let countLimit = 5000

    /// Keywords that say nothing about values.
    private static let notes: Set<String> = [
        "title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "readOnly",
        "writeOnly", "$defs", "definitions",
    ]
    private static let keywords: Set<String> = [
        "type", "enum", "const", "anyOf", "$ref", "properties", "required", "additionalProperties", "items",
        "minItems", "maxItems", "pattern", "format", "minLength", "maxLength", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    ]

    private let root: JSONValue
    var builder = GrammarBuilder()
    /// Rules of parts that references name.
    private var rules: [String: Int32] = [:]
    private var values = 0
    private var members = 0

    /// The grammar of the values that a schema describes, white space before them included.
    ///
    /// - Throws: `GrammarError` with the keyword and where it stands.
    package static func compile(_ schema: JSONValue) throws(GrammarError) -> ConstraintGrammar {
        var compiler = SchemaCompiler(root: schema)
        let start = try compiler.builder.node()
        let value = try compiler.builder.blank(start)
        compiler.builder.link(value, try compiler.rule(schema, "#", depth: 0))
        compiler.builder.setStart(start)
        return try ConstraintGrammar(compiler.builder.grammar)
    }

    /// The grammar of the values that a schema's text describes.
    ///
    /// - Throws: `GrammarError`.
    package static func compile(text: [UInt8]) throws(GrammarError) -> ConstraintGrammar {
        try compile(parse(text))
    }

    /// Reads a schema's text.
    ///
    /// - Throws: `GrammarError.json`, `GrammarError.limit`.
    package static func parse(_ text: [UInt8]) throws(GrammarError) -> JSONValue {
        guard text.count <= sizeLimit else {
            throw .limit("bytes", pointer: "#", expected: sizeLimit)
        }
        do throws(JSONError) {
            return try JSONValue(parsing: text.span, depthLimit: depthLimit)
        } catch {
            throw .json(error.description)
        }
    }

    /// The grammar of any object.
    package static func anyObject() throws(GrammarError) -> ConstraintGrammar {
        var builder = GrammarBuilder()
        let start = try builder.node()
        builder.link(try builder.blank(start), try builder.anyObject())
        builder.setStart(start)
        return try ConstraintGrammar(builder.grammar)
    }

    private init(root: JSONValue) { self.root = root }

    // MARK: Rules

    /// The rule of a schema.
    private mutating func rule(
        _ schema: JSONValue,
        _ pointer: String,
        depth: Int
    ) throws(GrammarError) -> Int32 {
        builder.pointer = pointer
        guard depth <= Self.depthLimit else {
            throw .limit("levels", pointer: pointer, expected: Self.depthLimit)
        }
        guard let object = schema.asObject else {
            throw .invalid(
                keyword: pointer.split(separator: "/").last.map(String.init) ?? "#",
                pointer: pointer,
                expected: "a schema: an object",
                found: schema.summary
            )
        }
        for (keyword, _) in object where !Self.keywords.contains(keyword) && !Self.notes.contains(keyword) {
            throw .unsupported(
                keyword: keyword,
                pointer: pointer,
                reason: "it is not among those that are known"
            )
        }
        for alone in ["$ref", "anyOf", "const", "enum"] where object[alone] != nil {
            let allowed: Set<String> = alone == "const" || alone == "enum" ? [alone, "type"] : [alone]
            for (keyword, _) in object where !Self.notes.contains(keyword) && !allowed.contains(keyword) {
                throw .unsupported(keyword: keyword, pointer: pointer, reason: "it stands beside '\(alone)'")
            }
        }
        if let reference = object["$ref"] { return try self.reference(reference, pointer, depth: depth) }
        if let choices = object["anyOf"] { return try anyOf(choices, pointer, depth: depth) }
        let types = try Self.types(object, pointer)
        if let value = object["const"] { return try literals([value], "const", types, pointer) }
        if let list = object["enum"] {
            guard let list = list.asArray, !list.isEmpty else {
                throw .invalid(
                    keyword: "enum",
                    pointer: pointer,
                    expected: "a list of values",
                    found: object["enum"]?.summary ?? "nothing"
                )
            }
            return try literals(list, "enum", types, pointer)
        }
        guard let types else {
            throw .invalid(
                keyword: "type",
                pointer: pointer,
                expected: "a type, or one of 'enum', 'const', 'anyOf' and '$ref'",
                found: "none of them"
            )
        }
        var parts: [Int32] = []
        for type in types {
            builder.pointer = pointer
            parts.append(try self.type(type, object, pointer, depth: depth))
        }
        if parts.count == 1 { return parts[0] }
        let rule = try builder.node()
        for part in parts { builder.link(rule, part) }
        return rule
    }

    private static func types(_ object: JSONObject, _ pointer: String) throws(GrammarError) -> [String]? {
        guard let value = object["type"] else { return nil }
        let known = ["object", "array", "string", "number", "integer", "boolean", "null"]
        let list = value.asArray ?? [value]
        let names = list.compactMap(\.asString)
        guard names.count == list.count, !names.isEmpty, names.allSatisfy(known.contains),
            Set(names).count == names.count
        else {
            throw .invalid(
                keyword: "type",
                pointer: pointer,
                expected: "one of \(known.joined(separator: ", ")), or a list of some",
                found: value.summary
            )
        }
        // Every whole number is a number.
        return names.contains("number") ? names.filter { $0 != "integer" } : names
    }

    private mutating func type(
        _ type: String,
        _ object: JSONObject,
        _ pointer: String,
        depth: Int
    ) throws(GrammarError) -> Int32 {
        switch type {
        case "object": return try members(object, pointer, depth: depth)
        case "array": return try items(object, pointer, depth: depth)
        case "string": return try text(object, pointer)
        case "number", "integer": return try number(object, isWhole: type == "integer", pointer)
        case "boolean": return try builder.literals([Array("true".utf8), Array("false".utf8)])
        default: return try builder.literals([Array("null".utf8)])
        }
    }

    // MARK: References and choices

    private mutating func reference(
        _ value: JSONValue,
        _ pointer: String,
        depth: Int
    ) throws(GrammarError) -> Int32 {
        guard let target = value.asString, target == "#" || target.hasPrefix("#/") else {
            throw .invalid(
                keyword: "$ref",
                pointer: pointer,
                expected: "a pointer into the same schema, '#' or '#/…'",
                found: value.summary
            )
        }
        if let known = rules[target] { return known }
        var schema = root
        for part in target.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            let name = part.split(separator: "~1", omittingEmptySubsequences: false).joined(separator: "/")
                .split(separator: "~0", omittingEmptySubsequences: false).joined(separator: "~")
            let next =
                schema[name]
                ?? Int(name).flatMap { index in
                    schema.asArray.flatMap { $0.indices.contains(index) ? $0[index] : nil }
                }
            guard let next else {
                throw .invalid(
                    keyword: "$ref",
                    pointer: pointer,
                    expected: "a pointer to a part of the schema",
                    found: "\"\(target.excerpt())\""
                )
            }
            schema = next
        }
        // The rule is known before it is made, so that it can name itself.
        let rule = try builder.node()
        rules[target] = rule
        builder.link(rule, try self.rule(schema, target, depth: depth + 1))
        return rule
    }

    private mutating func anyOf(
        _ value: JSONValue,
        _ pointer: String,
        depth: Int
    ) throws(GrammarError) -> Int32 {
        guard let list = value.asArray, !list.isEmpty else {
            throw .invalid(
                keyword: "anyOf",
                pointer: pointer,
                expected: "a list of schemas",
                found: value.summary
            )
        }
        guard list.count <= 100 else {
            throw .limit("choices of an 'anyOf'", pointer: pointer, expected: 100)
        }
        let rule = try builder.node()
        for (index, schema) in list.enumerated() {
            builder.link(rule, try self.rule(schema, "\(pointer)/anyOf/\(index)", depth: depth + 1))
        }
        return rule
    }

    private mutating func literals(
        _ values: [JSONValue],
        _ keyword: String,
        _ types: [String]?,
        _ pointer: String
    ) throws(GrammarError) -> Int32 {
        self.values += values.count
        guard self.values <= Self.enumLimit else {
            throw .limit("values of all 'enum's", pointer: pointer, expected: Self.enumLimit)
        }
        let fitting = values.filter { value in types?.contains { Self.has(value, $0) } ?? true }
        guard !fitting.isEmpty else {
            throw .impossible(pointer: pointer, reason: "no value of '\(keyword)' has the type")
        }
        return try builder.literals(fitting.map(Self.spelling))
    }

    private static func has(_ value: JSONValue, _ type: String) -> Bool {
        switch value {
        case .null: type == "null"
        case .bool: type == "boolean"
        case .integer: type == "integer" || type == "number"
        case .number(let number): type == "number" || type == "integer" && number.rounded() == number
        case .string: type == "string"
        case .array: type == "array"
        case .object: type == "object"
        }
    }

    /// A fixed value, without white space.
    private static func spelling(_ value: JSONValue) -> [UInt8] {
        switch value {
        case .string(let text): Expression.quoted(text)
        case .array(let elements):
            Array("[".utf8) + elements.map(spelling).joined(separator: ", ".utf8) + Array("]".utf8)
        case .object(let object):
            Array("{".utf8)
                + object.map { Expression.quoted($0.key) + Array(": ".utf8) + spelling($0.value) }
                .joined(separator: ", ".utf8) + Array("}".utf8)
        default: JSONWriter.encode(value)
        }
    }

    // MARK: Objects

    private mutating func members(
        _ object: JSONObject,
        _ pointer: String,
        depth: Int
    ) throws(GrammarError) -> Int32 {
        if let more = object["additionalProperties"], more.asBool != false {
            throw .unsupported(
                keyword: "additionalProperties",
                pointer: pointer,
                reason: "expected false, found \(more.summary)"
            )
        }
        if object["properties"] == nil && object["additionalProperties"] == nil && object["required"] == nil {
            return try builder.anyObject()
        }
        var properties = JSONObject()
        if let value = object["properties"] {
            guard let members = value.asObject else {
                throw .invalid(
                    keyword: "properties",
                    pointer: pointer,
                    expected: "an object of schemas",
                    found: value.summary
                )
            }
            properties = members
        }
        members += properties.count
        guard members <= Self.memberLimit else {
            throw .limit("members of all objects", pointer: pointer, expected: Self.memberLimit)
        }
        let required = try self.required(object, properties, pointer)

        let rule = try builder.node()
        let end = try builder.node(isEnd: true)
        // Where the first member begins that is looked for, or its first one that is there.
        let open = try builder.blank(try builder.literal(rule, [UInt8(ascii: "{")]))
        var begins: [Int32] = []
        for _ in 0..<(properties.count + 1) { begins.append(try builder.node()) }
        builder.link(open, begins[0])
        let lastRequired = properties.keys.lastIndex { required.contains(ExactString($0)) } ?? -1
        if lastRequired < 0 { builder.connect(open, UInt8(ascii: "}"), end) }
        for (index, (name, schema)) in properties.enumerated() {
            if !required.contains(ExactString(name)) { builder.link(begins[index], begins[index + 1]) }
            let colon = try builder.literal(begins[index], Expression.quoted(name) + [UInt8(ascii: ":")])
            let place = "\(pointer)/properties/\(Self.escaped(name))"
            let value = try self.rule(schema, place, depth: depth + 1)
            let after = try builder.call(try builder.blank(colon), value)
            if index + 1 < properties.count {
                builder.link(
                    try builder.blank(try builder.literal(after, [UInt8(ascii: ",")])),
                    begins[index + 1]
                )
            }
            if index >= lastRequired { builder.connect(try builder.blank(after), UInt8(ascii: "}"), end) }
        }
        return rule
    }

    private func required(
        _ object: JSONObject,
        _ properties: JSONObject,
        _ pointer: String
    ) throws(GrammarError) -> Set<ExactString> {
        guard let value = object["required"] else { return [] }
        let list = value.asArray ?? []
        let names = list.compactMap(\.asString)
        guard value.asArray != nil, names.count == list.count else {
            throw .invalid(
                keyword: "required",
                pointer: pointer,
                expected: "a list of names",
                found: value.summary
            )
        }
        if let name = names.first(where: { properties[$0] == nil }) {
            throw .invalid(
                keyword: "required",
                pointer: pointer,
                expected: "names of 'properties'",
                found: "\"\(name.excerpt())\""
            )
        }
        return Set(names.map { ExactString($0) })
    }

    /// A name as a part of a JSON pointer.
    private static func escaped(_ name: String) -> String {
        name.excerpt().split(separator: "~", omittingEmptySubsequences: false).joined(separator: "~0")
            .split(separator: "/", omittingEmptySubsequences: false).joined(separator: "~1")
    }

    private mutating func items(
        _ object: JSONObject,
        _ pointer: String,
        depth: Int
    ) throws(GrammarError) -> Int32 {
        let least = try count("minItems", object, pointer) ?? 0
        let most = try count("maxItems", object, pointer)
        if let most, most < least {
            throw .impossible(pointer: pointer, reason: "'maxItems' is less than 'minItems'")
        }
        let item: Int32
        if let schema = object["items"] {
            item = try rule(schema, "\(pointer)/items", depth: depth + 1)
        } else {
            item = try builder.anyValue()
        }
        builder.pointer = pointer
        return try builder.array(item, least: least, most: most)
    }

    /// The value of a keyword that counts something.
    func count(_ keyword: String, _ object: JSONObject, _ pointer: String) throws(GrammarError) -> Int? {
        guard let value = object[keyword] else { return nil }
        guard let count = value.asInt, count >= 0 else {
            throw .invalid(
                keyword: keyword,
                pointer: pointer,
                expected: "a whole number that is not negative",
                found: value.summary
            )
        }
        guard count <= Self.countLimit else {
            throw .invalid(
                keyword: keyword,
                pointer: pointer,
                expected: "at most \(Self.countLimit)",
                found: "\(count)"
            )
        }
        return count
    }
}
