import Testing
import VLJSON

@Suite struct JSONValueTests {
    @Test("a tree keeps order, and finds members by key")
    func keepsOrder() throws {
        let value = try JSONValue(parsing: Array(#" {"z": 1, "a": [true, null, "x", 2.5], "m": {}} "#.utf8))
        #expect(value.asObject?.keys == ["z", "a", "m"])
        #expect(value == ["z": 1, "a": [true, nil, "x", 2.5], "m": .object([:])])
        #expect(value["z"]?.asInt == 1 && value["z"]?.asDouble == 1 && value["z"]?.asString == nil)
        #expect(value["a"]?.asArray?.map(\.summary) == ["true", "null", "\"x\"", "2.5"])
        #expect(value["q"] == nil && value["a"]?.asArray?[1].isNull == true)
    }

    @Test("members are replaced in place and removed without losing the others")
    func editsObjects() {
        var object: JSONObject = ["a": 1, "b": 2, "c": 3]
        object["b"] = "two"
        object["a"] = nil
        object["d"] = nil
        object["e"] = [1]
        #expect(object.keys == ["b", "c", "e"] && object.count == 3 && !object.isEmpty)
        #expect(object["b"] == "two" && object["c"] == 3 && object["e"] == [1] && object["a"] == nil)
    }

    @Test("a number with a fraction or an exponent is no whole number")
    func keepsIntegersApart() throws {
        let value = try JSONValue(parsing: Array("[64, 64.0, 6e1, -0, 1e2]".utf8))
        #expect(value.asArray?.map(\.asInt) == [64, nil, nil, 0, nil])
    }
}
