#if Network
/// What happens while a repository is downloaded.
package enum PullEvent: Sendable {
    /// The hub has said what there is: bytes of all files, and how many of them are there already.
    case listed(commit: String, files: Int, bytes: Int, present: Int)
    /// A file is being fetched, from this byte on.
    case began(String, resumedAt: Int)
    /// Bytes of a file have arrived.
    case received(String, bytes: Int)
    /// What was there of a file is fetched anew.
    case restarted(String)
    /// A file waits: for another program, or before the next try, in so many seconds.
    case waiting(String, reason: String, seconds: Double?)
    /// A file is in its place.
    case finished(String, wasCached: Bool)
}

/// What a download has brought.
package struct PullReport: Sendable {
    /// A file of the repository.
    package struct File: Sendable {
        /// Its name in the repository.
        package let name: String
        package let bytes: Int
        /// The hash by which the hub names the contents.
        package let etag: String
        /// What was checked against it: `sha256`, `git-sha1`, or only the `size`.
        package let check: String
        /// Whether the cache had it.
        package let wasCached: Bool
        /// Bytes that were received for it in this run.
        package let received: Int
    }

    package let repository: String
    package let revision: String
    package let commit: String
    /// The folder with the files.
    package let folder: String
    package let files: [File]

    /// Bytes of all files.
    package var bytes: Int { files.reduce(0) { $0 + $1.bytes } }
    /// Bytes of the files that the cache did not have.
    package var missingBytes: Int { files.reduce(0) { $1.wasCached ? $0 : $0 + $1.bytes } }
    /// Bytes that were received in this run.
    package var receivedBytes: Int { files.reduce(0) { $0 + $1.received } }
}
#endif
