#if Network
import VLFormats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A download that is not finished: its file, and the hash of what the file holds.
struct PartialFile: ~Copyable {
    /// Bytes that are there.
    private(set) var count = 0
    /// Bytes that were written since the file was opened, those too that were thrown away.
    private(set) var received = 0
    /// The whole file's bytes.
    let size: Int

    private let path: String
    private let name: String
    private let content: ContentName
    private let number: Int32
    private var check: ContentCheck

    /// Opens what an earlier run left, or begins a new file.
    ///
    /// - Parameters:
    ///   - path: of the unfinished file.
    ///   - name: what messages call it.
    static func open(
        _ path: String,
        name: String,
        content: ContentName,
        size: Int
    ) throws(PullError) -> PartialFile {
        let number = openFile(path)
        guard number >= 0 else { throw .file(.system(file: path, .create, code: errno)) }
        var file = PartialFile(path, name, content, size, number)
        try file.readExisting()
        return file
    }

    private init(_ path: String, _ name: String, _ content: ContentName, _ size: Int, _ number: Int32) {
        (self.path, self.name, self.content, self.size, self.number) = (path, name, content, size, number)
        check = ContentCheck(content, size: size)
    }

    // `open` is also the name of the function above.
    private static func openFile(_ path: String) -> Int32 {
        #if canImport(Glibc)
        Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        #elseif canImport(Musl)
        Musl.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        #else
        Darwin.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        #endif
    }

    deinit {
        if number >= 0 { _ = close(number) }
    }

    /// Whether all bytes are there.
    var isWhole: Bool { count == size }

    /// Hashes what the file holds; starts anew if it holds too much.
    private mutating func readExisting() throws(PullError) {
        var status = stat()
        guard fstat(number, &status) == 0 else { throw .file(.system(file: path, .status, code: errno)) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw .file(.notAFile(file: path, found: "something else"))
        }
        guard Int(status.st_size) <= size else { return try restart() }
        let length = 1 << 20
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 16)
        defer { buffer.deallocate() }
        while count < size {
            let got = pread(number, buffer.baseAddress, min(length, size - count), off_t(count))
            if got == 0 { return }
            if got < 0 {
                if errno == EINTR { continue }
                throw .file(.system(file: path, .read, code: errno))
            }
            check.update(UnsafeRawBufferPointer(rebasing: buffer[..<got]))
            count += got
        }
    }

    /// Throws away what is there.
    mutating func restart() throws(PullError) {
        guard ftruncate(number, 0) == 0 else { throw .file(.system(file: path, .write, code: errno)) }
        count = 0
        check = ContentCheck(content, size: size)
    }

    /// Appends bytes.
    ///
    /// - Throws: `PullError.size` for more bytes than the file has.
    mutating func write(_ bytes: UnsafeRawBufferPointer) throws(PullError) {
        guard bytes.count <= size - count else {
            throw .size(file: name, expected: size, found: count + bytes.count)
        }
        var rest = bytes[...]
        while !rest.isEmpty {
            let chunk = UnsafeRawBufferPointer(rebasing: rest)
            let written = pwrite(number, chunk.baseAddress, chunk.count, off_t(count))
            if written > 0 {
                check.update(UnsafeRawBufferPointer(rebasing: chunk[..<written]))
                count += written
                received += written
                rest = rest.dropFirst(written)
            } else if written == 0 || errno != EINTR {
                throw .file(.system(file: path, .write, code: written == 0 ? EIO : errno))
            }
        }
    }

    /// Checks the hash of all bytes.
    ///
    /// - Throws: `PullError.hash`; the file is then empty.
    mutating func verify() throws(PullError) {
        do {
            try check.finish(file: name)
        } catch {
            try restart()
            throw error
        }
    }

    /// Brings the bytes to the disk and gives the file its name.
    consuming func commit(as target: String) throws(PullError) {
        while fsync(number) != 0 {
            guard errno == EINTR else {
                if errno == EINVAL || errno == ENOTSUP { break }
                throw .file(.system(file: path, .synchronize, code: errno))
            }
        }
        try Disk.move(path, target)
    }

    /// Removes the file.
    consuming func discard() { _ = unlink(path) }
}
#endif
