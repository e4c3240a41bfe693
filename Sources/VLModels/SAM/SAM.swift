import VLTensor

/// Brings a map to few channels: a convolution of 1 x 1 and one of 3 x 3, each with a norm over the channels.
struct SAMNeck: Sendable {
    let first: Linear
    let norm1: LayerNorm
    let second: Convolution
    let norm2: LayerNorm

    init(_ config: SAMConfig, _ weights: Weights) throws(LoadError) {
        let channels = config.neckChannels
        first = Linear(
            weight: try weights[0].matrix(
                "weight",
                channels,
                config.width,
                shape: [channels, config.width, 1, 1]
            )
        )
        norm1 = try LayerNorm(channels, config.epsilon, weights[1])
        second = try Convolution(channels, channels, weights[2])
        norm2 = try LayerNorm(channels, config.epsilon, weights[3])
    }

    /// [side * side, width] to [side * side, channels].
    func callAsFunction(_ x: Matrix, side: Int, _ run: Run) -> Matrix {
        norm2(second(norm1(run.linear(x, first), run), side: side, run), run)
    }
}

/// SAM's image encoder with DeepSeek-VL's branch for details: a picture in, a map of features out.
///
/// Class `ImageEncoderViT` of the official `sam.py`. The map after the first global layer passes a neck of its own and
/// the same down-sampling, and is added with a learned weight.
package struct SAM: Sendable {
    package let config: SAMConfig
    let patches: PatchEmbedding
    let positions: WeightVector
    let blocks: [SAMBlock]
    let neck: SAMNeck
    let detailNeck: SAMNeck
    let downsamples: [Convolution]
    /// Weight of the details (`hd_alpha_downsamples`).
    let detailWeight: WeightVector

    package init(_ config: SAMConfig, _ weights: Weights) throws(LoadError) {
        self.config = config
        let grid = config.grid
        patches = try PatchEmbedding(
            imageSize: config.imageSize,
            patchSize: config.patchSize,
            width: config.width,
            weights["patch_embed"]
        )
        positions = try weights.vector(
            "pos_embed",
            grid * grid * config.width,
            shape: [1, grid, grid, config.width]
        )
        var blocks: [SAMBlock] = []
        for index in 0..<config.layers {
            blocks.append(
                try SAMBlock(
                    config.width,
                    heads: config.heads,
                    height: grid,
                    width: grid,
                    window: config.globalLayers.contains(index) ? nil : config.windowSize,
                    mlpRatio: config.mlpRatio,
                    epsilon: config.epsilon,
                    weights["blocks"][index]
                )
            )
        }
        self.blocks = blocks
        neck = try SAMNeck(config, weights["neck"])
        detailNeck = try SAMNeck(config, weights["neck_hd"])
        var downsamples: [Convolution] = []
        var channels = config.neckChannels
        for (index, next) in config.downsampleChannels.enumerated() {
            downsamples.append(try Convolution(channels, next, stride: 2, weights["downsamples"][index]))
            channels = next
        }
        self.downsamples = downsamples
        detailWeight = try weights.vector("hd_alpha_downsamples", 1)
    }

    /// Features of one picture, [outputSide * outputSide, outputChannels], in the workspace.
    ///
    /// - Parameter pixels: normalised, [3, imageSize, imageSize].
    package func callAsFunction(_ pixels: UnsafePointer<Float>, _ run: Run) -> Matrix {
        let side = config.outputSide
        let out = run.workspace.matrix(side * side, config.outputChannels)
        run.scoped {
            let x = run.workspace.matrix(config.grid * config.grid, config.width)
            let details = run.workspace.matrix(x.rows, x.columns)
            begin(pixels, into: x, run)
            for index in blocks.indices { apply(index, to: x, details: details, run) }
            finish(x, details: details, into: out, run)
        }
        run.trace?.record("sam_features", out, tiles: 1)
        return out
    }

    /// Patches with their positions: what the first block takes, [grid * grid, width].
    func begin(_ pixels: UnsafePointer<Float>, into x: Matrix, _ run: Run) {
        run.scoped {
            let embedded = patches(pixels, tiles: 1, run)
            x.pointer.update(from: embedded.pointer, count: x.rows * x.columns)
        }
        run.add(Matrix(table: positions, rows: x.rows, columns: x.columns), to: x)
        run.trace?.record("sam_embedded", x, tiles: 1)
    }

    /// One block, in place; what stands behind the first global one is kept as `details`.
    func apply(_ index: Int, to x: Matrix, details: Matrix, _ run: Run) {
        blocks[index](x, height: config.grid, width: config.grid, run)
        if index == blocks.firstIndex(where: \.isGlobal) {
            details.pointer.update(from: x.pointer, count: x.rows * x.columns)
            run.trace?.record("sam_first_global_block", x, tiles: 1)
        } else if index == blocks.firstIndex(where: { !$0.isGlobal }) {
            run.trace?.record("sam_first_window_block", x, tiles: 1)
        }
    }

    /// The necks and what lies behind them, [outputSide * outputSide, outputChannels].
    func finish(_ x: Matrix, details: Matrix, into out: Matrix, _ run: Run) {
        run.scoped {
            let wholes = reduce(x, neck, "sam_neck", run)
            out.pointer.update(from: wholes.pointer, count: out.rows * out.columns)
            let added = reduce(details, detailNeck, "sam_neck_hd", run)
            run.eachRow(out.rows, out.columns) { row in
                run.add(
                    added[row: row],
                    times: detailWeight.pointer[0],
                    to: out[row: row],
                    count: out.columns
                )
            }
        }
    }

    /// A neck, the stretching and the halvings: [grid * grid, width] to [outputSide * outputSide, outputChannels].
    private func reduce(_ x: Matrix, _ neck: SAMNeck, _ name: String, _ run: Run) -> Matrix {
        let narrow = neck(x, side: config.grid, run)
        run.trace?.record(name, narrow, tiles: 1)
        var map = Self.stretched(narrow, from: config.grid, to: config.stretchedSide, run)
        var side = config.stretchedSide
        for convolution in downsamples {
            map = convolution(map, side: side, run)
            side = convolution.side(side)
        }
        return map
    }

    /// A square map in another size, bilinear between the centres of places and without averaging
    /// (`interpolate(align_corners=False)`).
    package static func stretched(_ x: Matrix, from side: Int, to newSide: Int, _ run: Run) -> Matrix {
        let out = run.workspace.matrix(newSide * newSide, x.columns)
        func taps(_ place: Int) -> (first: Int, second: Int, weight: Float) {
            // One rounding, as torch's kernels have it: the weights hang on the last bits of a position.
            let center = max(
                (-0.5 as Float).addingProduct(Float(place) + 0.5, Float(side) / Float(newSide)),
                0
            )
            let first = min(Int(center), side - 1)
            return (first, min(first + 1, side - 1), center - Float(first))
        }
        run.eachRow(out.rows, 4 * out.columns) { row in
            let vertical = taps(row / newSide)
            let horizontal = taps(row % newSide)
            let target = out[row: row]
            target.update(repeating: 0, count: out.columns)
            for (line, share) in [(vertical.first, 1 - vertical.weight), (vertical.second, vertical.weight)] {
                let left = x[row: line * side + horizontal.first]
                let right = x[row: line * side + horizontal.second]
                run.add(left, times: share * (1 - horizontal.weight), to: target, count: out.columns)
                run.add(right, times: share * horizontal.weight, to: target, count: out.columns)
            }
        }
        return out
    }
}
