import Foundation
import VLJSON

/// An OpenAPI description as a test reads it.
struct APIDescription {
    /// One method of one path.
    struct Operation {
        var method: String
        var path: String
        var json: JSONValue

        /// The schema of the request's body, if it has one.
        var requestSchema: JSONValue? {
            json["requestBody"]?["content"]?["application/json"]?["schema"]
        }

        /// The bodies that the description gives as examples, by name.
        var examples: [(key: String, value: JSONValue)] {
            let examples = json["requestBody"]?["content"]?["application/json"]?["examples"]?.asObject
            return (examples ?? [:]).compactMap { name, example in example["value"].map { (name, $0) } }
        }
    }

    let root: JSONValue

    init(_ root: JSONValue) { self.root = root }

    var operations: [Operation] {
        (root["paths"]?.asObject ?? [:]).flatMap { path, methods in
            (methods.asObject ?? [:]).map { method, json in
                Operation(method: method.uppercased(), path: path, json: json)
            }
        }
    }

    /// What a reference points to; everything else as it is.
    func resolved(_ value: JSONValue?) -> JSONValue? {
        guard let pointer = value?["$ref"]?.asString else { return value }
        var found: JSONValue? = root
        for name in pointer.split(separator: "/").dropFirst() { found = found?[String(name)] }
        return resolved(found)
    }

    /// The schema of an operation's response; nil if no such response is described.
    func responseSchema(_ operation: Operation, status: Int, type: String) -> JSONValue? {
        resolved(operation.json["responses"]?["\(status)"])?["content"]?[type]?["schema"]
    }

    /// The names of all members that a schema describes, such as `messages[].role`.
    func fields(_ schema: JSONValue?, below prefix: String = "") -> Set<String> {
        guard let schema = resolved(schema) else { return [] }
        var names: Set<String> = []
        for (name, member) in schema["properties"]?.asObject ?? [:] {
            let path = prefix.isEmpty ? name : prefix + "." + name
            names.insert(path)
            names.formUnion(fields(member, below: path))
        }
        if let items = schema["items"] { names.formUnion(fields(items, below: prefix + "[]")) }
        for key in ["allOf", "anyOf"] {
            for part in schema[key]?.asArray ?? [] { names.formUnion(fields(part, below: prefix)) }
        }
        return names
    }
}

extension APIDescription {
    /// What is wrong with a value, by a schema.
    ///
    /// A keyword that is not known here is wrong, too, so that nothing passes because nobody looked at it.
    ///
    /// - Parameter isClosed: whether members that the schema does not describe are wrong.
    func mistakes(
        _ value: JSONValue,
        _ schema: JSONValue?,
        isClosed: Bool,
        at place: String = "$"
    ) -> [String] {
        guard let schema = resolved(schema)?.asObject else { return ["\(place): no schema"] }
        func inner(_ value: JSONValue, _ schema: JSONValue, _ place: String) -> [String] {
            mistakes(value, schema, isClosed: isClosed, at: place)
        }
        var found: [String] = []
        for (keyword, rule) in schema {
            switch keyword {
            case "description", "default", "contentMediaType": break
            case "allOf": for part in rule.asArray ?? [] { found += inner(value, part, place) }
            case "anyOf":
                let tries = (rule.asArray ?? []).map { inner(value, $0, place) }
                if !tries.contains(where: \.isEmpty) {
                    found.append("\(place): fits none: \(tries.joined().joined(separator: "; "))")
                }
            case "properties", "additionalProperties", "required", "propertyNames": break
            case "items":
                for (index, item) in (value.asArray ?? []).enumerated() {
                    found += inner(item, rule, "\(place)[\(index)]")
                }
            case "contentSchema":
                guard let text = value.asString else { break }
                if let json = try? JSONValue(parsing: Array(text.utf8)) {
                    found += inner(json, rule, place)
                } else {
                    found.append("\(place): no JSON: \(text)")
                }
            default:
                if let holds = Self.holds(value, keyword, rule) {
                    if !holds { found.append("\(place): \(keyword) \(rule.summary), found \(value.summary)") }
                } else {
                    found.append("\(place): nobody checks '\(keyword)'")
                }
            }
        }
        guard let members = value.asObject else { return found }
        for name in (schema["required"]?.asArray ?? []).compactMap(\.asString) where members[name] == nil {
            found.append("\(place).\(name): missing")
        }
        for (name, member) in members {
            if let rule = schema["propertyNames"] { found += inner(.string(name), rule, "\(place).\(name)") }
            if let rule = schema["properties"]?[name] {
                found += inner(member, rule, "\(place).\(name)")
            } else if let rule = schema["additionalProperties"] {
                found += inner(member, rule, "\(place).\(name)")
            } else if isClosed, schema["properties"] != nil {
                found.append("\(place).\(name): not described")
            }
        }
        return found
    }

    /// Whether a value keeps a rule that looks at no other schema; nil for a keyword that is not known.
    private static func holds(_ value: JSONValue, _ keyword: String, _ rule: JSONValue) -> Bool? {
        let bound = rule.asDouble ?? .nan
        let number = value.asDouble
        let count = value.asArray.map { Double($0.count) }
        switch keyword {
        case "type": return (rule.asArray ?? [rule]).contains { $0.asString.map { isA(value, $0) } ?? false }
        case "const": return value == rule
        case "enum": return rule.asArray?.contains(value) ?? false
        case "minimum": return number.map { $0 >= bound } ?? true
        case "exclusiveMinimum": return number.map { $0 > bound } ?? true
        case "maximum": return number.map { $0 <= bound } ?? true
        case "minItems": return count.map { $0 >= bound } ?? true
        case "maxItems": return count.map { $0 <= bound } ?? true
        case "minLength": return value.asString.map { Double($0.unicodeScalars.count) >= bound } ?? true
        case "maxLength": return value.asString.map { Double($0.unicodeScalars.count) <= bound } ?? true
        case "maxProperties": return value.asObject.map { Double($0.count) <= bound } ?? true
        case "pattern":
            guard let text = value.asString else { return true }
            guard let pattern = try? Regex(rule.asString ?? "(") else { return false }
            return text.firstMatch(of: pattern) != nil
        default: return nil
        }
    }

    private static func isA(_ value: JSONValue, _ type: String) -> Bool {
        switch type {
        case "null": value.isNull
        case "boolean": value.asBool != nil
        case "integer": value.asInt != nil
        case "number": value.asDouble != nil
        case "string": value.asString != nil
        case "array": value.asArray != nil
        case "object": value.asObject != nil
        default: false
        }
    }
}
