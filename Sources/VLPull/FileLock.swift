#if Network
import VLFormats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A lock on a file that other programs respect too, `huggingface_hub` among them; released when it goes.
struct FileLock: ~Copyable {
    private let number: Int32

    private static let pause = Duration.milliseconds(100)

    private init(_ number: Int32) { self.number = number }

    deinit {
        if number >= 0 { _ = close(number) }
    }

    /// Gives the lock back.
    consuming func release() {}

    /// Takes the lock, waiting while somebody else has it.
    ///
    /// A file system without locks gives one that holds nobody off: the checks of the contents still hold.
    ///
    /// - Parameter onWait: called once if the lock is taken.
    static func take(_ path: String, onWait: () -> Void) async throws(PullError) -> FileLock {
        try Disk.createFolder(Disk.folder(path))
        var hasWaited = false
        while true {
            let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
            guard number >= 0 else { throw .file(.system(file: path, .create, code: errno)) }
            let lock = FileLock(number)
            if flock(number, LOCK_EX | LOCK_NB) == 0 {
                // Whoever removed the file meanwhile left us a lock on nothing.
                if isStill(number, path) { return lock }
                continue
            }
            switch errno {
            case EWOULDBLOCK, EINTR:
                if !hasWaited { onWait() }
                hasWaited = true
                do { try await Task.sleep(for: pause) } catch { throw .cancelled }
            case ENOLCK, ENOSYS, ENOTSUP, EINVAL: return lock
            default: throw .file(.system(file: path, .open, code: errno))
            }
        }
    }

    private static func isStill(_ number: Int32, _ path: String) -> Bool {
        var (mine, current) = (stat(), stat())
        return fstat(number, &mine) == 0 && stat(path, &current) == 0 && mine.st_ino == current.st_ino
            && mine.st_dev == current.st_dev
    }
}
#endif
