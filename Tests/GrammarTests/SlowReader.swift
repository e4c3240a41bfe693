import Foundation
import VLJSON

/// What is said of JSON and schemas once more, slowly: a reader that goes back and tries again.
///
/// It reads the beginning of a text and says whether there is a text that begins so. Of schemas it knows what the tests
/// of masks use.
struct SlowReader {
    private let text: [UInt8]
    private let root: JSONValue
    /// Whether the text ended where it could go on.
    private var reachedEnd = false

    /// - Parameter schema: nil for any object.
    static func read(_ text: [UInt8], _ schema: JSONValue?) -> (isViable: Bool, isComplete: Bool) {
        var reader = SlowReader(text: text, root: schema ?? .null)
        var ends: Set<Int> = []
        for start in reader.blanks(0) {
            ends.formUnion(schema.map { reader.value($0, start) } ?? reader.object(nil, start))
        }
        let isComplete = ends.contains(text.count)
        return (isComplete || reader.reachedEnd, isComplete)
    }

    private init(text: [UInt8], root: JSONValue) {
        self.text = text
        self.root = root
    }

    // MARK: Parts

    private mutating func literal(_ wanted: [UInt8], _ start: Int) -> Set<Int> {
        for (index, byte) in wanted.enumerated() {
            if start + index == text.count {
                reachedEnd = true
                return []
            }
            if text[start + index] != byte { return [] }
        }
        return [start + wanted.count]
    }

    private mutating func literal(_ wanted: String, _ start: Int) -> Set<Int> {
        literal(Array(wanted.utf8), start)
    }

    private mutating func literal(_ wanted: String, _ starts: Set<Int>) -> Set<Int> {
        var ends: Set<Int> = []
        for start in starts { ends.formUnion(literal(wanted, start)) }
        return ends
    }

    private mutating func blanks(_ start: Int) -> Set<Int> {
        var ends: Set<Int> = [start]
        if start == text.count { reachedEnd = true }
        guard start < text.count else { return ends }
        if text[start] == 0x20 { ends.insert(start + 1) }
        guard text[start] == 0x0A else { return ends }
        var place = start + 1
        ends.insert(place)
        while place < text.count, place <= start + 40, text[place] == 0x20 || text[place] == 0x09 {
            place += 1
            ends.insert(place)
        }
        return ends
    }

    private mutating func blanks(_ starts: Set<Int>) -> Set<Int> {
        var ends: Set<Int> = []
        for start in starts { ends.formUnion(blanks(start)) }
        return ends
    }

    // MARK: Values

    private mutating func value(_ schema: JSONValue, _ start: Int) -> Set<Int> {
        if let reference = schema["$ref"]?.asString {
            var target = root
            for part in reference.split(separator: "/").dropFirst() { target = target[String(part)] ?? .null }
            return value(target, start)
        }
        if let choices = schema["anyOf"]?.asArray {
            return choices.reduce(into: []) { $0.formUnion(value($1, start)) }
        }
        if let constant = schema["const"] { return literal(JSONWriter.encode(constant), start) }
        if let values = schema["enum"]?.asArray {
            return values.reduce(into: []) { $0.formUnion(literal(JSONWriter.encode($1), start)) }
        }
        let types = schema["type"]?.asArray ?? [schema["type"] ?? .null]
        var ends: Set<Int> = []
        for type in types.compactMap(\.asString) {
            switch type {
            case "object": ends.formUnion(object(schema, start))
            case "array": ends.formUnion(array(schema, start))
            case "string":
                ends.formUnion(string(schema["minLength"]?.asInt, schema["maxLength"]?.asInt, start))
            case "integer": ends.formUnion(integer(schema, start))
            case "boolean":
                ends.formUnion(literal("true", start))
                ends.formUnion(literal("false", start))
            default: ends.formUnion(literal("null", start))
            }
        }
        return ends
    }

    private mutating func anything(_ start: Int) -> Set<Int> {
        var ends: Set<Int> = []
        for word in ["null", "true", "false"] { ends.formUnion(literal(word, start)) }
        ends.formUnion(number(start))
        ends.formUnion(string(nil, nil, start))
        ends.formUnion(object(nil, start))
        ends.formUnion(array(["type": "array"], start))
        return ends
    }

