import CVLKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

extension Run {
    /// ln(sum(exp(x))) of `count` values: a logit less this is its log-probability.
    package func logSumExp(_ x: UnsafePointer<Float>, count: Int) -> Float {
        var top = -Float.infinity
        for index in 0..<count { top = max(top, x[index]) }
        guard top.isFinite else { return top }
        return scoped {
            let piece = 4096
            let shifted = workspace.allocate(Float.self, piece)
            var total = 0.0
            for first in stride(from: 0, to: count, by: piece) {
                let length = min(piece, count - first)
                for index in 0..<length { shifted[index] = x[first + index] - top }
                kernels.pointee.exponential(shifted, shifted, Int64(length))
                for index in 0..<length { total += Double(shifted[index]) }
            }
            return top + Float(log(total))
        }
    }
}
