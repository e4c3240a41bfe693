import CVLKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

extension Run {
    /// The largest of `count` values, minus infinity if there are none.
    package func maximum(_ x: UnsafePointer<Float>, count: Int) -> Float {
        var lanes = SIMD16<Float>(repeating: -.infinity)
        var index = 0
        while index + 16 <= count {
            let values = UnsafeRawPointer(x + index).loadUnaligned(as: SIMD16<Float>.self)
            lanes.replace(with: values, where: values .> lanes)
            index += 16
        }
        var top = lanes.max()
        while index < count {
            top = max(top, x[index])
            index += 1
        }
        return top
    }

    /// The sum of `count` values, in an order that depends on `count` alone.
    package func sum(_ x: UnsafePointer<Float>, count: Int) -> Float {
        var lanes = SIMD16<Float>.zero
        var index = 0
        while index + 16 <= count {
            lanes += UnsafeRawPointer(x + index).loadUnaligned(as: SIMD16<Float>.self)
            index += 16
        }
        var total = lanes.sum()
        while index < count {
            total += x[index]
            index += 1
        }
        return total
    }

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
