import VLJSON

/// One object of a JSON-lines file, with the place that its errors name.
struct JSONLine {
    let record: JSONValue
    let file: String
    let number: Int

    func error(_ expected: String, found: String) -> EvalError {
        EvalError(file: file, line: number, expected: expected, found: found)
    }

    /// The error for a member that is missing or of another kind.
    func error(_ expected: String, at key: String) -> EvalError {
        error("\(expected) as '\(key)'", found: record[key]?.summary ?? "none")
    }

    func string(_ key: String) throws(EvalError) -> String {
        guard let text = record[key]?.asString else { throw error("a text", at: key) }
        return text
    }

    /// The text `key`, or nil where there is no such member.
    func optionalString(_ key: String) throws(EvalError) -> String? {
        record[key] == nil ? nil : try string(key)
    }

    /// The elements of the array `key`, each as `read` sees it.
    func array<Element>(
        _ key: String,
        of expected: String,
        _ read: (JSONValue) -> Element?
    ) throws(EvalError) -> [Element] {
        guard let values = record[key]?.asArray else { throw error("an array of \(expected)", at: key) }
        var elements: [Element] = []
        for value in values {
            guard let element = read(value) else {
                throw error("an array of \(expected) as '\(key)'", found: "\(value.summary) in it")
            }
            elements.append(element)
        }
        return elements
    }

    /// The lines of `bytes` that are not blank; each has to be an object with an `id` of its own.
    static func parse(_ bytes: [UInt8], file: String) throws(EvalError) -> [(id: String, line: JSONLine)] {
        var lines: [(id: String, line: JSONLine)] = []
        var seen: [ExactString: Int] = [:]
        let texts = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, text) in texts.enumerated() where !text.allSatisfy(isBlank) {
            let line = JSONLine(record: try object(text, file, index + 1), file: file, number: index + 1)
            let id = try line.string("id")
            if let other = seen.updateValue(line.number, forKey: ExactString(id)) {
                throw line.error("each id once", found: "'\(id.excerpt())' of line \(other) again")
            }
            lines.append((id, line))
        }
        return lines
    }

    private static func object(
        _ text: ArraySlice<UInt8>,
        _ file: String,
        _ number: Int
    ) throws(EvalError) -> JSONValue {
        let expected = "one JSON object on each line"
        let value: JSONValue
        do {
            value = try JSONValue(parsing: Array(text))
        } catch {
            throw EvalError(file: file, line: number, expected: expected, found: "none (\(error))")
        }
        guard value.asObject != nil else {
            throw EvalError(file: file, line: number, expected: expected, found: value.summary)
        }
        return value
    }
}

func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
