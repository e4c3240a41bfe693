import VLFormats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The cache of `huggingface_hub`: where everything lies, and what it holds.
///
///     models--ORG--NAME/blobs/ETAG               contents, named by their hash
///     models--ORG--NAME/blobs/ETAG.incomplete    a download that is under way or was interrupted
///     models--ORG--NAME/snapshots/COMMIT/FILE    links to blobs
///     models--ORG--NAME/refs/REVISION            the commit of a branch or tag
///     models--ORG--NAME/.no_exist/COMMIT/FILE    an empty file: the commit has no such file
///     .locks/models--ORG--NAME/ETAG.lock         who downloads a blob holds this lock
package struct HubCache: Sendable {
    /// The cache's folder.
    package let folder: String

    /// A cache, which need not exist yet.
    package init(_ folder: String) {
        self.folder = folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder
    }

    // MARK: Places

    private static func folderName(_ repository: String) -> String {
        "models--" + repository.split(separator: "/").joined(separator: "--")
    }

    /// The folder of a repository.
    package func repository(_ repository: String) -> String { "\(folder)/\(Self.folderName(repository))" }

    /// The folder with a repository's contents.
    package func blobs(_ repository: String) -> String { "\(self.repository(repository))/blobs" }

    /// The folder with the files of a commit.
    package func snapshot(_ repository: String, commit: String) -> String {
        "\(self.repository(repository))/snapshots/\(commit)"
    }

    /// The file that holds the commit of a branch or tag.
    package func reference(_ reference: ModelReference) -> String {
        "\(repository(reference.repository))/refs/\(reference.revision)"
    }

    /// The file whose existence says that a commit has no file of this name.
    package func absence(_ repository: String, commit: String, file: String) -> String {
        "\(self.repository(repository))/.no_exist/\(commit)/\(file)"
    }

    /// The file that is locked while a blob is downloaded.
    package func lock(_ repository: String, etag: String) -> String {
        "\(folder)/.locks/\(Self.folderName(repository))/\(etag).lock"
    }

    /// What a link in a snapshot says to lead to its blob.
    package static func link(file: String, etag: String) -> String {
        let depth = file.utf8.reduce(2) { $1 == UInt8(ascii: "/") ? $0 + 1 : $0 }
        return String(repeating: "../", count: depth) + "blobs/" + etag
    }

    /// Owner and name of the repository that a snapshot's folder belongs to; nil for any other folder.
    package static func repository(ofSnapshot folder: String) -> String? {
        let parts = folder.split(separator: "/")
        guard parts.count >= 3, parts[parts.count - 2] == "snapshots" else { return nil }
        let name = parts[parts.count - 3]
        guard name.hasPrefix("models--") else { return nil }
        // The hub allows two hyphens in no name, so they can only be the slash.
        return name.dropFirst("models--".count).split(separator: "--").joined(separator: "/")
    }

    // MARK: Contents

    /// The commit that a revision stood for when it was last downloaded; nil if it never was.
    ///
    /// - Throws: `HubError.reference` for a damaged file.
    package func commit(_ reference: ModelReference) throws(HubError) -> String? {
        if reference.isCommit { return reference.revision }
        let file = self.reference(reference)
        guard FileContents.exists(file) else { return nil }
        let text: String
        do throws(FormatError) {
            text = String(decoding: try FileContents.read(file, limit: 1024), as: UTF8.self)
        } catch {
            throw .file(error)
        }
        let commit = text.split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
        guard ModelReference.isCommit(commit) else { throw .reference(file: file, found: text) }
        return commit
    }

    /// The folder with a model's files; or its GGUF file, where a repository has nothing else.
    ///
    /// - Parameter needsWeights: whether a snapshot without weights is an error.
    /// - Throws: `HubError.notCached`, `.incomplete`, `.severalFiles`, `.reference`, `.file`.
    package func find(_ reference: ModelReference, needsWeights: Bool) throws(HubError) -> String {
        guard let commit = try commit(reference) else {
            throw .notCached(reference, cache: folder)
        }
        let snapshot = snapshot(reference.repository, commit: commit)
        guard let names = Self.names(snapshot) else { throw .notCached(reference, cache: folder) }
        let quantized = names.filter { $0.hasSuffix(".gguf") }.sorted()
        if FileContents.exists(snapshot + "/config.json") {
            let hasWeights = names.contains { $0.hasSuffix(".safetensors") }
            if hasWeights || !needsWeights { return snapshot }
            guard quantized.isEmpty else { return try Self.single(quantized, in: snapshot) }
            throw .incomplete(reference, folder: snapshot, missing: "files of weights")
        }
        guard quantized.isEmpty else { return try Self.single(quantized, in: snapshot) }
        throw .incomplete(reference, folder: snapshot, missing: "'config.json' or a GGUF file")
    }

    private static func single(_ names: [String], in folder: String) throws(HubError) -> String {
        guard names.count == 1, let name = names.first else { throw .severalFiles(folder: folder, names) }
        return "\(folder)/\(name)"
    }

    /// The names in a folder; nil if it cannot be listed.
    package static func names(_ folder: String) -> [String]? {
        guard let stream = opendir(folder) else { return nil }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}
