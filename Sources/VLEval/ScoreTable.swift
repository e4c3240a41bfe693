import VLJSON

/// Spells scores as a table, with four decimals; halves are rounded to the even digit.
package enum ScoreTable {
    /// Aligned columns for a terminal: name, value, number of cases.
    package static func text(_ scores: [Score]) -> String {
        let width = scores.map(\.name.count).max() ?? 0
        let digits = scores.map { "\($0.count)".count }.max() ?? 0
        return scores.reduce(into: "") { text, score in
            let count = "\(score.count)"
            text += score.name + spaces(width - score.name.count) + "  " + decimals(score.value) + "  "
            text += spaces(digits - count.count) + count + "\n"
        }
    }

    /// A table in Markdown.
    package static func markdown(_ scores: [Score]) -> String {
        scores.reduce(into: "| task | value | cases |\n|---|---:|---:|\n") { text, score in
            let name = score.name.split(separator: "|", omittingEmptySubsequences: false)
                .joined(separator: "\\|")
            text += "| \(name) | \(decimals(score.value)) | \(score.count) |\n"
        }
    }

    /// An object of the names in their order, each with `value`, rounded, and `n`.
    package static func json(_ scores: [Score]) -> JSONValue {
        var table = JSONObject()
        for score in scores {
            table[score.name] = ["value": .number(rounded(score.value)), "n": .integer(Int64(score.count))]
        }
        return .object(table)
    }

    private static func rounded(_ value: Double) -> Double {
        (value * 10_000).rounded(.toNearestOrEven) / 10_000
    }

    private static func decimals(_ value: Double) -> String {
        guard value.isFinite, value.magnitude < 1e9 else { return "\(value)" }
        let units = Int((value * 10_000).rounded(.toNearestOrEven))
        let fraction = "\(units.magnitude % 10_000)"
        let sign = units < 0 ? "-" : ""
        return "\(sign)\(units.magnitude / 10_000)." + String(repeating: "0", count: 4 - fraction.count)
            + fraction
    }

    private static func spaces(_ count: Int) -> String { String(repeating: " ", count: count) }
}
