/// From bytes to what a vision tower takes.
package enum Normalize {
    /// (u8 / 255 - mean) / deviation in float32, as torchvision's `ToTensor` and `Normalize` compute it: [views, 3,
    /// height, width].
    ///
    /// - Parameters:
    ///   - factor: what multiplies bytes in double precision, as transformers' `rescale` does, in place of 1 / 255.
    ///   - mean: nil leaves the values as they are then.
    package static func planes(
        _ views: [PixelBuffer],
        factor: Double? = nil,
        mean: [Double]?,
        deviation: [Double]
    ) -> [Float] {
        var tables = [[Float]](repeating: [], count: 3)
        for channel in 0..<3 {
            tables[channel] = (0..<256).map { value in
                let unit = factor.map { Float(Double(value) * $0) } ?? Float(value) / 255
                guard let mean else { return unit }
                return (unit - Float(mean[channel])) / Float(deviation[channel])
            }
        }
        let count = views.reduce(0) { $0 + $1.bytes.count }
        return [Float](unsafeUninitializedCapacity: count) { out, initialized in
            var start = 0
            for view in views {
                let pixels = view.width * view.height
                view.bytes.withUnsafeBufferPointer { bytes in
                    for channel in 0..<3 {
                        tables[channel].withUnsafeBufferPointer { table in
                            for pixel in 0..<pixels {
                                out[start + channel * pixels + pixel] = table[Int(bytes[3 * pixel + channel])]
                            }
                        }
                    }
                }
                start += 3 * pixels
            }
            initialized = count
        }
    }
}
