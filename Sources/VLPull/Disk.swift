#if Network
import VLFormats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Folders, links and names on the disk.
enum Disk {
    /// What stands before the last slash.
    static func folder(_ path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[..<$0]) } ?? "."
    }

    /// Bytes of the file that a path leads to, links followed; nil for anything that is no file.
    static func fileSize(_ path: String) -> Int? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int(status.st_size)
    }

    /// Whether a path is a link itself.
    static func isLink(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
    }

    /// Creates a folder and those above it.
    static func createFolder(_ path: String) throws(PullError) {
        do throws(FormatError) { try makeFolder(path) } catch { throw .file(error) }
    }

    /// Creates a folder and those above it.
    static func makeFolder(_ path: String) throws(FormatError) {
        if path.isEmpty || access(path, F_OK) == 0 { return }
        let parent = folder(path)
        if parent != path && parent != "." { try makeFolder(parent) }
        guard mkdir(path, 0o777) == 0 || errno == EEXIST else {
            throw .system(file: path, .create, code: errno)
        }
    }

    /// Makes `path` a link with the given text, or, where there are no links, the blob itself.
    ///
    /// - Parameter blob: where the link leads to.
    static func link(_ path: String, to text: String, blob: String) throws(PullError) {
        try createFolder(folder(path))
        if readLink(path) == text { return }
        // A link replaces what stands there at once, so that nobody ever finds nothing.
        var generator = SystemRandomNumberGenerator()
        let temporary = "\(path).\(String(generator.next(), radix: 16)).tmp"
        guard symlink(text, temporary) == 0 else {
            guard errno == EPERM || errno == ENOTSUP || errno == ENOSYS else {
                throw .file(.system(file: path, .create, code: errno))
            }
            return try move(blob, path)
        }
        guard rename(temporary, path) == 0 else {
            let code = errno
            _ = unlink(temporary)
            throw .file(.system(file: path, .rename, code: code))
        }
    }

    /// Renames a file and waits until the disk has its new name.
    static func move(_ path: String, _ target: String) throws(PullError) {
        guard rename(path, target) == 0 else { throw .file(.system(file: target, .rename, code: errno)) }
        let number = open(folder(target), O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { return }
        // A folder that cannot be waited for is no reason to give up what is there.
        _ = fsync(number)
        _ = close(number)
    }

    /// Bytes that the disk of a folder, or of the nearest one above it that exists, has left.
    static func freeSpace(_ path: String) -> Int? {
        var folder = path
        while access(folder, F_OK) != 0 {
            let parent = Disk.folder(folder)
            if parent == folder || parent == "." || parent.isEmpty { break }
            folder = parent
        }
        var status = statvfs()
        guard statvfs(folder.isEmpty ? "." : folder, &status) == 0 else { return nil }
        let (bytes, hasOverflow) = UInt64(status.f_bavail).multipliedReportingOverflow(
            by: UInt64(status.f_frsize)
        )
        return hasOverflow ? Int.max : Int(clamping: bytes)
    }

    /// What a link says; nil for anything else.
    static func readLink(_ path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { raw -> Int in
            guard let start = raw.baseAddress else { return -1 }
            return readlink(path, start.assumingMemoryBound(to: CChar.self), raw.count)
        }
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }
}
#endif