    private mutating func object(_ schema: JSONValue?, _ start: Int) -> Set<Int> {
        let opened = blanks(literal("{", start))
        guard let schema, let properties = schema["properties"]?.asObject else {
            var ends = literal("}", opened)
            var starts = opened
            while !starts.isEmpty {
                var next: Set<Int> = []
                for start in starts {
                    let keys = literal(":", string(nil, nil, start))
                    for place in blanks(keys) { next.formUnion(anything(place)) }
                }
                ends.formUnion(literal("}", blanks(next)))
                starts = blanks(literal(",", next))
            }
            return ends
        }
        let required = Set((schema["required"]?.asArray ?? []).compactMap(\.asString))
        let names = properties.keys
        var ends: Set<Int> = []
        /// Tries all members from an index on that may come next.
        func members(_ reader: inout SlowReader, from index: Int, at starts: Set<Int>) {
            for place in index..<names.count where !starts.isEmpty {
                let quoted = String(decoding: JSONWriter.encode(.string(names[place])), as: UTF8.self)
                var after: Set<Int> = []
                for start in reader.blanks(reader.literal(quoted + ":", starts)) {
                    after.formUnion(reader.value(properties[names[place]] ?? .null, start))
                }
                if !after.isEmpty {
                    if !names[(place + 1)...].contains(where: required.contains) {
                        ends.formUnion(reader.literal("}", reader.blanks(after)))
                    }
                    if place + 1 < names.count {
                        members(&reader, from: place + 1, at: reader.blanks(reader.literal(",", after)))
                    }
                }
                if required.contains(names[place]) { return }
            }
        }
        if required.isEmpty { ends.formUnion(literal("}", opened)) }
        members(&self, from: 0, at: opened)
        return ends
    }

    private mutating func array(_ schema: JSONValue, _ start: Int) -> Set<Int> {
        let least = schema["minItems"]?.asInt ?? 0
        let most = schema["maxItems"]?.asInt ?? .max
        var starts = blanks(literal("[", start))
        var ends: Set<Int> = least == 0 ? literal("]", starts) : []
        var count = 0
        while !starts.isEmpty, count < most {
            var after: Set<Int> = []
            for start in starts {
                after.formUnion(schema["items"].map { value($0, start) } ?? anything(start))
            }
            count += 1
            if count >= least { ends.formUnion(literal("]", blanks(after))) }
            starts = count < most ? blanks(literal(",", after)) : []
        }
        return ends
    }

    // MARK: Strings and numbers

    private mutating func string(_ least: Int?, _ most: Int?, _ start: Int) -> Set<Int> {
        guard var place = literal("\"", start).first else { return [] }
        let isCounted = least ?? 0 > 0 || most != nil
        var count = 0
        while true {
            guard place < text.count else {
                reachedEnd = true
                return []
            }
            if text[place] == 0x22 { return count >= least ?? 0 ? [place + 1] : [] }
            if count == most { return [] }
            guard let length = text[place] == 0x5C ? escape(place, isCounted) : character(place) else {
                return []
            }
            place += length
            count += 1
        }
    }

    /// The length of a character; nil for none, or where the text ends.
    private mutating func character(_ place: Int) -> Int? {
        let rest = text[place...].prefix(4)
        if rest[place] < 0x20 { return nil }
        for length in 1...rest.count {
            if let text = String(validating: rest.prefix(length), as: UTF8.self),
                text.unicodeScalars.count == 1
            {
                return length
            }
        }
        // The beginning of a character is one if something completes it.
        for tail in [
            [0x80], [0x90], [0xA0], [0x80, 0x80], [0x90, 0x80], [0xA0, 0x80], [0x80, 0x80, 0x80],
            [0x90, 0x80, 0x80],
        ]
            as [[UInt8]]
        where rest.count < 4 && place + rest.count == text.count {
            if let text = String(validating: Array(rest) + tail, as: UTF8.self),
                text.unicodeScalars.count == 1
            {
                reachedEnd = true
            }
        }
        return nil
    }

