import DeepSeekVL
import Foundation
import Testing
import VLEngine
import VLJSON
import VLTestSupport
import VLText

@testable import VLGrammar

/// Schemas that tests sample from: each feature, and several together.
let sampledSchemas: [(name: String, text: String)] = [
    ("scalars", #"{"type": ["string", "integer", "boolean", "null"], "minimum": -9, "maximum": 240}"#),
    (
        "members",
        #"{"type": "object", "properties": {"a": {"type": "integer", "minimum": -12, "maximum": 137}, "ab": {"type": "boolean"}, "名": {"enum": ["x", "xy", 3, null, true, "z\"w"]}, "q\"": {"type": "null"}}, "required": ["ab"], "additionalProperties": false}"#
    ),
    (
        "list",
        #"{"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 3}, "minItems": 1, "maxItems": 3}"#
    ),
    (
        "choices",
        #"{"anyOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["kind", "x"], "additionalProperties": false}, {"type": "object", "properties": {"kind": {"const": "ab"}, "y": {"type": "string"}}, "required": ["kind", "y"], "additionalProperties": false}, {"type": "array", "items": {"type": "integer", "minimum": 5, "maximum": 20}, "maxItems": 2}]}"#
    ),
    (
        "tree",
        ##"{"$defs": {"node": {"type": "object", "properties": {"v": {"type": "integer", "minimum": -3, "maximum": 45}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}, "all": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "required": ["v", "next"], "additionalProperties": false}}, "$ref": "#/$defs/node"}"##
    ),
    (
        "patterns",
        #"{"type": "object", "properties": {"id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3,4}(/[a-f]+)?$"}, "part": {"type": "string", "pattern": "b+|\\\\d", "maxLength": 9}, "day": {"type": "string", "format": "date"}, "ip": {"type": "string", "format": "ipv6"}, "old": {"type": "string", "format": "ipv4"}, "key": {"type": "string", "format": "uuid"}, "odd": {"type": "string", "pattern": "^[^a-z\\u0020-\\u007e]{2,5}$"}}, "required": ["id", "part", "day", "ip", "old", "key", "odd"], "additionalProperties": false}"#
    ),
    (
        "numbers",
        #"{"type": "array", "minItems": 6, "maxItems": 6, "items": {"anyOf": [{"type": "number", "minimum": -1.5, "exclusiveMaximum": 20.25}, {"type": "integer", "multipleOf": 7, "exclusiveMinimum": 100}, {"type": "number", "multipleOf": 0.01, "minimum": 0.99, "maximum": 1.01}, {"type": "number"}, {"type": "number", "exclusiveMinimum": -0.004, "maximum": -0.001}]}}"#
    ),
]

@Suite("JSON under a schema") struct SchemaTests {
    private let bundled: Bundled

    init() throws { bundled = try Bundled() }

    private func constraint(_ schema: String) throws -> TokenConstraint {
        .grammar(try BoundGrammar(try SchemaCompiler.compile(text: Array(schema.utf8)), bundled.lexicon))
    }

    private func object() throws -> TokenConstraint {
        .grammar(try BoundGrammar(try SchemaCompiler.anyObject(), bundled.lexicon))
    }

    private func bytes(_ ids: [Int32]) -> [UInt8] { ids.flatMap { Array(bundled.tokenizer.bytes(of: $0)) } }

    /// Tokens that random answers take often, since else they never leave a string.
    private func structure() throws -> [Int32: Float] {
        var favour: [Int32: Float] = [:]
        for text in ["\"", "}", "]", "{", "[", ":", ","] {
            if let id = bundled.tokenizer.tokenID(of: text) { favour[id] = 9 }
        }
        for digit in 0...9 { favour[try #require(bundled.tokenizer.tokenID(of: "\(digit)"))] = 5 }
        return favour
    }

    // MARK: Masks

    /// Hundreds of masks a schema, each against every token behind the whole text before it.
    @Test(
        "masks hold the tokens behind which the text can still become right, and no others",
        arguments: ["scalars", "members", "list", "choices", "tree", "any object"]
    )
    func masks(name: String) throws {
        let text = sampledSchemas.first { $0.name == name }?.text
        let schema = try text.map { try JSONValue(parsing: Array($0.utf8)) }
        let constraint = try text.map(constraint) ?? object()
        let count = bundled.lexicon.vocabularySize
        let spellings = (0..<Int32(count)).map { Array(bundled.tokenizer.bytes(of: $0)) }
        let isSpecial = (0..<Int32(count)).map(bundled.tokenizer.isSpecial)
        let ends = Set(bundled.lexicon.endTokens)
        let favour = try structure()
        var dice = Dice(UInt64(name.utf8.count))
        var compared = 0
        while compared < 150 {
            let state = constraint.begin(maxTokens: 1_000_000)
            var answer: [UInt8] = []
            while answer.count < 70, !state.isOver {
                let found = tokens(state.allowedTokens(), count: count)
                #expect(SlowReader.read(answer, schema).isComplete == state.isComplete)
                // Most tokens fail at their first byte, which is tried once for all.
                let firsts = Set((0...255).filter { SlowReader.read(answer + [UInt8($0)], schema).isViable })
                for id in 0..<Int32(count) {
                    let spelling = spellings[Int(id)]
                    let wanted: Bool
                    if ends.contains(id) {
                        wanted = state.isComplete
                    } else if let first = spelling.first, !isSpecial[Int(id)], firsts.contains(Int(first)) {
                        wanted = spelling.count == 1 || SlowReader.read(answer + spelling, schema).isViable
                    } else {
                        wanted = false
                    }
                    if wanted != found.contains(id) || wanted != state.permits(id) {
                        Issue.record(
                            "token \(id) \(bundled.text([id])) (\(wanted ? "wanted" : "unwanted")) behind \(String(decoding: answer, as: UTF8.self))"
                        )
                        return
                    }
                }
                compared += 1
                let good = found.subtracting(ends).sorted()
                let structural = good.filter { favour[$0] != nil }
                let likely =
                    structural.isEmpty || Int.random(in: 0..<3, using: &dice) == 0 ? good : structural
                guard let next = likely.randomElement(using: &dice) else { break }
                #expect(state.permits(next))
                state.accept(next)
                answer += spellings[Int(next)]
            }
        }
    }

    // MARK: Samples

    @Test("whatever is drawn at a high temperature fits the schema", arguments: sampledSchemas.map(\.name))
    func sampled(name: String) throws {
        let text = try #require(sampledSchemas.first { $0.name == name }?.text)
        let schema = try JSONValue(parsing: Array(text.utf8))
        let constraint = try constraint(text)
        let favour = try structure()
        let check = SchemaCheck(root: schema)
        var different: Set<[UInt8]> = []
        for seed in 0..<30 as Range<UInt64> {
            let answer = randomAnswer(
                constraint,
                bundled.lexicon,
                maxTokens: [250, 300, 400][Int(seed % 3)],
                seed: seed,
                favour: seed % 2 == 0 ? favour : [:]
            )
            let bytes = bytes(answer.ids)
            let shown = String(decoding: bytes, as: UTF8.self)
            #expect(answer.finish == .stop, "\(shown)")
            let value = try JSONValue(parsing: bytes)
            #expect(check.problem(value, schema) == nil, "\(shown)")
            different.insert(bytes)
        }
        #expect(different.count > 10)
    }

    @Test("any object is JSON, and is closed before the tokens end")
    func anyObject() throws {
        let constraint = try object()
        let favour = try structure()
        for seed in 0..<40 as Range<UInt64> {
            let limit = [2, 5, 17, 60, 150][Int(seed % 5)]
            let answer = randomAnswer(
                constraint,
                bundled.lexicon,
                maxTokens: limit,
                seed: seed,
                favour: favour
            )
            let bytes = bytes(answer.ids)
            #expect(answer.finish == .stop, "\(String(decoding: bytes, as: UTF8.self))")
            // Two members may have the same name, which our own reader refuses.
            let value = try JSONSerialization.jsonObject(with: Data(bytes))
            #expect(value is [String: Any])
        }
    }

    @Test("an answer with too few tokens for any value is cut and says so")
    func tooShort() throws {
        let text = try #require(sampledSchemas.first { $0.name == "patterns" }?.text)
        let answer = randomAnswer(try constraint(text), bundled.lexicon, maxTokens: 20, seed: 1)
        #expect(answer.finish == .length)
        #expect(answer.ids.count == 20)
    }

    @Test("blanks and new lines are written as people do, not without end")
    func blanks() throws {
        let constraint = try constraint(try #require(sampledSchemas.first { $0.name == "members" }?.text))
        func permits(_ text: String) throws -> Bool {
            let state = constraint.begin(maxTokens: 1000)
            for id in try bundled.tokenizer.encode(text) {
                guard state.permits(id) else { return false }
                state.accept(id)
            }
            return true
        }
        #expect(try permits(#"{"a": 1, "ab": true}"#))
        #expect(try permits(#"{"a":1,"ab":true}"#))
        #expect(try permits("{\n  \"a\": 1,\n  \"ab\": true\n}"))
        #expect(try !permits("{  \"a\""))
        #expect(try !permits("{\n\n"))
        #expect(try !permits(#"{"a": 01"#))
        #expect(try !permits(#"{"a": 138"#))
        #expect(try !permits(#"{"ab": true, "a""#))
        #expect(try !permits(#"{"b""#))
    }

    // MARK: What is refused

    /// The keyword and the place that an error names.
    struct Refusal: Sendable {
        let schema: String
        let keyword: String?
        let pointer: String?

        init(_ schema: String, _ keyword: String?, _ pointer: String?) {
            self.schema = schema
            self.keyword = keyword
            self.pointer = pointer
        }
    }

    @Test(
        "what is not supported is refused with its keyword and its place",
        arguments: [
            Refusal(
                #"{"type": "object", "properties": {"a": {"type": "string", "not": {}}}}"#,
                "not",
                "#/properties/a"
            ),
            Refusal(
                #"{"type": "array", "items": {"type": "array", "uniqueItems": true}}"#,
                "uniqueItems",
                "#/items"
            ),
            Refusal(#"{"anyOf": [{"type": "null"}, {"allOf": []}]}"#, "allOf", "#/anyOf/1"),
            Refusal(#"{"oneOf": [{"type": "null"}]}"#, "oneOf", "#"),
            Refusal(#"{"type": "object", "properties": {"a/b~": {"if": {}}}}"#, "if", "#/properties/a~1b~0"),
            Refusal(#"{"type": "object", "additionalProperties": true}"#, "additionalProperties", "#"),
            Refusal(
                #"{"type": "object", "additionalProperties": {"type": "string"}}"#,
                "additionalProperties",
                "#"
            ),
            Refusal(#"{"type": "object", "patternProperties": {}}"#, "patternProperties", "#"),
            Refusal(#"{"type": "object", "properties": {}, "required": ["a"]}"#, "required", "#"),
            Refusal(#"{"type": "string", "format": "uri"}"#, "format", "#"),
            Refusal(#"{"type": "string", "pattern": "(?=a)"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "(a)\\1"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "\\bword"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "a**"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "a$b"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "[z-a]"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "(a"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "a)"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "*"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "a{2,1}"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": "a{99999}"}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "pattern": 5}"#, "pattern", "#"),
            Refusal(#"{"type": "string", "minLength": -1}"#, "minLength", "#"),
            Refusal(#"{"type": "string", "maxLength": 100000}"#, "maxLength", "#"),
            Refusal(#"{"type": "number", "multipleOf": 0.3}"#, "multipleOf", "#"),
            Refusal(#"{"type": "number", "multipleOf": 0}"#, "multipleOf", "#"),
            Refusal(#"{"type": "number", "minimum": "1"}"#, "minimum", "#"),
            Refusal(#"{"type": "number", "minimum": 1, "exclusiveMinimum": 1}"#, "exclusiveMinimum", "#"),
            Refusal(#"{"type": "strange"}"#, "type", "#"),
            Refusal(#"{"type": []}"#, "type", "#"),
            Refusal(#"{}"#, "type", "#"),
            Refusal(#"true"#, "#", "#"),
            Refusal(#"{"enum": []}"#, "enum", "#"),
            Refusal(#"{"enum": ["a"], "minLength": 2}"#, "minLength", "#"),
            Refusal(##"{"$ref": "#/$defs/missing"}"##, "$ref", "#"),
            Refusal(#"{"$ref": "http://example.com/schema"}"#, "$ref", "#"),
            Refusal(
                ##"{"$defs": {"a": {"type": "null"}}, "$ref": "#/$defs/a", "type": "null"}"##,
                "type",
                "#"
            ),
            Refusal(##"{"$defs": {"a": {"type": "date"}}, "$ref": "#/$defs/a"}"##, "type", "#/$defs/a"),
            // No value at all.
            Refusal(#"{"type": "integer", "minimum": 3, "maximum": 2}"#, nil, "#"),
            Refusal(#"{"type": "integer", "exclusiveMinimum": 2, "exclusiveMaximum": 3}"#, nil, "#"),
            Refusal(#"{"type": "string", "minLength": 3, "maxLength": 2}"#, nil, "#"),
            Refusal(#"{"type": "string", "pattern": "^ab$", "minLength": 3}"#, nil, "#"),
            Refusal(#"{"type": "array", "minItems": 3, "maxItems": 2}"#, nil, "#"),
            Refusal(#"{"enum": ["a"], "type": "integer"}"#, nil, "#"),
            Refusal(##"{"$ref": "#"}"##, nil, "#"),
            Refusal(##"{"type": "array", "items": {"$ref": "#"}, "minItems": 1}"##, nil, "#"),
            // No JSON.
            Refusal("", nil, nil), Refusal("{", nil, nil), Refusal(#"{"type": "null"}}"#, nil, nil),
            Refusal(#"{"type": "null", "type": "null"}"#, nil, nil),
        ]
    )
    func refused(refusal: Refusal) throws {
        do {
            _ = try constraint(refusal.schema)
            Issue.record("\(refusal.schema) is taken")
        } catch let error as GrammarError {
            #expect(error.keyword == refusal.keyword, "\(refusal.schema): \(error)")
            #expect(error.pointer == refusal.pointer, "\(refusal.schema): \(error)")
        }
    }

    /// Each would take minutes or gigabytes if a limit were missing.
    @Test("hostile schemas end with an error")
    func hostile() throws {
        let deep = String(repeating: #"{"type": "array", "items": "#, count: 60_000)
        let parentheses = String(repeating: "(", count: 4000)
        let nested = (0..<30).reduce("a") { inner, _ in "(\(inner)){0,1000}" }
        let choices = (0..<200).map { _ in #"{"type": "null"}"# }.joined(separator: ",")
        let doubled = (0..<40).map {
            ##""d\##($0)": {"type": "object", "properties": {"a": {"$ref": "#/$defs/d\##($0 + 1)"}, "b": {"$ref": "#/$defs/d\##($0 + 1)"}}, "required": ["a", "b"]}"##
        }
        let long = #"{"type": "string", "maxLength": 5000}"#
        let many = #"{"type": "array", "minItems": 5000, "items": "#
        let values = (0..<2001).map { "\($0)" }.joined(separator: ",")
        let schemas = [
            deep, #"{"type": "string", "pattern": "\#(parentheses)"}"#,
            #"{"type": "string", "pattern": "\#(nested)"}"#,
            #"{"type": "string", "pattern": "^(a|b)*a(a|b){20}$"}"#,
            #"{"type": "string", "pattern": "^([a-z]{0,900}){0,900}$"}"#,
            #"{"type": "string", "pattern": "\#(String(repeating: "a", count: 5000))"}"#,
            #"{"anyOf": [\#(choices)]}"#,
            #"{"enum": [\#(values)]}"#,
            many + many + many + many + #"{"type": "null"}}}}}"#,
            #"{"type": "object", "properties": {\#((0..<5001).map { #""p\#($0)": {"type": "null"}"# }.joined(separator: ","))}}"#,
            #"{"type": "object", "properties": {\#((0..<9).map { #""p\#($0)": \#(long)"# }.joined(separator: ","))}}"#,
            ##"{"$defs": {\##(doubled.joined(separator: ",")), "d40": {"type": "null"}}, "$ref": "#/$defs/d0"}"##,
            String(repeating: " ", count: 300 << 10) + #"{"type": "null"}"#,
        ]
        for schema in schemas {
            #expect(throws: GrammarError.self, "\(schema.prefix(80))") { try constraint(schema) }
        }
    }

    @Test("a schema that says the same in very many ways is followed in some of them")
    func ambiguous() throws {
        let schema =
            ##"{"$defs": {"a": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/a"}}, {"type": "array", "items": {"$ref": "#/$defs/a"}, "maxItems": 4}, {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, {"type": "integer"}]}}, "$ref": "#/$defs/a"}"##
        let value = try JSONValue(parsing: Array(schema.utf8))
        let constraint = try constraint(schema)
        let open = try #require(bundled.tokenizer.tokenID(of: "["))
        for seed in 0..<4 as Range<UInt64> {
            let answer = randomAnswer(
                constraint,
                bundled.lexicon,
                maxTokens: 120,
                seed: seed,
                favour: [open: 40]
            )
            #expect(answer.finish == .stop)
            let found = try JSONValue(parsing: bytes(answer.ids))
            #expect(SchemaCheck(root: value).problem(found, value) == nil)
        }
    }
}
