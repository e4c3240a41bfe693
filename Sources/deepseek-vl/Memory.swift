import VLFormats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// What the process takes.
enum Memory {
    /// Largest resident size so far, in bytes.
    static var peakBytes: Int {
        var usage = rusage()
        // Glibc declares the parameter as a plain number, the others as this enumeration.
        #if canImport(Glibc)
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        #else
        getrusage(RUSAGE_SELF, &usage)
        #endif
        #if os(Linux)
        return Int(usage.ru_maxrss) * 1024
        #else
        return Int(usage.ru_maxrss)
        #endif
    }

    /// Memory that could be used now, in bytes, what the system would give up of its cache of files included; nil if the
    /// system does not say.
    static var availableBytes: Int? {
        #if os(Linux)
        // Its size is told as none, so that it cannot be read as other files are.
        guard let bytes = try? FileContents.first(4096, of: "/proc/meminfo") else { return nil }
        return available(String(decoding: bytes, as: UTF8.self))
        #else
        return nil
        #endif
    }

    /// The bytes that a text like `/proc/meminfo` calls available.
    static func available(_ text: String) -> Int? {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 3, words[0] == "MemAvailable:", words[2] == "kB" else { continue }
            return Int(words[1]).flatMap { kib in
                let (bytes, isTooLarge) = kib.multipliedReportingOverflow(by: 1024)
                return isTooLarge ? nil : bytes
            }
        }
        return nil
    }
}