    /// All escapes that a reader knows, by trying: in counted texts those alone that are the shortest.
    private mutating func escape(_ place: Int, _ isCounted: Bool) -> Int? {
        let rest = Array(text[place...].prefix(12))
        for length in 2...max(2, rest.count) where rest.count >= length {
            let quoted = [0x22] + rest.prefix(length) + [0x22]
            guard let text = try? JSONValue(parsing: quoted).asString, text.unicodeScalars.count == 1 else {
                continue
            }
            if isCounted && Self.shortest(text) != Array(rest.prefix(length)) { return nil }
            return length
        }
        guard place + rest.count == text.count else { return nil }
        if isCounted {
            let all = (Array(0..<UInt8(0x20)) + [0x22, 0x5C]).map { Self.shortest("\(Unicode.Scalar($0))") }
            if all.contains(where: { $0.starts(with: rest) }) { reachedEnd = true }
            return nil
        }
        // One of these completes it, or nothing does.
        let tails = ["", "0", "00", "000", "0000"]
        let lows = ["", "\\udc00", "udc00", "dc00", "c00", "00", "0"]
        for tail in tails {
            for low in lows {
                let quoted = [0x22] + rest + Array((tail + low).utf8) + [0x22]
                if let text = try? JSONValue(parsing: quoted).asString, text.unicodeScalars.count == 1 {
                    reachedEnd = true
                    return nil
                }
            }
        }
        if rest == [0x5C] { reachedEnd = true }
        return nil
    }

    private static func shortest(_ text: String) -> [UInt8] {
        let scalar = text.unicodeScalars.first?.value ?? 0
        let short: [UInt32: String] = [
            0x22: "\\\"", 0x5C: "\\\\", 8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r",
        ]
        if let known = short[scalar] { return Array(known.utf8) }
        return scalar < 0x20 ? Array(String(format: "\\u%04x", scalar).utf8) : Array(text.utf8)
    }

    private mutating func integer(_ schema: JSONValue, _ start: Int) -> Set<Int> {
        let range = (schema["minimum"]?.asInt ?? -300)...(schema["maximum"]?.asInt ?? 300)
        let rest = text[start...].prefix(6)
        var ends: Set<Int> = []
        for value in range {
            let spelled = Array("\(value)".utf8)
            if rest.starts(with: spelled) { ends.insert(start + spelled.count) }
            if start + rest.count == text.count && spelled.count > rest.count && spelled.starts(with: rest) {
                reachedEnd = true
            }
        }
        return ends
    }

    /// Any number, with the limits on digits that grammars have.
    private mutating func number(_ start: Int) -> Set<Int> {
        var ends: Set<Int> = []
        func digits(_ reader: inout SlowReader, _ place: Int, _ most: Int) -> [Int] {
            var places: [Int] = []
            var next = place
            while next < reader.text.count, next < place + most, (0x30...0x39).contains(reader.text[next]) {
                next += 1
                places.append(next)
            }
            if next == reader.text.count, next < place + most { reader.reachedEnd = true }
            return places
        }
        func has(_ reader: SlowReader, _ place: Int, _ characters: String) -> Bool {
            place < reader.text.count && characters.utf8.contains(reader.text[place])
        }
        if start == text.count { reachedEnd = true }
        let first = has(self, start, "-") ? start + 1 : start
        if first == text.count { reachedEnd = true }
        let wholes = has(self, first, "0") ? [first + 1] : digits(&self, first, 18)
        for whole in wholes {
            if whole == text.count { reachedEnd = true }
            var mantissas = [whole]
            if has(self, whole, ".") { mantissas += digits(&self, whole + 1, 15) }
            for mantissa in mantissas {
                ends.insert(mantissa)
                if mantissa == text.count { reachedEnd = true }
                guard has(self, mantissa, "eE") else { continue }
                if mantissa + 1 == text.count { reachedEnd = true }
                let sign = has(self, mantissa + 1, "+-") ? mantissa + 2 : mantissa + 1
                ends.formUnion(digits(&self, sign, 2))
            }
        }
        return ends
    }
}

/// Whether a value is what a schema says, by its own reading of the keywords.
struct SchemaCheck {
    let root: JSONValue

