import VLTensor

/// Cuts pictures into square patches and projects each: a convolution whose stride is its size, as a product.
///
/// `patch_embed` of the vision towers. What does not fill a patch at the right and bottom is not seen.
package struct PatchEmbedding: Sendable {
    let projection: Linear
    let imageSize: Int
    let patchSize: Int

    init(imageSize: Int, patchSize: Int, width: Int, _ weights: Weights) throws(LoadError) {
        projection = try weights["proj"].linear(
            3 * patchSize * patchSize,
            width,
            bias: true,
            shape: [width, 3, patchSize, patchSize]
        )
        self.imageSize = imageSize
        self.patchSize = patchSize
    }

    /// Patches along a side.
    private var grid: Int { imageSize / patchSize }

    /// [tiles, 3, imageSize, imageSize] to [tiles * grid * grid, width].
    func callAsFunction(_ pixels: UnsafePointer<Float>, tiles: Int, _ run: Run) -> Matrix {
        let out = run.workspace.matrix(tiles * grid * grid, projection.outputSize)
        run.scoped {
            var list = run.products(1)
            run.append(run.activations(unfold(pixels, tiles: tiles, run)), projection, to: out, &list)
            run.perform(list)
        }
        return out
    }

    /// The pixels of each patch as a row, channel by channel.
    private func unfold(_ pixels: UnsafePointer<Float>, tiles: Int, _ run: Run) -> Matrix {
        let rows = run.workspace.matrix(tiles * grid * grid, 3 * patchSize * patchSize)
        run.eachRow(rows.rows, rows.columns) { row in
            let tile = row / (grid * grid)
            let patch = row % (grid * grid)
            let top = patch / grid * patchSize
            let left = patch % grid * patchSize
            var target = rows[row: row]
            for channel in 0..<3 {
                for line in 0..<patchSize {
                    let source = pixels + ((tile * 3 + channel) * imageSize + top + line) * imageSize + left
                    target.update(from: source, count: patchSize)
                    target += patchSize
                }
            }
        }
        return rows
    }
}
