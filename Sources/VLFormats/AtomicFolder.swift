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
/// removed with its files.
package struct AtomicFolder: ~Copyable {
    /// The path as it was given, without a slash at its end.
    package let path: String
    private let temporary: String
    private var isInPlace = false

    /// Creates the hidden folder; `path` must lead nowhere, or to a folder with nothing in it.
    ///
    /// - Throws: `FormatError.notEmpty`, `.system`.
    package init(_ path: String) throws(FormatError) {
        var path = path
        while path.utf8.count > 1, FilePath.ends(path, with: "/") { path.removeLast() }
        if let kind = try FileKind.of(path) {
            guard kind == .folder else { throw .notEmpty(folder: path, found: kind.rawValue) }
            let names = try FileContents.names(in: path, endingIn: "") ?? []
            if let name = names.first(where: { $0 != "." && $0 != ".." }) {
                throw .notEmpty(folder: path, found: "'\(name.prefix(80))' in it")
            }
        }
        var generator = SystemRandomNumberGenerator()
        let temporary =
            FilePath.folder(path) + ".\(FilePath.name(path).prefix(150)).deepseek-vl-"
            + String(generator.next(), radix: 16)
        guard mkdir(temporary, 0o777) == 0 else { throw .system(file: path, .create, code: errno) }
        self.path = path
        self.temporary = temporary
    }

    deinit {
        guard !isInPlace else { return }
        do throws(FormatError) {
            for name in try FileContents.names(in: temporary, endingIn: "") ?? []
            where name != "." && name != ".." {
                _ = unlink(temporary + "/" + name)
            }
        } catch {
            // What cannot be listed stays, under a name that says what it is.
        }
        _ = rmdir(temporary)
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
