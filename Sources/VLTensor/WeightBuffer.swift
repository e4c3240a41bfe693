/// Memory that holds weights made in the process: converted norms, random weights.
package final class WeightBuffer: @unchecked Sendable {
    // @unchecked Sendable: written by its maker before anybody else sees it, then only read.
    package let bytes: UnsafeMutableRawBufferPointer

    /// Allocates `byteCount` bytes, aligned to 64, contents undefined.
    package init(byteCount: Int) {
        bytes = .allocate(byteCount: max(byteCount, 1), alignment: 64)
    }

    deinit { bytes.deallocate() }
}
