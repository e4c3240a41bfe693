import VLTensor

/// What lies between the vision tower and the language model (`projector_config`).
package struct ProjectorConfig: Sendable, Equatable {
    /// `projector_type`.
    package enum Kind: String, Sendable, CaseIterable {
        case identity
        case linear
        case mlpGELU = "mlp_gelu"
        case downsampleMLPGELU = "downsample_mlp_gelu"
    }

    package var kind: Kind
    package var inputSize: Int
    package var outputSize: Int
    /// Number of linear layers (`depth`).
    package var depth: Int
    /// Width of the inner layers in outputs (`mlp_ratio`); the down-sampling kind only.
    package var mlpRatio: Int
    /// Side of the square of patches that becomes one token (`downsample_ratio`); the down-sampling kind only.
    package var downsampleRatio: Int

    /// Tokens along a side for a grid of patches.
    package func side(grid: Int) -> Int {
        kind == .downsampleMLPGELU ? (grid + downsampleRatio - 1) / downsampleRatio : grid
    }

    /// Multiply-adds of one tile, times two.
    package func flopsPerTile(grid: Int) -> Double {
        let tokens = Double(side(grid: grid) * side(grid: grid))
        let inner = Double(outputSize * (kind == .downsampleMLPGELU ? mlpRatio : 1))
        let input = Double(inputSize * (kind == .downsampleMLPGELU ? downsampleRatio * downsampleRatio : 1))
        switch kind {
        case .identity: return 0
        case .linear: return 2 * tokens * input * Double(outputSize)
        case .mlpGELU: return 2 * tokens * (input * inner + Double(max(0, depth - 1)) * inner * inner)
        case .downsampleMLPGELU:
            return 2 * tokens
                * (input * inner + Double(max(0, depth - 2)) * inner * inner + inner * Double(outputSize))
        }
    }
}

/// Maps patch features to token embeddings; class `MlpProjector` of the official `modeling_deepseek_vl_v2.py`.
package struct Projector: Sendable {
    package let config: ProjectorConfig
    let layers: [Linear]

    /// Reads `layers` (kind linear) or `layers.0`, `layers.2`….
    package init(_ config: ProjectorConfig, _ weights: Weights) throws(LoadError) {
        self.config = config
        let layers = weights["layers"]
        switch config.kind {
        case .identity:
            self.layers = []
        case .linear:
            self.layers = [try layers.linear(config.inputSize, config.outputSize, bias: true)]
        case .mlpGELU:
            var made = [try layers[0].linear(config.inputSize, config.outputSize, bias: true)]
            for index in stride(from: 1, to: config.depth, by: 1) {
                made.append(try layers[2 * index].linear(config.outputSize, config.outputSize, bias: true))
            }
            self.layers = made
        case .downsampleMLPGELU:
            let inner = config.outputSize * config.mlpRatio
            let ratio = config.downsampleRatio
            var made = [try layers[0].linear(config.inputSize * ratio * ratio, inner, bias: true)]
            for index in stride(from: 1, to: config.depth - 1, by: 1) {
                made.append(try layers[2 * index].linear(inner, inner, bias: true))
            }
            // The official class always has an outgoing layer, whatever the depth is.
            made.append(try layers[2 * made.count].linear(inner, config.outputSize, bias: true))
            self.layers = made
        }
    }

    /// [tiles * grid * grid, inputSize] to [tiles * side * side, outputSize].
    package func callAsFunction(_ features: Matrix, tiles: Int, grid: Int, _ run: Run) -> Matrix {
        var x = config.kind == .downsampleMLPGELU ? merge(features, tiles: tiles, grid: grid, run) : features
        for (index, layer) in layers.enumerated() {
            if index > 0 { run.apply(.geluErf, to: x) }
            x = run.linear(x, layer)
        }
        return x
    }

    /// Squares of patches as rows, zeros beyond the grid's edge: `unfold`, so that the feature index runs over
    /// (channel, row in the square, column in the square) with the channel slowest.
    private func merge(_ features: Matrix, tiles: Int, grid: Int, _ run: Run) -> Matrix {
        let ratio = config.downsampleRatio
        let side = config.side(grid: grid)
        let channels = config.inputSize
        let rows = run.workspace.matrix(tiles * side * side, channels * ratio * ratio)
        run.eachRow(rows.rows, rows.columns) { row in
            let tile = row / (side * side)
            let place = row % (side * side)
            let top = place / side * ratio
            let left = place % side * ratio
            let target = rows[row: row]
            for dy in 0..<ratio {
                for dx in 0..<ratio {
                    let inside = top + dy < grid && left + dx < grid
                    let source =
                        inside ? features[row: tile * grid * grid + (top + dy) * grid + left + dx] : nil
                    for channel in 0..<channels {
                        target[(channel * ratio + dy) * ratio + dx] = source?[channel] ?? 0
                    }
                }
            }
        }
        return rows
    }
}
