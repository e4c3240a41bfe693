#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What a path leads to.
enum FileKind: String {
    case file = "a file"
    case folder = "a folder"
    case pipe = "a pipe"
    case device = "a device"
    case other = "something else"

    init(_ mode: mode_t) {
        switch mode & S_IFMT {
        case S_IFREG: self = .file
        case S_IFDIR: self = .folder
        case S_IFIFO: self = .pipe
        case S_IFCHR, S_IFBLK: self = .device
        default: self = .other
        }
    }

    /// What `path` leads to, links followed; nil where there is nothing.
    static func of(_ path: String) throws(FormatError) -> FileKind? {
        try FileDescriptor.checkPath(path)
        var status = stat()
        guard stat(path, &status) != 0 else { return FileKind(status.st_mode) }
        guard errno == ENOENT || errno == ENOTDIR else { throw .system(file: path, .status, code: errno) }
        return nil
    }
}

/// An open file, closed when it goes out of scope.
struct FileDescriptor: ~Copyable {
    let number: Int32
    let path: String

    /// Opens an existing file.
    ///
    /// - Throws: also for anything that is no regular file; a pipe without a writer does not block.
    init(reading path: String) throws(FormatError) {
        try Self.checkPath(path)
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard number >= 0 else { throw .system(file: path, .open, code: errno) }
        self.number = number
        self.path = path
    }

    deinit { _ = close(number) }

    /// The file's size in bytes.
    func size() throws(FormatError) -> Int {
        var status = stat()
        guard fstat(number, &status) == 0 else { throw .system(file: path, .status, code: errno) }
        let kind = FileKind(status.st_mode)
        guard kind == .file else { throw .notAFile(file: path, found: kind.rawValue) }
        return Int(status.st_size)
    }

    /// Refuses a path that C would read only up to its first NUL.
    static func checkPath(_ path: String) throws(FormatError) {
        guard !path.utf8.contains(0) else { throw .system(file: path, .open, code: EINVAL) }
    }
}

/// Questions about paths.
package enum PathQuestion {
    /// Whether a path leads to a file, links followed.
    package static func isFile(_ path: String) -> Bool { (try? FileKind.of(path)) == .file }
}
