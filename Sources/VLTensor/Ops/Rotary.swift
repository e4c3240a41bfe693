import CVLKernels

/// Cosines and sines of a step's rows: [rows, size / 2] each.
package struct RotaryAngles {
    package let cosine: Matrix
    package let sine: Matrix

    package init(cosine: Matrix, sine: Matrix) {
        self.cosine = cosine
        self.sine = sine
    }
}

extension Run {
    /// Rotates the heads of `x` in place: each row holds `heads` vectors of `stride` elements, of which the `size`
    /// from `offset` on are rotated as halves, (x[i], x[i + size / 2]) by angle i.
    package func rotate(_ x: Matrix, heads: Int, stride: Int, offset: Int, size: Int, _ angles: RotaryAngles)
    {
        precondition(
            angles.cosine.rows == x.rows && angles.cosine.columns == size / 2,
            "angles for other rows"
        )
        precondition(heads * stride <= x.columns + stride - offset - size, "heads beyond the row")
        let kernel = kernels.pointee.rotate_halves
        eachRow(x.rows, heads * size) { row in
            for head in 0..<heads {
                let start = x[row: row] + head * stride + offset
                kernel(start, angles.cosine[row: row], angles.sine[row: row], Int64(size))
            }
        }
    }

    /// Brings the pairs (0, 1), (2, 3)… of each head's `size` elements into halves (0, 2, 4…, 1, 3, 5…), in place.
    package func deinterleave(_ x: Matrix, heads: Int, stride: Int, offset: Int, size: Int) {
        let half = size / 2
        eachRow(x.rows, heads * size) { row in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: size) { copy in
                for head in 0..<heads {
                    let start = x[row: row] + head * stride + offset
                    for index in 0..<size { copy[index] = start[index] }
                    for index in 0..<half {
                        start[index] = copy[2 * index]
                        start[half + index] = copy[2 * index + 1]
                    }
                }
            }
        }
    }
}
