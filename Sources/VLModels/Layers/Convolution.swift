import VLTensor

/// A convolution of 3 x 3 with a border of zeros of one and no bias, as a product over unfolded rows.
///
/// Maps are matrices with a row for each place, line by line, and a column for each channel.
package struct Convolution: Sendable {
    let weight: Linear
    let inputChannels: Int
    let stride: Int

    package init(_ input: Int, _ output: Int, stride: Int = 1, _ weights: Weights) throws(LoadError) {
        weight = Linear(
            weight: try weights.matrix("weight", output, 9 * input, shape: [output, input, 3, 3])
        )
        inputChannels = input
        self.stride = stride
    }

    var outputChannels: Int { weight.outputSize }

    /// Places along a side of the result.
    func side(_ side: Int) -> Int { (side - 1) / stride + 1 }

    /// [side * side, input] to [side' * side', output].
    package func callAsFunction(_ x: Matrix, side: Int, _ run: Run) -> Matrix {
        precondition(x.rows == side * side && x.columns == inputChannels, "a map of another shape")
        let outSide = self.side(side)
        let out = run.workspace.matrix(outSide * outSide, outputChannels)
        run.scoped {
            var list = run.products(1)
            run.append(run.activations(unfold(x, side: side, outSide: outSide, run)), weight, to: out, &list)
            run.perform(list)
        }
        return out
    }

    /// What each place of the result sees, the channel running slowest as in the stored weight.
    private func unfold(_ x: Matrix, side: Int, outSide: Int, _ run: Run) -> Matrix {
        let rows = run.workspace.matrix(outSide * outSide, 9 * inputChannels)
        run.eachRow(rows.rows, rows.columns) { row in
            let target = rows[row: row]
            for tap in 0..<9 {
                let y = row / outSide * stride + tap / 3 - 1
                let x0 = row % outSide * stride + tap % 3 - 1
                if y < 0 || y >= side || x0 < 0 || x0 >= side {
                    for channel in 0..<inputChannels { target[9 * channel + tap] = 0 }
                } else {
                    let source = x[row: y * side + x0]
                    for channel in 0..<inputChannels { target[9 * channel + tap] = source[channel] }
                }
            }
        }
        return rows
    }
}
