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

    /// Memory that is free for use now, in bytes; nil if the system does not say.
    static var availableBytes: Int? {
        #if os(Linux)
        let pages = sysconf(Int32(_SC_AVPHYS_PAGES))
        let size = sysconf(Int32(_SC_PAGESIZE))
        return pages > 0 && size > 0 ? Int(pages) * Int(size) : nil
        #else
        return nil
        #endif
    }
}