    /// What is wrong; nil if nothing is.
    func problem(_ value: JSONValue, _ schema: JSONValue, at place: String = "#") -> String? {
        if let reference = schema["$ref"]?.asString {
            var target = root
            for part in reference.split(separator: "/").dropFirst() { target = target[String(part)] ?? .null }
            return problem(value, target, at: place)
        }
        if let choices = schema["anyOf"]?.asArray {
            return choices.contains { problem(value, $0, at: place) == nil } ? nil : "\(place): none of anyOf"
        }
        if let constant = schema["const"], constant != value { return "\(place): not the constant" }
        if let values = schema["enum"]?.asArray, !values.contains(value) { return "\(place): not in enum" }
        if let type = schema["type"] {
            let names = (type.asArray ?? [type]).compactMap(\.asString)
            guard names.contains(where: { Self.has(value, $0) }) else { return "\(place): not \(names)" }
        }
        switch value {
        case .string(let text): return textProblem(text, schema).map { "\(place): \($0): \(text)" }
        case .integer, .number: return numberProblem(value, schema).map { "\(place): \($0): \(value)" }
        case .array(let items):
            if let least = schema["minItems"]?.asInt, items.count < least { return "\(place): too few" }
            if let most = schema["maxItems"]?.asInt, items.count > most { return "\(place): too many" }
            guard let item = schema["items"] else { return nil }
            for (index, value) in items.enumerated() {
                if let problem = problem(value, item, at: "\(place)[\(index)]") { return problem }
            }
        case .object(let members):
            for name in (schema["required"]?.asArray ?? []).compactMap(\.asString) where members[name] == nil
            {
                return "\(place): \(name) is missing"
            }
            guard let properties = schema["properties"]?.asObject else { return nil }
            for (name, member) in members {
                guard let part = properties[name] else { return "\(place): \(name) is too much" }
                if let problem = problem(member, part, at: "\(place).\(name)") { return problem }
            }
            let order = properties.keys.filter { members[$0] != nil }
            if order != members.keys { return "\(place): not in order" }
        case .null, .bool: break
        }
        return nil
    }

    private static func has(_ value: JSONValue, _ type: String) -> Bool {
        switch (value, type) {
        case (.null, "null"), (.bool, "boolean"), (.integer, "integer"), (.integer, "number"),
            (.number, "number"),
            (.string, "string"), (.array, "array"), (.object, "object"):
            true
        default: false
        }
    }

    private func textProblem(_ text: String, _ schema: JSONValue) -> String? {
        let count = text.unicodeScalars.count
        if let least = schema["minLength"]?.asInt, count < least { return "too short" }
        if let most = schema["maxLength"]?.asInt, count > most { return "too long" }
        if let pattern = schema["pattern"]?.asString,
            text.range(of: pattern, options: .regularExpression) == nil
        {
            return "not the pattern"
        }
        switch schema["format"]?.asString {
        case "date":
            let formatter = DateFormatter()
            formatter.dateFormat = "yyyy-MM-dd"
            formatter.isLenient = false
            return formatter.date(from: text) == nil ? "no date" : nil
        case "uuid": return UUID(uuidString: text) == nil ? "no UUID" : nil
        case "ipv4":
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            return parts.count == 4 && parts.allSatisfy { UInt8($0).map { "\($0)" } == String($0) }
                ? nil : "no IPv4"
        case "ipv6":
            var address = in6_addr()
            return inet_pton(AF_INET6, text, &address) == 1 ? nil : "no IPv6"
        default: return nil
        }
    }

    private func numberProblem(_ value: JSONValue, _ schema: JSONValue) -> String? {
        let number = value.asDouble ?? .nan
        if let bound = schema["minimum"]?.asDouble, number < bound { return "too small" }
        if let bound = schema["exclusiveMinimum"]?.asDouble, number <= bound { return "too small" }
        if let bound = schema["maximum"]?.asDouble, number > bound { return "too great" }
        if let bound = schema["exclusiveMaximum"]?.asDouble, number >= bound { return "too great" }
        if let divisor = schema["multipleOf"]?.asDouble {
            let quotient = number / divisor
            return abs(quotient - quotient.rounded()) < 1e-6 * max(1, abs(quotient)) ? nil : "no multiple"
        }
        return nil
    }
}
