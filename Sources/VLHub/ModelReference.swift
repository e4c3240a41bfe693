/// A repository of the hub and one of its revisions: `ORG/NAME[@REVISION]`.
package struct ModelReference: Hashable, Sendable, CustomStringConvertible {
    /// The revision that is meant when none is named.
    package static let defaultRevision = "main"

    /// Owner and name, such as `deepseek-ai/deepseek-vl2-tiny`.
    package let repository: String
    /// A branch, a tag or a commit.
    package let revision: String

    /// Reads a name: a short one or `ORG/NAME`, with `@REVISION` behind it or without.
    ///
    /// The rules are the hub's own, so whatever passes is safe as a folder's name and in a URL.
    ///
    /// - Throws: `HubError.repository`, `HubError.revision`.
    package init(_ text: String) throws(HubError) {
        let at = text.utf8.firstIndex(of: UInt8(ascii: "@"))
        let name = String(text[..<(at ?? text.endIndex)])
        let repository = ShortName.repository(name) ?? name
        guard Self.isRepository(repository) else { throw .repository(found: text) }
        self.repository = repository
        guard let at else {
            revision = Self.defaultRevision
            return
        }
        revision = String(text[text.utf8.index(after: at)...])
        guard Self.isRevision(revision) else { throw .revision(found: revision) }
    }

    /// The name without its owner.
    package var name: String { repository.split(separator: "/").last.map(String.init) ?? repository }

    /// Whether the revision is a whole commit, whose files never change.
    package var isCommit: Bool { Self.isCommit(revision) }

    /// The form that can be typed again.
    package var description: String {
        let name = ShortName.all.first { $0.repository == repository }?.name ?? repository
        return revision == Self.defaultRevision ? name : "\(name)@\(revision)"
    }

    /// Whether a text is a commit's full name.
    package static func isCommit(_ text: String) -> Bool {
        text.utf8.count == 40 && text.utf8.allSatisfy(isLowerHex)
    }

    /// Whether a byte is a hexadecimal digit as hashes are written.
    package static func isLowerHex(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    private static func isRepository(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.count <= 96 else { return false }
        for part in parts {
            guard let first = part.first, let last = part.last, part.allSatisfy(isWord) else { return false }
            for byte in [first, last] where byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-") {
                return false
            }
        }
        // Two hyphens stand for the slash in the cache, so the hub allows them in no name.
        return !text.contains("--") && !text.contains("..") && !text.hasSuffix(".git")
    }

    /// The rules of git for names of branches and tags.
    private static func isRevision(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= 200, !text.contains(".."), !text.contains("@{") else {
            return false
        }
        let forbidden = Set("\\~^:?*[ \u{7F}".utf8)
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x80 && !forbidden.contains($0) }) else {
            return false
        }
        return text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).allSatisfy {
            guard let first = $0.first, let last = $0.last else { return false }
            return first != UInt8(ascii: ".") && first != UInt8(ascii: "-") && last != UInt8(ascii: ".")
                && !$0.reversed().starts(with: ".lock".utf8.reversed())
        }
    }
}

/// Rules for the names of files that a repository lists.
package enum RepositoryFileName {
    /// Checks a name that is to become a path below a snapshot's folder.
    ///
    /// - Throws: `HubError.fileName` for an absolute path, `.` and `..`, empty parts, backslashes, control
    ///   bytes, and for what is too long for a file system.
    package static func check(_ name: String, repository: String) throws(HubError) {
        let parts = name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        let isFine =
            name.utf8.count <= 1024
            && parts.allSatisfy { part in
                !part.isEmpty && part.count <= 255 && !part.elementsEqual(".".utf8)
                    && !part.elementsEqual("..".utf8)
                    && part.allSatisfy { $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\\") }
            }
        guard isFine else { throw .fileName(found: name, repository: repository) }
    }
}
