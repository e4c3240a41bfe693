import VLJSON

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Reads small files whole.
package enum FileContents {
    /// The biggest JSON file that is made into a tree unless the caller says otherwise, in bytes.
    ///
    /// Far above any configuration; a tree can take twenty times its text.
    package static let jsonLimit = 16_000_000

    /// Whether a path leads to a file that could be read.
    package static func exists(_ path: String) -> Bool { access(path, R_OK) == 0 }

    /// What tells a file from others, and from itself once it has been changed: device, number, size in bytes, time of
    /// the last change.
    ///
    /// - Throws: `FormatError.system`.
    package static func identity(of path: String) throws(FormatError) -> String {
        try FileDescriptor.checkPath(path)
        var status = stat()
        guard stat(path, &status) == 0 else { throw .system(file: path, .status, code: errno) }
        let modified = status.modified
        return
            "\(status.st_dev) \(status.st_ino) \(status.st_size) \(modified.seconds) \(modified.nanoseconds)"
    }

    /// All bytes of a file of at most `limit` bytes.
    ///
    /// The bytes are copied, so a file that somebody shortens meanwhile gives fewer bytes and no crash.
    package static func read(_ path: String, limit: Int) throws(FormatError) -> [UInt8] {
        let descriptor = try FileDescriptor(reading: path)
        let size = try descriptor.size()
        guard size <= limit else { throw .tooLarge(file: path, limit: limit, found: size) }
        var failure: Int32 = 0
        let result = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size, let start = buffer.baseAddress {
                let got = Self.readSome(descriptor.number, start + count, min(size - count, 1 << 30))
                if got > 0 {
                    count += got
                } else if got == 0 {
                    break
                } else if errno != EINTR {
                    failure = errno
                    break
                }
            }
        }
        guard failure == 0 else { throw .system(file: path, .read, code: failure) }
        return result
    }

    /// The value of a JSON file.
    ///
    /// - Throws: `FormatError.json` with place and reason for what is no strict JSON.
    package static func readJSON(
        _ path: String,
        limit: Int = FileContents.jsonLimit
    ) throws(FormatError) -> JSONValue {
        let bytes = try read(path, limit: limit)
        do {
            return try JSONValue(parsing: bytes)
        } catch {
            throw .json(file: path, error)
        }
    }

    /// Names in a folder that end in `ending`, sorted; nil if the path leads to no folder.
    package static func names(in folder: String, endingIn ending: String) throws(FormatError) -> [String]? {
        guard try FileKind.of(folder) == .folder else { return nil }
        guard let stream = opendir(folder) else { throw .system(file: folder, .open, code: errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: $0.pointee)) {
                    String(cString: $0)
                }
            }
            if FilePath.ends(name, with: ending) { names.append(name) }
        }
        return names.sorted()
    }

    /// The first bytes of a file, fewer if it is shorter; none if the path leads to no file.
    package static func first(_ count: Int, of path: String) throws(FormatError) -> [UInt8] {
        guard try FileKind.of(path) == .file else { return [] }
        let descriptor = try FileDescriptor(reading: path)
        var bytes = [UInt8](repeating: 0, count: count)
        let got = bytes.withUnsafeMutableBytes { buffer in
            buffer.baseAddress.map { Self.readSome(descriptor.number, $0, count) } ?? 0
        }
        return Array(bytes.prefix(max(0, got)))
    }

    // `read` is also the name of the function above.
    private static func readSome(_ number: Int32, _ start: UnsafeMutableRawPointer, _ count: Int) -> Int {
        #if canImport(Glibc)
        Glibc.read(number, start, count)
        #elseif canImport(Musl)
        Musl.read(number, start, count)
        #else
        Darwin.read(number, start, count)
        #endif
    }
}

extension stat {
    /// When the file was changed last.
    var modified: (seconds: Int, nanoseconds: Int) {
        #if canImport(Darwin)
        (Int(st_mtimespec.tv_sec), Int(st_mtimespec.tv_nsec))
        #else
        (Int(st_mtim.tv_sec), Int(st_mtim.tv_nsec))
        #endif
    }
}
