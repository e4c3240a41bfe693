import VLJSON

/// What a calibration file holds.
package enum CalibrationFile: Sendable, Equatable {
    /// Plain text.
    case text(String)
    /// Questions with answers, as `eval` reads them.
    case questions
    /// Conversations in JSON: each a list of messages.
    case conversations([JSONValue])

    /// Reads a file, whose kind its name and its first line tell.
    ///
    /// - `.jsonl`: an object a line. Lines with a `task` are questions. Others are `{"text": …}`, whose texts are joined
    ///   by empty lines, `{"messages": […]}` or a list of messages.
    /// - `.json`: a list of messages, or of such lists.
    /// - anything else: a text in UTF-8.
    /// - Throws: `MeasureError.calibration` for a line that is none of these, for a file of lines of several kinds, and
    ///   for one without a usable line.
    package static func parse(_ bytes: [UInt8], file: String) throws(MeasureError) -> CalibrationFile {
        if file.hasSuffix(".jsonl") { return try lines(bytes, file) }
        if file.hasSuffix(".json") { return .conversations(try conversations(bytes, file)) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .calibration(file: file, place: "", expected: "UTF-8", found: "other bytes")
        }
        guard text.contains(where: { !$0.isWhitespace }) else { throw unusable(file, "a text", bytes.count) }
        return .text(text)
    }

    private static func unusable(_ file: String, _ wanted: String, _ count: Int) -> MeasureError {
        .calibration(
            file: file,
            place: "",
            expected: wanted,
            found: count == 0 ? "an empty file" : "\(count) bytes without a usable line"
        )
    }

    private static func value(
        _ bytes: [UInt8],
        _ file: String,
        _ place: String
    ) throws(MeasureError) -> JSONValue {
        do throws(JSONError) {
            return try JSONValue(parsing: bytes)
        } catch {
            throw .calibration(
                file: file,
                place: place,
                expected: "JSON",
                found: "none (\(error.description))"
            )
        }
    }

    private static func conversations(_ bytes: [UInt8], _ file: String) throws(MeasureError) -> [JSONValue] {
        let root = try value(bytes, file, "root")
        guard let list = root.asArray ?? root["messages"]?.asArray else {
            throw .calibration(
                file: file,
                place: "root",
                expected: "a list of messages, or a list of such lists",
                found: root.summary
            )
        }
        guard let first = list.first else { throw unusable(file, "conversations", bytes.count) }
        return first.asArray == nil ? [.array(list)] : list
    }

    private static func lines(_ bytes: [UInt8], _ file: String) throws(MeasureError) -> CalibrationFile {
        var texts: [String] = []
        var conversations: [JSONValue] = []
        for (index, line) in bytes.split(separator: 0x0a, omittingEmptySubsequences: false).enumerated() {
            guard line.contains(where: { $0 != 0x20 && !(0x09...0x0d).contains($0) }) else { continue }
            let place = "line \(index + 1)"
            let value = try value(Array(line), file, place)
            if value["task"] != nil && texts.isEmpty && conversations.isEmpty { return .questions }
            if let text = value["text"]?.asString, value["messages"] == nil {
                if text.contains(where: { !$0.isWhitespace }) { texts.append(text) }
            } else if let list = value.asArray ?? value["messages"]?.asArray, !list.isEmpty {
                conversations.append(.array(list))
            } else {
                throw .calibration(
                    file: file,
                    place: place,
                    expected: "an object with 'text', 'messages' or 'task', or a list of messages",
                    found: value.summary
                )
            }
            guard texts.isEmpty || conversations.isEmpty else {
                throw .calibration(
                    file: file,
                    place: place,
                    expected: "lines of one kind",
                    found: "texts and conversations"
                )
            }
        }
        if !conversations.isEmpty { return .conversations(conversations) }
        guard !texts.isEmpty else {
            throw unusable(file, "lines with texts, conversations or questions", bytes.count)
        }
        return .text(texts.joined(separator: "\n\n"))
    }
}
