import CVLCodecs

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A resampling filter of Pillow.
package enum ResamplingFilter: Sendable {
    case bilinear, bicubic, lanczos

    /// Half the filter's width in input pixels, when enlarging.
    var support: Double {
        switch self {
        case .bilinear: 1
        case .bicubic: 2
        case .lanczos: 3
        }
    }

    /// The filter's value at a distance.
    ///
    /// The terms are grouped as in Pillow's C, whose last bits decide roundings.
    func callAsFunction(_ distance: Double) -> Double {
        let x = abs(distance)
        switch self {
        case .bilinear:
            return x < 1 ? 1 - x : 0
        case .bicubic:
            let a = -0.5
            if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
            if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
            return 0
        case .lanczos:
            func sinc(_ x: Double) -> Double {
                if x == 0 { return 1 }
                return sin(x * Double.pi) / (x * Double.pi)
            }
            return distance >= -3 && distance < 3 ? sinc(distance) * sinc(distance / 3) : 0
        }
    }
}

/// Weights of one pass: for each output pixel, which input pixels it sums and with what fixed-point weight.
private struct ResamplingWeights {
    var starts: [Int32] = []
    var counts: [Int32] = []
    var weights: [Int32] = []
    let stride: Int

    init(_ filter: ResamplingFilter, from input: Int, to output: Int) {
        let scale = Double(input) / Double(output)
        let stretch = max(scale, 1)
        let support = filter.support * stretch
        stride = Int(support.rounded(.up)) * 2 + 1
        starts.reserveCapacity(output)
        counts.reserveCapacity(output)
        weights = [Int32](repeating: 0, count: output * stride)
        var values = [Double](repeating: 0, count: stride)
        for x in 0..<output {
            let center = (Double(x) + 0.5) * scale
            let first = max(Int(center - support + 0.5), 0)
            let count = min(Int(center + support + 0.5), input) - first
            var total = 0.0
            for index in 0..<count {
                values[index] = filter((Double(index + first) - center + 0.5) * (1 / stretch))
                total += values[index]
            }
            for index in 0..<count {
                let value = total != 0 ? values[index] / total : values[index]
                weights[x * stride + index] = Int32(
                    value < 0 ? value * 4_194_304 - 0.5 : value * 4_194_304 + 0.5
                )
            }
            starts.append(Int32(first))
            counts.append(Int32(count))
        }
    }
}

extension PixelBuffer {
    /// The picture in another size, bit-identical to Pillow's `resize`: two passes, each rounded to 8 bits.
    ///
    /// - Parameter parallel: runs a body for each index below a count; lets a caller spread rows over threads.
    package func resized(
        width newWidth: Int,
        height newHeight: Int,
        _ filter: ResamplingFilter,
        parallel: (Int, (Int) -> Void) -> Void = { count, body in for index in 0..<count { body(index) } }
    ) -> PixelBuffer {
        precondition(newWidth > 0 && newHeight > 0, "resizing to \(newWidth) x \(newHeight)")
        // Pillow 13 runs the columns first where the height shrinks by more than twice what the width does; the
        // roundings between the passes depend on it.
        if height > newHeight && height - newHeight > 2 * (width - newWidth) {
            return resizedColumns(newHeight, filter, parallel).resizedRows(newWidth, filter, parallel)
        }
        return resizedRows(newWidth, filter, parallel).resizedColumns(newHeight, filter, parallel)
    }

    private func resizedRows(
        _ newWidth: Int,
        _ filter: ResamplingFilter,
        _ parallel: (Int, (Int) -> Void) -> Void
    ) -> PixelBuffer {
        if newWidth == width { return self }
        let weights = ResamplingWeights(filter, from: width, to: newWidth)
        let pieces = 16
        let out = [UInt8](unsafeUninitializedCapacity: newWidth * height * 3) { target, initialized in
            nonisolated(unsafe) let target = target.baseAddress
            bytes.withUnsafeBufferPointer { source in
                guard let target, let source = source.baseAddress else { return }
                parallel(pieces) { piece in
                    let first = height * piece / pieces
                    let last = height * (piece + 1) / pieces
                    vl_resample_rows(
                        target + first * newWidth * 3,
                        source + first * width * 3,
                        Int64(last - first),
                        Int64(newWidth),
                        Int64(width * 3),
                        weights.starts,
                        weights.counts,
                        weights.weights,
                        Int64(weights.stride)
                    )
                }
            }
            initialized = newWidth * height * 3
        }
        return PixelBuffer(width: newWidth, height: height, bytes: out)
    }

    private func resizedColumns(
        _ newHeight: Int,
        _ filter: ResamplingFilter,
        _ parallel: (Int, (Int) -> Void) -> Void
    ) -> PixelBuffer {
        if newHeight == height { return self }
        let weights = ResamplingWeights(filter, from: height, to: newHeight)
        let rowBytes = width * 3
        let pieces = 16
        let out = [UInt8](unsafeUninitializedCapacity: rowBytes * newHeight) { target, initialized in
            nonisolated(unsafe) let target = target.baseAddress
            bytes.withUnsafeBufferPointer { source in
                guard let target, let source = source.baseAddress else { return }
                parallel(pieces) { piece in
                    withUnsafeTemporaryAllocation(of: Int32.self, capacity: rowBytes) { sums in
                        guard let sums = sums.baseAddress else { return }
                        weights.weights.withUnsafeBufferPointer { values in
                            guard let values = values.baseAddress else { return }
                            for y in newHeight * piece / pieces..<newHeight * (piece + 1) / pieces {
                                vl_resample_column(
                                    target + y * rowBytes,
                                    source + Int(weights.starts[y]) * rowBytes,
                                    Int64(rowBytes),
                                    Int64(rowBytes),
                                    weights.counts[y],
                                    values + y * weights.stride,
                                    sums
                                )
                            }
                        }
                    }
                }
            }
            initialized = rowBytes * newHeight
        }
        return PixelBuffer(width: width, height: newHeight, bytes: out)
    }
}
