import VLFormats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Texts that commands read whole.
enum TextInput {
    /// Largest text in bytes.
    static let limit = 256 << 20

    /// A file's text, or that of standard input for `-`.
    ///
    /// - Throws: `CommandFailure` if it cannot be read, is too large, or is not UTF-8.
    static func read(_ path: String) throws -> String {
        let name = path == "-" ? "standard input" : path
        let bytes: [UInt8]
        if path == "-" {
            bytes = try readStandardInput()
        } else {
            do throws(FormatError) {
                bytes = try FileContents.read(path, limit: limit)
            } catch {
                throw CommandFailure(description: error.description)
            }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CommandFailure(description: "\(name): expected UTF-8, found other bytes")
        }
        return text
    }

    private static func readStandardInput() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let piece = try readSome()
            if piece.isEmpty { return bytes }
            bytes += piece
            guard bytes.count <= limit else {
                throw CommandFailure(
                    description: "standard input: expected at most \(limit) bytes, found more"
                )
            }
        }
    }

    /// The next bytes of standard input; none at its end.
    fileprivate static func readSome() throws -> [UInt8] {
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = piece.withUnsafeMutableBytes { systemRead(0, $0.baseAddress, $0.count) }
            if count >= 0 { return Array(piece.prefix(count)) }
            if errno == EINTR { continue }
            let reason = String(cString: strerror(errno))
            throw CommandFailure(description: "standard input: cannot read: \(reason)")
        }
    }

    private static func systemRead(
        _ descriptor: Int32,
        _ target: UnsafeMutableRawPointer?,
        _ count: Int
    ) -> Int {
        #if canImport(Glibc)
        Glibc.read(descriptor, target, count)
        #elseif canImport(Musl)
        Musl.read(descriptor, target, count)
        #else
        Darwin.read(descriptor, target, count)
        #endif
    }
}

/// Lines of standard input as bytes, each as soon as it is there.
struct LineReader {
    private var pending: [UInt8] = []
    /// Bytes of `pending` that were given out or searched already.
    private var start = 0
    private var searched = 0
    private var isAtEnd = false
    /// Number of the line that `next` gave last, from 1.
    private(set) var number = 0

    /// The next line without its end; nil after the last one.
    ///
    /// - Throws: `CommandFailure` for a line that is too long, or when reading fails.
    mutating func next() throws -> [UInt8]? {
        while true {
            if let end = pending[searched...].firstIndex(of: 0x0a) { return take(upTo: end, skipping: 1) }
            searched = pending.count
            if isAtEnd { return start < pending.count ? take(upTo: pending.count, skipping: 0) : nil }
            guard pending.count - start <= TextInput.limit else {
                end()
                throw CommandFailure(
                    description:
                        "standard input, line \(number + 1): expected at most \(TextInput.limit) bytes, found more"
                )
            }
            pending.removeFirst(start)
            searched -= start
            start = 0
            do {
                let piece = try TextInput.readSome()
                isAtEnd = piece.isEmpty
                pending += piece
            } catch {
                end()
                throw error
            }
        }
    }

    /// Nothing more comes: a caller that goes on after an error must come to an end.
    private mutating func end() {
        pending = []
        start = 0
        searched = 0
        isAtEnd = true
    }

    private mutating func take(upTo end: Int, skipping: Int) -> [UInt8] {
        var line = pending[start..<end]
        if line.last == 0x0d { line.removeLast() }
        start = end + skipping
        searched = start
        number += 1
        return Array(line)
    }
}
