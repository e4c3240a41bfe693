#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Memory that holds weights made in the process: converted norms, random weights.
package final class WeightBuffer: @unchecked Sendable {
    // @unchecked Sendable: written by its maker before anybody else sees it, then only read.
    package let bytes: UnsafeMutableRawBufferPointer
    private let isMapped: Bool
    /// From here on a buffer's pages go back to the system when it ends.
    ///
    /// The heap would keep them: while a model is loaded, small things that live on come to lie between thousands of large
    /// ones that do not.
    private static let mappedBytes = 1 << 16

    /// Allocates `byteCount` bytes, aligned to 64, contents undefined.
    package init(byteCount: Int) {
        let size = max(byteCount, 1)
        if size >= Self.mappedBytes,
            let start = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            start != MAP_FAILED
        {
            bytes = UnsafeMutableRawBufferPointer(start: start, count: size)
            isMapped = true
        } else {
            bytes = .allocate(byteCount: size, alignment: 64)
            isMapped = false
        }
    }

    deinit {
        if isMapped { munmap(bytes.baseAddress, bytes.count) } else { bytes.deallocate() }
    }
}
