#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What is known of a file that is being written and will take long: how many of its bytes are on the disk.
///
/// The bytes are in `.NAME.deepseek-vl-part` beside the file, this in `.NAME.deepseek-vl-journal`: a mark, the length of
/// the job's description, that description, and a record of 24 bytes for each step: where it ends in the part, a checksum
/// of the part from the record before on, and a checksum of both. All numbers are little-endian.
struct PartJournal: ~Copyable {
    private static let mark = Array("VLPART01".utf8)
    private static let recordBytes = 24
    /// A description has a few lines, and a file has some thousand tensors.
    private static let limit = 1 << 26

    /// Bytes of the part up to the last record.
    private(set) var count: Int
    private let number: Int32
    private let path: String

    static func partPath(of target: String) -> String { FilePath.hidden(target, "part") }

    /// Opens the part, or creates it, and locks it.
    static func openPart(_ part: String, of path: String) throws(FormatError) -> Int32 {
        for _ in 0..<100 {
            let number = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
            guard number >= 0 else { throw .system(file: path, .create, code: errno) }
            // A file system without locks has none to wait for.
            guard flock(number, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK else {
                _ = close(number)
                throw .system(file: path, .lock, code: EWOULDBLOCK)
            }
            var (mine, named) = (stat(), stat())
            if fstat(number, &mine) == 0, lstat(part, &named) == 0, mine.st_ino == named.st_ino,
                mine.st_dev == named.st_dev
            {
                return number
            }
            // Its writer has finished it meanwhile: that file has another name now.
            _ = close(number)
        }
        throw .system(file: path, .create, code: EAGAIN)
    }

    /// Reads what was noted of a part, and cuts the part behind it; begins anew where that is of another job, or not of
    /// what the part holds.
    init(of target: String, part: Int32, job: [UInt8], _ file: String) throws(FormatError) {
        path = FilePath.hidden(target, "journal")
        let head = Self.mark + Self.bytes(UInt64(job.count)) + job
        var noted: [UInt8] = []
        do throws(FormatError) { noted = try FileContents.read(path, limit: Self.limit) } catch {
            // None, or none that this can read: it is written anew.
        }
        var end = 0
        var kept = head.count
        if noted.starts(with: head) {
            while let record = Self.record(noted, at: kept), record.end > end,
                Checksum.of(part, end..<record.end) == record.checksum
            {
                end = record.end
                kept += Self.recordBytes
            }
        }
        let isNew = end == 0
        count = end
        number = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (isNew ? O_TRUNC : 0), 0o666)
        guard number >= 0 else { throw .system(file: file, .create, code: errno) }
        guard ftruncate(part, off_t(end)) == 0, lseek(part, 0, SEEK_END) >= 0,
            ftruncate(number, off_t(isNew ? 0 : kept)) == 0, lseek(number, 0, SEEK_END) >= 0
        else { throw .system(file: file, .write, code: errno) }
        if isNew { try append(head, file) }
    }

    deinit { _ = close(number) }

    /// Notes that the part's first bytes are on the disk, where they must be.
    mutating func record(_ end: Int, part: Int32, _ file: String) throws(FormatError) {
        guard end > count else { return }
        guard let checksum = Checksum.of(part, count..<end) else {
            throw .system(file: file, .read, code: EIO)
        }
        let record = Self.bytes(UInt64(end)) + Self.bytes(checksum)
        try append(record + Self.bytes(Checksum.of(record)), file)
        count = end
    }

    func remove() { _ = unlink(path) }

    private func append(_ bytes: [UInt8], _ file: String) throws(FormatError) {
        let written = bytes.withUnsafeBytes { Self.writeSome(number, $0) }
        guard written == bytes.count else {
            throw .system(file: file, .write, code: written < 0 ? errno : ENOSPC)
        }
        guard fsync(number) == 0 || errno == EINVAL || errno == ENOTSUP else {
            throw .system(file: file, .synchronize, code: errno)
        }
    }

    private static func bytes(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    /// The record at a place; nil for one that is cut off or damaged.
    private static func record(_ bytes: [UInt8], at place: Int) -> (end: Int, checksum: UInt64)? {
        guard place + recordBytes <= bytes.count else { return nil }
        func number(_ index: Int) -> UInt64 {
            (0..<8).reduce(0) { $0 | UInt64(bytes[place + 8 * index + $1]) << (8 * $1) }
        }
        guard Checksum.of(Array(bytes[place..<place + 16])) == number(2), let end = Int(exactly: number(0))
        else { return nil }
        return (end, number(1))
    }

    private static func writeSome(_ number: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
        write(number, bytes.baseAddress, bytes.count)
    }
}
