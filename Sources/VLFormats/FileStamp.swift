#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What tells a file from what it was before: its size and when it was written.
package struct FileStamp: Sendable, Equatable {
    /// In bytes.
    package let size: Int
    /// Nanoseconds since 1970.
    package let written: Int

    /// The stamp of a file, links followed; nil where there is none.
    ///
    /// - Throws: `FormatError.system`.
    package init?(_ path: String) throws(FormatError) {
        guard try FileKind.of(path) == .file else { return nil }
        var status = stat()
        guard stat(path, &status) == 0 else { throw .system(file: path, .status, code: errno) }
        size = Int(status.st_size)
        let time = status.modified
        written = time.seconds &* 1_000_000_000 &+ time.nanoseconds
    }
}
