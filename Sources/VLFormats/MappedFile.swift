#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A whole file mapped into memory, to be read only; unmapped when the last reference goes.
///
/// Whoever shortens the file while it is mapped takes the pages away: a read behind the new end then ends the
/// program with SIGBUS. Files that are not checkpoints are read with `FileContents` instead.
package final class MappedFile: Sendable {
    /// A hint to the system on how the bytes will be read.
    package enum Advice: Sendable {
        /// Soon: start to read them in.
        case willNeed
        /// In order.
        case sequential
        /// Here and there.
        case random
        /// Not again: the memory may go; a later read fetches the bytes from the file.
        case notNeeded
        /// Often: use huge pages where the file system has them (Linux; elsewhere without effect).
        case hugePages
    }

    /// The path as it was given.
    package let path: String

    /// The file's bytes; valid as long as this object lives.
    ///
    /// Safe to share: the mapping is read-only, and ends only when no reference is left.
    nonisolated(unsafe) package let bytes: UnsafeRawBufferPointer

    /// Maps a file.
    ///
    /// - Parameters:
    ///   - path: the file, links followed.
    ///   - allowsEmpty: whether a file of no bytes is fine; if not, it is `FormatError.tooShort`.
    /// - Throws: `FormatError.system` with the errno, or `FormatError.notAFile` for folders, pipes and
    ///   devices.
    package init(_ path: String, allowsEmpty: Bool = false) throws(FormatError) {
        let descriptor = try FileDescriptor(reading: path)
        let size = try descriptor.size()
        guard size > 0 || allowsEmpty else { throw .tooShort(file: path, expected: 1, found: 0) }
        self.path = path
        if size == 0 {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor.number, 0), start != MAP_FAILED
        else {
            throw .system(file: path, .map, code: errno)
        }
        bytes = UnsafeRawBufferPointer(start: start, count: size)
    }

    deinit {
        guard let start = bytes.baseAddress else { return }
        munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
    }

    /// The file's bytes for readers that check their bounds.
    package var span: Span<UInt8> {
        @_lifetime(borrow self) get {
            _overrideLifetime(Span(_unsafeElements: bytes.bindMemory(to: UInt8.self)), borrowing: self)
        }
    }

    /// The last part of the path.
    package var name: String { FilePath.name(path) }

    /// Gives the system a hint on a part of the file, or on all of it.
    ///
    /// A hint that the system does not take is without effect, and no error.
    package func advise(_ advice: Advice, _ range: Range<Int>? = nil) {
        guard let base = bytes.baseAddress else { return }
        let range = (range ?? 0..<bytes.count).clamped(to: 0..<bytes.count)
        let pageSize = max(Int(sysconf(Int32(_SC_PAGESIZE))), 1)
        let start = range.lowerBound / pageSize * pageSize
        let code: Int32
        switch advice {
        case .willNeed: code = Int32(MADV_WILLNEED)
        case .sequential: code = Int32(MADV_SEQUENTIAL)
        case .random: code = Int32(MADV_RANDOM)
        case .notNeeded: code = Int32(MADV_DONTNEED)
        case .hugePages:
            #if os(Linux)
            code = Int32(MADV_HUGEPAGE)
            #else
            return
            #endif
        }
        _ = madvise(UnsafeMutableRawPointer(mutating: base + start), range.upperBound - start, code)
    }
}
