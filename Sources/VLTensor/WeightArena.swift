#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Memory for the matrices that a model packs or converts while it is loaded: large regions, in huge pages where the
/// system has them, given out piece by piece and freed together.
package final class WeightArena: @unchecked Sendable {
    // @unchecked Sendable: written by the loader before anybody else sees it, then only read.
    private var regions: [UnsafeMutableRawBufferPointer] = []
    private var used = 0
    private static let regionBytes = 256 << 20
    private static let alignment = 64

    package init() {}

    deinit {
        for region in regions { munmap(region.baseAddress, region.count) }
    }

    /// `byteCount` bytes, aligned to 64, zeros; nil if the system has no such memory.
    package func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer? {
        let size = (max(byteCount, 1) + Self.alignment - 1) / Self.alignment * Self.alignment
        if regions.last.map({ used + size > $0.count }) ?? true {
            // A matrix larger than a region gets one of its own; untouched pages of a region cost nothing.
            let wanted = max(size, Self.regionBytes)
            let flags = MAP_PRIVATE | MAP_ANONYMOUS
            guard let start = mmap(nil, wanted, PROT_READ | PROT_WRITE, flags, -1, 0), start != MAP_FAILED
            else {
                return nil
            }
            #if os(Linux)
            madvise(start, wanted, Int32(MADV_HUGEPAGE))
            #endif
            regions.append(UnsafeMutableRawBufferPointer(start: start, count: wanted))
            used = 0
        }
        defer { used += size }
        return regions.last?.baseAddress.map { $0 + used }
    }
}
