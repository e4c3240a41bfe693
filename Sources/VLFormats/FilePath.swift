/// Parts of a path, split at the byte `/`.
///
/// Bytes and not characters: a combining mark behind a slash makes one character with it.
enum FilePath {
    /// What stands behind the last slash.
    static func name(_ path: String) -> String { String(path[split(path)...]) }

    /// What stands up to the last slash, with it; empty for a plain name.
    static func folder(_ path: String) -> String { String(path[..<split(path)]) }

    /// Whether the path's bytes end with those of `suffix`.
    static func ends(_ path: String, with suffix: String) -> Bool {
        path.utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }

    private static func split(_ path: String) -> String.Index {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map(path.utf8.index(after:)) ?? path.startIndex
    }
}
