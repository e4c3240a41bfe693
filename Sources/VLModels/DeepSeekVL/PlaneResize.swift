import VLTensor

/// Resizes planes of float32 pixels as torchvision's `resize(antialias=True)` does with the bilinear filter.
///
/// Unlike the resampling of picture files, nothing is rounded to bytes between the passes.
package enum PlaneResize {
    /// Which inputs an output sums, and how.
    private struct Tap {
        let start: Int
        let weights: [Float]
    }

    private static func taps(from size: Int, to newSize: Int) -> [Tap] {
        let scale = Double(size) / Double(newSize)
        let stretch = max(scale, 1)
        return (0..<newSize).map { place in
            let center = (Double(place) + 0.5) * scale
            let start = max(Int(center - stretch + 0.5), 0)
            let end = min(Int(center + stretch + 0.5), size)
            let values = (start..<end).map { max(0, 1 - abs((Double($0) - center + 0.5) / stretch)) }
            let total = values.reduce(0, +)
            return Tap(start: start, weights: values.map { Float($0 / total) })
        }
    }

    /// Square planes, [count, size, size], in another size, in the workspace.
    package static func resize(
        _ pixels: UnsafePointer<Float>,
        count: Int,
        from size: Int,
        to newSize: Int,
        _ run: Run
    ) -> UnsafeMutablePointer<Float> {
        let out = run.workspace.allocate(Float.self, count * newSize * newSize)
        if size == newSize {
            out.update(from: pixels, count: count * size * size)
            return out
        }
        let taps = taps(from: size, to: newSize)
        run.scoped {
            let lines = run.workspace.matrix(count * newSize, size)
            run.eachRow(lines.rows, 4 * size) { row in
                let tap = taps[row % newSize]
                let plane = pixels + row / newSize * size * size
                let line = lines[row: row]
                line.update(repeating: 0, count: size)
                for (index, weight) in tap.weights.enumerated() {
                    run.add(plane + (tap.start + index) * size, times: weight, to: line, count: size)
                }
                let target = out + row * newSize
                for (place, tap) in taps.enumerated() {
                    var sum: Float = 0
                    for (index, weight) in tap.weights.enumerated() {
                        sum += line[tap.start + index] * weight
                    }
                    target[place] = sum
                }
            }
        }
        return out
    }
}
