#if Network
import Foundation
import Logging
import VLJSON

/// Writes logs to standard error, one JSON object a line.
struct JSONLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    var logLevel = Logger.Level.info

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line: JSONObject = [
            "time": .string(Self.time(Date().timeIntervalSince1970)), "level": .string(event.level.rawValue),
            "message": .string(event.message.description),
        ]
        let all = metadata.merging(metadataProvider?.get() ?? [:]) { $1 }.merging(event.metadata ?? [:]) {
            $1
        }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) where line[key] == nil {
            line[key] = Self.json(value)
        }
        // One call, so that lines of several threads do not mix.
        FileHandle.standardError.write(Data(JSONWriter.encode(.object(line)) + [0x0A]))
    }

    private static func json(_ value: Logger.Metadata.Value) -> JSONValue {
        switch value {
        case .string(let text): number(text)
        case .stringConvertible(let value): number(value.description)
        case .array(let list): .array(list.map(json))
        case .dictionary(let values):
            .object(
                values.sorted { $0.key < $1.key }.reduce(into: JSONObject()) { $0[$1.key] = json($1.value) }
            )
        }
    }

    /// Counts as numbers, so that those who read the lines can compute with them.
    private static func number(_ text: String) -> JSONValue {
        guard let number = Int64(text), String(number) == text else { return .string(text) }
        return .integer(number)
    }

    /// A time as RFC 3339 has it, in UTC.
    private static func time(_ seconds: Double) -> String {
        var whole = time_t(seconds)
        var parts = tm()
        gmtime_r(&whole, &parts)
        func padded(_ value: Int, _ digits: Int = 2) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        let day =
            padded(Int(parts.tm_year) + 1900, 4) + "-" + padded(Int(parts.tm_mon) + 1) + "-"
            + padded(Int(parts.tm_mday))
        let hour =
            padded(Int(parts.tm_hour)) + ":" + padded(Int(parts.tm_min)) + ":" + padded(Int(parts.tm_sec))
        let thousandths = Int((seconds - seconds.rounded(.down)) * 1000)
        return "\(day)T\(hour).\(padded(thousandths, 3))Z"
    }
}
#endif
