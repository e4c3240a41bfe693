#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A folder of files that appears under its name whole or not at all.
///
/// Files are written into a hidden folder beside it, which gets the name when it is complete; without `commit` it is
/// removed with its files. What a process that was killed has left is removed by the next one that writes the same folder.
package struct AtomicFolder: ~Copyable {
    /// The path as it was given, without a slash at its end.
    package let path: String
    private let temporary: String
    /// Holds the lock that says that the writer lives; below 0 where there are no locks.
    private let lock: Int32
    private var isInPlace = false

    /// Creates the hidden folder; `path` must lead nowhere, or to a folder with nothing in it.
    ///
    /// - Throws: `FormatError.notEmpty`, `.system`.
    package init(_ path: String) throws(FormatError) {
        let path = FilePath.withoutSlash(path)
        if let kind = try FileKind.of(path) {
            guard kind == .folder else { throw .notEmpty(folder: path, found: kind.rawValue) }
            let names = try FileContents.names(in: path, endingIn: "") ?? []
            if let name = names.first(where: { $0 != "." && $0 != ".." }) {
                throw .notEmpty(folder: path, found: "'\(name.prefix(80))' in it")
            }
        }
        var generator = SystemRandomNumberGenerator()
        let beginning = FilePath.hidden(path, "")
        let temporary = beginning + String(generator.next(), radix: 16)
        guard mkdir(temporary, 0o777) == 0 else { throw .system(file: path, .create, code: errno) }
        let lock = open(temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if lock >= 0 { _ = flock(lock, LOCK_EX | LOCK_NB) }
        StaleFiles.removeFolders(beginningWith: beginning)
        self.path = path
        self.temporary = temporary
        self.lock = lock
    }

    deinit {
        if !isInPlace { StaleFiles.removeFolder(temporary) }
        if lock >= 0 { _ = close(lock) }
    }

    /// Where a file of that name is to be written.
    package func callAsFunction(_ name: String) -> String { temporary + "/" + name }

    /// Gives the folder its name.
    ///
    /// - Throws: `FormatError.system`, also where something has come to stand under the name meanwhile.
    package consuming func commit() throws(FormatError) {
        guard rename(temporary, path) == 0 else { throw .system(file: path, .rename, code: errno) }
        isInPlace = true
    }
}
