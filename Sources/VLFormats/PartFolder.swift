#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A hidden folder beside a result that takes long, for its finished parts.
///
/// A process that is killed leaves it to the next one with the same job; one that ends in another way removes it. The file
/// `job` in it says whose parts they are, and is locked by the process that lives.
package struct PartFolder: ~Copyable {
    private static let jobName = "job"
    /// A description has a few lines.
    private static let limit = 1 << 20

    private let path: String
    private let lock: Int32

    /// Opens the folder, or creates it; empties it if its parts are of another job.
    ///
    /// - Parameters:
    ///   - target: the path of the result.
    ///   - job: all that decides over the parts' bytes.
    /// - Throws: `FormatError.system`, with EWOULDBLOCK where another process makes the same result.
    package init(of target: String, job: [UInt8]) throws(FormatError) {
        let target = FilePath.withoutSlash(target)
        let path = FilePath.hidden(target, "parts")
        guard mkdir(path, 0o777) == 0 || errno == EEXIST else {
            throw .system(file: target, .create, code: errno)
        }
        let note = path + "/" + Self.jobName
        let lock = try PartJournal.openPart(note, of: target)
        do throws(FormatError) {
            var noted: [UInt8] = []
            do throws(FormatError) { noted = try FileContents.read(note, limit: Self.limit) } catch {
                // None that this can read: the folder is emptied.
            }
            if noted != job || job.isEmpty {
                // The note goes first: parts without one are nobody's.
                guard ftruncate(lock, 0) == 0 else { throw .system(file: target, .write, code: errno) }
                StaleFiles.removeFolder(path, except: Self.jobName)
                let written = job.withUnsafeBytes { pwrite(lock, $0.baseAddress, $0.count, 0) }
                guard written == job.count, fsync(lock) == 0 || errno == EINVAL || errno == ENOTSUP else {
                    throw .system(file: target, .write, code: written < 0 ? errno : ENOSPC)
                }
            }
        } catch {
            StaleFiles.removeFolder(path)
            _ = close(lock)
            throw error
        }
        self.path = path
        self.lock = lock
    }

    deinit {
        StaleFiles.removeFolder(path)
        _ = close(lock)
    }

    /// Where the part of that name is, or is to be written whole (`AtomicFile`).
    package func callAsFunction(_ name: String) -> String { path + "/" + name }
}
