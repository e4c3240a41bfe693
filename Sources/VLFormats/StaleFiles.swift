import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Temporary files of processes that were killed.
enum StaleFiles {
    /// Folders that this process has looked at: programs write thousands of pictures into one.
    private static let seen = Mutex<Set<String>>([])
    /// Seconds after which a file without a lock belongs to nobody: a living writer locks it at once.
    private static let age = 60

    /// Removes those of a folder that nobody has locked; once in a process.
    ///
    /// What cannot be looked at or removed stays: nobody is kept from writing by somebody else's rest.
    static func remove(in folder: String) {
        guard seen.withLock({ $0.insert(folder).inserted }) else { return }
        let listed: [String]?
        do throws(FormatError) {
            listed = try FileContents.names(in: folder.isEmpty ? "." : folder, endingIn: ".tmp")
        } catch {
            return
        }
        for name in listed ?? [] where name.hasPrefix(".deepseek-vl-") {
            let path = folder + name
            let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard number >= 0 else { continue }
            defer { _ = close(number) }
            var status = stat()
            guard fstat(number, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
                status.modified.seconds <= Int(time(nil)) - age, flock(number, LOCK_EX | LOCK_NB) == 0
            else { continue }
            _ = unlink(path)
        }
    }
}
