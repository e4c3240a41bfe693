/// Parts of a path, split at the byte `/`.
///
/// Bytes and not characters: a combining mark behind a slash makes one character with it.
enum FilePath {
    /// What stands behind the last slash.
    static func name(_ path: String) -> String { String(path[split(path)...]) }

    /// What stands up to the last slash, with it; empty for a plain name.
    static func folder(_ path: String) -> String { String(path[..<split(path)]) }

    /// A folder's path without slashes at its end.
    static func withoutSlash(_ path: String) -> String {
        var path = path
        while path.utf8.count > 1, ends(path, with: "/") { path.removeLast() }
        return path
    }

    /// Whether the path's bytes end with those of `suffix`.
    static func ends(_ path: String, with suffix: String) -> Bool {
        path.utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }

    /// A hidden name beside a file or folder that is being made, short enough for file systems.
    static func hidden(_ target: String, _ ending: String) -> String {
        let name = name(target)
        let kept = name.utf8.count <= 200 ? name : String(Checksum.of(Array(name.utf8)), radix: 16)
        return folder(target) + ".\(kept).deepseek-vl-\(ending)"
    }

    private static func split(_ path: String) -> String.Index {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map(path.utf8.index(after:)) ?? path.startIndex
    }
}
