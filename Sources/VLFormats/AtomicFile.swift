#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A file that appears under its name whole or not at all.
///
/// Bytes go to a temporary file in the same folder; `commit` brings them to the disk and gives the file its
/// name, replacing one of that name. Without `commit` (an error on the way) the temporary file is removed.
///
/// A process that is killed leaves its temporary file behind: the next one that writes into the same folder removes it,
/// or, of a file with a `PartJournal`, goes on behind what that records.
package struct AtomicFile: ~Copyable {
    /// The path as it was given.
    package let path: String
    /// Bytes written so far.
    package private(set) var count = 0

    private let target: String
    private let temporary: String
    private var number: Int32
    private var isInPlace = false
    private var journal: PartJournal? = nil
    /// Bytes that the journal has noted; nil without one.
    private var recorded: Int?
    private var buffer: [UInt8] = []

    private static let bufferSize = 1 << 18
    /// Linux writes at most 2 GiB less a page at once.
    private static let chunkSize = 1 << 30

    /// Creates the temporary file.
    ///
    /// A link is followed: it stays, and the file that it names is replaced.
    ///
    /// - Throws: `FormatError.notAFile` if the path leads to a folder, a pipe or a device.
    package init(_ path: String) throws(FormatError) {
        if let kind = try FileKind.of(path), kind != .file {
            throw .notAFile(file: path, found: kind.rawValue)
        }
        let target = try Self.followingLinks(path)
        let folder = FilePath.folder(target)
        var generator = SystemRandomNumberGenerator()
        var number: Int32 = -1
        var temporary = ""
        for _ in 0..<100 {
            temporary = folder + ".deepseek-vl-\(String(generator.next(), radix: 16)).tmp"
            number = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
            if number >= 0 || errno != EEXIST { break }
        }
        guard number >= 0 else { throw .system(file: path, .create, code: errno) }
        // Whoever holds the lock lives; where there are no locks, nobody removes anything.
        _ = flock(number, LOCK_EX | LOCK_NB)
        StaleFiles.remove(in: folder)
        self.path = path
        self.target = target
        self.temporary = temporary
        self.number = number
    }

    /// Creates a temporary file that the next process goes on with if this one is killed, or goes on with such a one.
    ///
    /// `count` says how many bytes are there already. Bytes are sure to be found again once `record` has returned.
    ///
    /// - Parameter job: all that decides over the file's bytes; what was left of another job is not used.
    /// - Throws: as above; `FormatError.system` with EWOULDBLOCK where another process writes the same file.
    package init(_ path: String, resuming job: [UInt8]) throws(FormatError) {
        if let kind = try FileKind.of(path), kind != .file {
            throw .notAFile(file: path, found: kind.rawValue)
        }
        let target = try Self.followingLinks(path)
        let temporary = PartJournal.partPath(of: target)
        let number = try PartJournal.openPart(temporary, of: path)
        do throws(FormatError) {
            journal = try PartJournal(of: target, part: number, job: job, path)
        } catch {
            _ = close(number)
            throw error
        }
        count = journal?.count ?? 0
        recorded = count
        self.path = path
        self.target = target
        self.temporary = temporary
        self.number = number
        StaleFiles.remove(in: FilePath.folder(target))
    }

    deinit {
        if number >= 0 { _ = close(number) }
        if !isInPlace { _ = unlink(temporary) }
        journal?.remove()
    }

    /// Brings all bytes to the disk and notes how many there are, for a process that goes on with them; does nothing for
    /// a file without a journal.
    package mutating func record() throws(FormatError) {
        guard recorded != nil else { return }
        try flush()
        try synchronize(number)
        try journal?.record(count, part: number, path)
        recorded = count
    }

    /// Bytes behind the last record.
    package var unrecorded: Int { recorded.map { count - $0 } ?? 0 }

    /// Writes a file at once.
    package static func write(_ path: String, _ bytes: [UInt8]) throws(FormatError) {
        var file = try AtomicFile(path)
        try file.write(bytes)
        try file.commit()
    }

    /// Appends bytes.
    package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
        count += bytes.count
        if buffer.count + bytes.count <= Self.bufferSize {
            buffer.append(contentsOf: bytes)
            return
        }
        try flush()
        if bytes.count <= Self.bufferSize / 2 {
            buffer.append(contentsOf: bytes)
        } else {
            try writeThrough(bytes)
        }
    }

    /// Appends bytes.
    package mutating func write(_ bytes: [UInt8]) throws(FormatError) {
        try bytes.span.withUnsafeBytes { (raw) throws(FormatError) in try write(raw) }
    }

    /// Brings all bytes to the disk and gives the file its name.
    ///
    /// - Throws: `FormatError.system`. Before the renaming, what stood under the name still does; after it,
    ///   the whole new file stands there, and only the folder could not be brought to the disk.
    package consuming func commit() throws(FormatError) {
        try flush()
        try synchronize(number)
        let closing = number
        number = -1
        guard close(closing) == 0 else { throw .system(file: path, .close, code: errno) }
        guard rename(temporary, target) == 0 else { throw .system(file: path, .rename, code: errno) }
        isInPlace = true
        try synchronizeFolder()
    }

    private mutating func flush() throws(FormatError) {
        guard !buffer.isEmpty else { return }
        var full: [UInt8] = []
        swap(&full, &buffer)
        try full.span.withUnsafeBytes { (raw) throws(FormatError) in try writeThrough(raw) }
        full.removeAll(keepingCapacity: true)
        buffer = full
    }

    private func writeThrough(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let chunk = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.chunkSize))
            let written = Self.writeSome(number, chunk)
            if written > 0 {
                rest = rest.dropFirst(written)
            } else if written == 0 || errno != EINTR {
                throw .system(file: path, .write, code: written == 0 ? EIO : errno)
            }
        }
    }

    /// Waits until the disk has what the descriptor's file holds.
    private func synchronize(_ number: Int32) throws(FormatError) {
        while fsync(number) != 0 {
            switch errno {
            case EINTR: continue
            // The file system knows no such wait.
            case EINVAL, ENOTSUP: return
            default: throw .system(file: path, .synchronize, code: errno)
            }
        }
    }

    /// Waits until the disk has the file's new name.
    private func synchronizeFolder() throws(FormatError) {
        let folder = FilePath.folder(target)
        let number = open(folder.isEmpty ? "." : folder, O_RDONLY | O_CLOEXEC)
        // A folder that may be written and not read: its name cannot be waited for.
        guard number >= 0 else { return }
        defer { _ = close(number) }
        try synchronize(number)
    }

    /// The path with links resolved if its last part is one.
    private static func followingLinks(_ path: String) throws(FormatError) -> String {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else { return path }
        guard let resolved = realpath(path, nil) else { throw .system(file: path, .create, code: errno) }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    // `write` is also the name of the functions above.
    private static func writeSome(_ number: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
        #if canImport(Glibc)
        Glibc.write(number, bytes.baseAddress, bytes.count)
        #elseif canImport(Musl)
        Musl.write(number, bytes.baseAddress, bytes.count)
        #else
        Darwin.write(number, bytes.baseAddress, bytes.count)
        #endif
    }
}
