/// Paths as people type them and as terminals write them when a file is dropped: in quotes, with escaped blanks, as
/// `file://` URLs, with `~` for the home folder.
package struct PathWords {
    /// The user's home folder; nil if there is none.
    package let home: String?

    package init(home: String?) { self.home = home }

    /// The endings of names that are taken for pictures.
    package static let endings = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"]

    /// A path and where it stood in a text.
    private struct Word {
        var path: String
        var range: Range<String.Index>
    }

    /// The one path that a text is: quotes, escapes, `file://` and `~` are undone.
    package func path(_ text: String) -> String {
        let text = Self.trimmed(text)
        let words = words(text)
        if words.count == 1, words[0].range == text.startIndex..<text.endIndex { return words[0].path }
        // Blanks that nobody escaped: the text is the path as it stands.
        return expanded(text)
    }

    /// Pictures at the beginning or the end of a text, and the text without them.
    ///
    /// - Parameter isFile: whether there is such a file: what is none is text.
    package func pictures(in text: String, isFile: (String) -> Bool) -> (paths: [String], text: String) {
        let whole = path(text)
        if Self.isPictureName(whole), isFile(whole) { return ([whole], "") }
        var words = words(text)
        func isPicture(_ word: Word) -> Bool { Self.isPictureName(word.path) && isFile(word.path) }
        var first: [String] = []
        var start = text.startIndex
        while let word = words.first, isPicture(word) {
            first.append(word.path)
            start = word.range.upperBound
            words.removeFirst()
        }
        var last: [String] = []
        var end = text.endIndex
        while let word = words.last, isPicture(word) {
            last.insert(word.path, at: 0)
            end = word.range.lowerBound
            words.removeLast()
        }
        if first.isEmpty && last.isEmpty { return ([], text) }
        return (first + last, Self.trimmed(String(text[start..<max(start, end)])))
    }

    private static func isPictureName(_ path: String) -> Bool {
        let name = path.lowercased()
        return endings.contains { name.hasSuffix($0) && name.count > $0.count }
    }

    private static func isBlank(_ character: Character) -> Bool {
        character == " " || character == "\t" || character == "\n" || character == "\r"
    }

    private static func trimmed(_ text: String) -> String {
        var text = text[...]
        while let last = text.last, isBlank(last) { text.removeLast() }
        return String(text.drop(while: isBlank))
    }

    /// The words of a text as a shell would see them; an open quote is a letter.
    private func words(_ text: String) -> [Word] {
        var words: [Word] = []
        var index = text.startIndex
        while index < text.endIndex {
            if Self.isBlank(text[index]) {
                index = text.index(after: index)
                continue
            }
            let start = index
            var word = ""
            var isPlain = true
            while index < text.endIndex, !Self.isBlank(text[index]) {
                let character = text[index]
                let next = text.index(after: index)
                if character == "\\", next < text.endIndex {
                    word.append(text[next])
                    index = text.index(after: next)
                } else if character == "'" || character == "\"",
                    let close = text[next...].firstIndex(of: character)
                {
                    if word.isEmpty { isPlain = false }
                    word += text[next..<close]
                    index = text.index(after: close)
                } else {
                    word.append(character)
                    index = next
                }
            }
            words.append(Word(path: isPlain ? expanded(word) : unquoted(word), range: start..<index))
        }
        return words
    }

    /// A quoted word: a shell leaves `~` in it alone, but terminals quote URLs, too.
    private func unquoted(_ word: String) -> String { word.hasPrefix("file://") ? expanded(word) : word }

    private func expanded(_ path: String) -> String {
        if path.hasPrefix("file://") {
            // The host before the path is empty or this one.
            let rest = path.dropFirst("file://".count)
            guard let slash = rest.firstIndex(of: "/") else { return path }
            return Self.percentDecoded(String(rest[slash...]))
        }
        if let home, path == "~" || path.hasPrefix("~/") { return home + path.dropFirst() }
        return path
    }

    /// `%20` and the like undone; what is no such thing stays.
    private static func percentDecoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        let source = Array(text.utf8)
        var index = 0
        while index < source.count {
            if source[index] == UInt8(ascii: "%"), index + 2 < source.count,
                let value = UInt8(String(decoding: source[index + 1...index + 2], as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                index += 3
            } else {
                bytes.append(source[index])
                index += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
