import Testing
import VLEval

@Suite struct ReferenceComparisonTests {
    @Test("the example reference agrees with itself")
    func agrees() throws {
        var comparison = try exampleReference()
        #expect(comparison.references.count == 633)
        #expect(comparison.missing.count == 633)
        for (index, reference) in comparison.references.enumerated() {
            let isSame =
                index.isMultiple(of: 2)
                ? comparison.add(reference.id, text: reference.text)
                : comparison.add(reference.id, tokens: reference.tokens.map(Int32.init))
            #expect(isSame == true)
        }
        #expect(comparison.sameCount == 633)
        #expect(comparison.missing.isEmpty)
        #expect(comparison.passes)
    }

    @Test("differences are listed with their lead and forgiven below 0.01")
    func differs() {
        func reference(_ id: String, _ lead: Double) -> String {
            #"{"id": "\#(id)", "prompt_tokens": 4, "ids": [1, 2], "text": "é", "lead": \#(lead)}"#
        }
        let lines = [reference("a", 0.0099), reference("b", 0.01), reference("c", 3), reference("d", 3)]
        var comparison = ReferenceComparison([])
        #expect(throws: Never.self) {
            comparison = try .parse(Array(lines.joined(separator: "\n").utf8), file: "r")
        }
        #expect(comparison.reference("a")?.promptTokenCount == 4)
        #expect(comparison.add("a", tokens: [1]) == false)
        #expect(comparison.passes)
        #expect(comparison.add("b", text: "e\u{301}") == false)
        #expect(comparison.add("c", text: "\u{E9}") == true)
        #expect(comparison.add("z", text: "") == nil)
        #expect(!comparison.passes)
        #expect(comparison.comparedCount == 3)
        #expect(comparison.sameCount == 1)
        #expect(comparison.missing == ["d"])
        #expect(comparison.differences.map(\.id) == ["a", "b"])
        #expect(comparison.differences.map(\.found) == ["[1]", "e\u{301}"])
        #expect(comparison.differences.map(\.isForgiven) == [true, false])
        #expect(
            comparison.text == """
                1 of 3 answers are the reference's, 1 differ at a lead below 0.01, 1 differ otherwise
                a  lead 0.0099  forgiven
                b  lead 0.01  different

                """
        )
        comparison.add("b", tokens: [1, 2])
        #expect(comparison.passes)
    }

    @Test(
        "malformed lines are refused",
        arguments: [
            (#"{"id": "a"}"#, "a number that is not negative as 'lead'", "none"),
            (#"{"id": "a", "lead": -1}"#, "a number that is not negative as 'lead'", "-1"),
            (#"{"id": "a", "lead": 1, "ids": [1.5]}"#, "an array of token ids as 'ids'", "1.5 in it"),
            (#"{"id": "a", "lead": 1, "ids": []}"#, "a text as 'text'", "none"),
            (
                #"{"id": "a", "lead": 1, "prompt_tokens": -1}"#,
                "a whole number that is not negative as 'prompt_tokens'", "-1"
            ),
        ]
    )
    func malformed(_ line: String, _ expected: String, _ found: String) {
        let error = #expect(throws: EvalError.self) {
            try ReferenceComparison.parse(Array("\n\(line)".utf8), file: "r")
        }
        #expect(error?.line == 2)
        #expect(error?.expected == expected)
        #expect(error?.found == found || error?.found == "\(found) in it")
    }
}
