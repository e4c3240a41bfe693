import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Standard output, standard error, and a progress bar on the latter when it is a terminal.
enum Terminal {
    /// Whether people look at standard error.
    static var showsProgress: Bool { isatty(2) == 1 }
    /// Whether people look at standard output.
    static var outputIsTerminal: Bool { isatty(1) == 1 }

    /// Writes to standard output at once; a reader that has gone ends the program quietly.
    static func output(_ text: String) {
        clearProgress()
        write(text, to: 1)
    }

    /// Writes a line to standard error.
    static func note(_ text: String) {
        clearProgress()
        write(text + "\n", to: 2)
    }

    /// Says what went wrong and ends the program: status 2 for wrong usage, else 1.
    static func fail(_ message: String, usage: Bool) -> Never {
        clearProgress()
        let hint = usage ? " (see --help)" : ""
        write("deepseek-vl: \(harmless(message))\(hint)\n", to: 2)
        exit(usage ? 2 : 1)
    }

    /// A message as one line: names of files and texts of damaged ones may hold what moves a terminal's cursor.
    private static func harmless(_ message: String) -> String {
        var line = ""
        for scalar in message.unicodeScalars {
            switch scalar.value {
            case 0x0a: line += " "
            case 0..<0x20, 0x7f..<0xa0: line += "\\u{" + String(scalar.value, radix: 16) + "}"
            default: line.unicodeScalars.append(scalar)
            }
        }
        return line
    }

    /// Ends the program.
    static func exit(_ status: Int32) -> Never {
        #if canImport(Glibc)
        Glibc.exit(status)
        #elseif canImport(Musl)
        Musl.exit(status)
        #else
        Darwin.exit(status)
        #endif
    }

    /// Shows how far something is, on one line that the next call overwrites.
    ///
    /// - Parameter note: what stands behind the numbers.
    static func progress(_ what: String, _ done: Int, of total: Int, note: String = "") {
        guard showsProgress, total > 0 else { return }
        hasProgressLine.store(true, ordering: .relaxed)
        let width = 24
        let filled = width * min(done, total) / total
        let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled)
        write("\r\u{1b}[K\(what) [\(bar)] \(done)/\(total)\(note)", to: 2)
    }

    /// Whether a progress line is there, to be removed before anything else is written.
    private static let hasProgressLine = Atomic<Bool>(false)

    /// Removes the progress line, if there is one.
    static func clearProgress() {
        if hasProgressLine.exchange(false, ordering: .relaxed) { write("\r\u{1b}[K", to: 2) }
    }

    /// Draws lines on standard error over the `old` lines that were drawn last, cut at the terminal's width.
    static func replaceLines(_ old: Int, with lines: [String]) {
        var size = winsize()
        let hasSize = ioctl(2, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 1
        let width = hasSize ? Int(size.ws_col) - 1 : 79
        let up = old > 0 ? "\r\u{1b}[\(old)A" : "\r"
        write(up + "\u{1b}[J" + lines.map { $0.prefix(width) + "\n" }.joined(), to: 2)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { raw -> Int in
                #if canImport(Glibc)
                Glibc.write(descriptor, raw.baseAddress, raw.count)
                #elseif canImport(Musl)
                Musl.write(descriptor, raw.baseAddress, raw.count)
                #else
                Darwin.write(descriptor, raw.baseAddress, raw.count)
                #endif
            }
            if written < 0 {
                if errno == EINTR { continue }
                let reason = String(cString: strerror(errno))
                if descriptor == 1 && errno != EPIPE {
                    fail("standard output: cannot write: \(reason)", usage: false)
                }
                exit(1)
            }
            bytes = bytes.dropFirst(written)
        }
    }
}
