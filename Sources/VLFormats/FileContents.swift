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
