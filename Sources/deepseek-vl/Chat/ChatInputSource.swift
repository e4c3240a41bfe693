import VLTerminal

/// Where messages come from: a person at a terminal, or the lines of a file or pipe.
final class ChatInputSource {
    /// What a reading gave.
    enum Input {
        case text(String)
        /// Ctrl-C: the line was given up.
        case interrupted(wasEmpty: Bool)
        case end
    }

    private let editor: LineEditor?
    private var lines = LineReader()

    /// - Parameter historyFile: where entered lines are kept; nil for nowhere.
    init(historyFile: String?) {
        editor = LineEditor(name: "deepseek-vl", historyFile: historyFile)
    }

    /// Whether a person is at the other end.
    var isInteractive: Bool { editor != nil }

    /// Reads one line; the prompt is for people only.
    func line(_ prompt: String) throws -> Input {
        guard let editor else {
            guard let bytes = try lines.next() else { return .end }
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw CommandFailure(
                    description: "standard input, line \(lines.number): expected UTF-8, found other bytes"
                )
            }
            return .text(text)
        }
        switch editor.read(prompt) {
        case .line(let text): return .text(text)
        case .interrupted(let wasEmpty): return .interrupted(wasEmpty: wasEmpty)
        case .end: return .end
        }
    }

    /// Reads a message, which may go over several lines.
    func message(_ prompt: String) throws -> Input {
        var assembler = MessageAssembler()
        while true {
            switch try line(assembler.isOpen ? "... " : prompt) {
            case .interrupted(let wasEmpty):
                return .interrupted(wasEmpty: wasEmpty && !assembler.isOpen)
            case .end:
                guard let message = assembler.finish() else { return .end }
                return .text(message)
            case .text(let line):
                // A pasted text of several lines is a message as it is.
                let message = line.contains("\n") && !assembler.isOpen ? line : assembler.push(line)
                guard let message else { continue }
                if message.contains(where: { !$0.isWhitespace }) { editor?.remember(message) }
                return .text(message)
            }
        }
    }
}
