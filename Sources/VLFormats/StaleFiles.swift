import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Temporary files and folders of processes that were killed.
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

    /// Removes hidden folders that nobody has locked: `beginning` is a path, and digits follow it.
    static func removeFolders(beginningWith beginning: String) {
        let folder = FilePath.folder(beginning)
        let name = FilePath.name(beginning)
        let listed: [String]?
        do throws(FormatError) {
            listed = try FileContents.names(in: folder.isEmpty ? "." : folder, endingIn: "")
        } catch {
            return
        }
        for found in listed ?? [] where found.hasPrefix(name) {
            guard UInt64(found.dropFirst(name.count), radix: 16) != nil else { continue }
            let number = open(folder + found, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
            guard number >= 0 else { continue }
            defer { _ = close(number) }
            var status = stat()
            // Its writer locks it as soon as it is there, and may just have made it.
            guard fstat(number, &status) == 0, status.modified.seconds <= Int(time(nil)) - age,
                flock(number, LOCK_EX | LOCK_NB) == 0
            else { continue }
            removeFolder(folder + found)
        }
    }

    /// Removes a folder with the files in it; what cannot be listed stays, under a name that says what it is.
    static func removeFolder(_ path: String, except kept: String? = nil) {
        do throws(FormatError) {
            for name in try FileContents.names(in: path, endingIn: "") ?? []
            where name != "." && name != ".." && name != kept {
                _ = unlink(path + "/" + name)
            }
        } catch {
            return
        }
        if kept == nil { _ = rmdir(path) }
    }
}
