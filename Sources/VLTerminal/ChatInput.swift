/// What a person's message to a chat is.
package enum ChatInput: Equatable, Sendable {
    case help
    case new
    case regenerate
    case undo
    /// Nil shows the system text, an empty one removes it.
    case system(String?)
    /// Nil shows all settings; without a value, one is shown.
    case set(name: String?, value: String?)
    case tokens
    case save(String)
    case load(String)
    case draw(String)
    /// Nil lists the pictures that wait for a question, an empty text puts them away.
    case image(String?)
    case exit
    /// A command that needs something behind it.
    case incomplete(String, needs: String)
    /// A command that there is not.
    case unknown(String)
    /// Anything else.
    case message(String)

    /// Reads a message: `/command …`, one of the bare words of the original program, or a text.
    ///
    /// - Parameter isFile: whether there is such a file: a path that begins with a slash is no command.
    package init(_ text: String, isFile: (String) -> Bool) {
        let line = Self.trimmed(text)
        switch line.lowercased() {
        case "help", "?": self = .help
        case "new": self = .new
        case "exit", "quit": self = .exit
        default:
            guard line.hasPrefix("/") else {
                self = .message(text)
                return
            }
            let word = line.prefix { !$0.isWhitespace }
            let rest = Self.trimmed(String(line[word.endIndex...]))
            // A path that was typed or dropped: commands have one slash.
            if word.dropFirst().contains("/") || isFile(String(word)) {
                self = .message(text)
            } else {
                self = Self.command(String(word.dropFirst()), rest)
            }
        }
    }

    private static func command(_ name: String, _ rest: String) -> ChatInput {
        func needing(_ what: String, _ make: (String) -> ChatInput) -> ChatInput {
            rest.isEmpty ? .incomplete(name, needs: what) : make(rest)
        }
        switch name.lowercased() {
        case "help", "?": return .help
        case "new", "clear", "reset": return .new
        case "regenerate", "retry": return .regenerate
        case "undo": return .undo
        case "system": return .system(rest.isEmpty ? nil : rest == "-" ? "" : rest)
        case "set":
            let name = rest.prefix { !$0.isWhitespace && $0 != "=" }
            let value = trimmed(String(rest[name.endIndex...].drop { $0.isWhitespace || $0 == "=" }))
            return .set(name: name.isEmpty ? nil : String(name), value: value.isEmpty ? nil : value)
        case "tokens": return .tokens
        case "save": return needing("a file", ChatInput.save)
        case "load": return needing("a file", ChatInput.load)
        case "draw": return needing("a .png or .svg file", ChatInput.draw)
        case "image": return .image(rest.isEmpty ? nil : rest == "-" ? "" : rest)
        case "exit", "quit", "bye": return .exit
        default: return .unknown(name)
        }
    }

    private static func trimmed(_ text: String) -> String {
        var text = text[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text.drop(while: \.isWhitespace))
    }
}
