/// Puts lines together to messages: a line that ends with `\` goes on, and so does all between two `"""`.
package struct MessageAssembler {
    /// The mark that begins and ends a message of several lines.
    package static let mark = "\"\"\""

    private var lines: [String] = []
    private var isInBlock = false

    package init() {}

    /// Whether a message was begun and is not complete.
    package var isOpen: Bool { isInBlock || !lines.isEmpty }

    /// Takes a line; gives the message that it completes, nil if there is more to come.
    package mutating func push(_ line: String) -> String? {
        if isInBlock {
            guard let end = line.firstRange(of: Self.mark) else {
                lines.append(line)
                return nil
            }
            isInBlock = false
            let last = String(line[..<end.lowerBound])
            let rest = String(line[end.upperBound...])
            // A mark on a line of its own adds no empty line.
            if !last.isEmpty || lines.isEmpty { lines.append(last) }
            return take(rest)
        }
        if lines.isEmpty, line.hasPrefix(Self.mark) {
            isInBlock = true
            let first = String(line.dropFirst(Self.mark.count))
            if first.contains(Self.mark) { return push(first) }
            if !first.isEmpty { lines.append(first) }
            return nil
        }
        let backslashes = line.reversed().prefix { $0 == "\\" }.count
        if backslashes % 2 == 1 {
            lines.append(String(line.dropLast()))
            return nil
        }
        lines.append(line)
        return take("")
    }

    /// Gives up what was begun.
    package mutating func cancel() {
        lines = []
        isInBlock = false
    }

    /// What was begun, when no more lines come; nil if there is nothing.
    package mutating func finish() -> String? { isOpen ? take("") : nil }

    private mutating func take(_ rest: String) -> String {
        let message = lines.joined(separator: "\n") + rest
        cancel()
        return message
    }
}
