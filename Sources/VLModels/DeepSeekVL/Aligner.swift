import VLTensor

/// What lies between the vision towers and the language model (`aligner_config`).
package struct AlignerConfig: Sendable, Equatable {
    /// `projector_type`.
    package enum Kind: String, Sendable, CaseIterable {
        case identity
        case linear
        case mlpGELU = "mlp_gelu"
        case lowHighSplit = "low_high_split_mlp_gelu"
        case lowHighHybridSplit = "low_high_hybrid_split_mlp_gelu"

        /// Whether it takes the features of two towers.
        var takesTwo: Bool { self == .lowHighSplit || self == .lowHighHybridSplit }
    }

    package var kind: Kind
    package var inputSize: Int
    package var outputSize: Int
    /// Number of linear layers (`depth`), the split kinds' first ones included.
    package var depth: Int

    /// Numbers in all matrices.
    package var parameterCount: Int {
        let rest = (depth - 1) * outputSize * outputSize
        switch kind {
        case .identity: return 0
        case .linear: return inputSize * outputSize
        case .mlpGELU, .lowHighHybridSplit: return inputSize * outputSize + rest
        case .lowHighSplit: return rest / 2
        }
    }

    /// Reads `aligner_config.params`.
    ///
    /// - Throws: `LoadError.field`, `.unsupported`.
    package init(_ reader: ConfigReader) throws(LoadError) {
        kind = try reader.choice("projector_type")
        inputSize = try reader.int("input_dim", 1...1_048_576)
        outputSize = try reader.int("n_embed", 1...1_048_576)
        depth = try reader.int("depth", 1...64, default: 1)
        if kind == .identity && inputSize != outputSize {
            throw reader.error("n_embed", expected: "input_dim (\(inputSize))", found: "\(outputSize)")
        }
        if kind.takesTwo && outputSize % 2 != 0 {
            throw reader.error("n_embed", expected: "an even number", found: "\(outputSize)")
        }
        if kind == .lowHighSplit && inputSize != outputSize / 2 {
            throw reader.error(
                "input_dim",
                expected: "half of n_embed (\(outputSize))",
                found: "\(inputSize)"
            )
        }
    }
}

/// What the vision towers see of some pictures, [pictures * tokens, width] each.
package enum VisionFeatures {
    case one(Matrix)
    case two(high: Matrix, low: Matrix)
}

/// Maps features to token embeddings; class `MlpProjector` of the official `projector.py`.
package struct Aligner: Sendable {
    package let config: AlignerConfig
    /// First layers of the high and the low features (the hybrid kind).
    private let first: (high: Linear, low: Linear)?
    /// The other layers; of the split kind, those of the high features.
    private let layers: [Linear]
    /// The layers of the low features (the split kind).
    private let lowLayers: [Linear]

    /// Reads `layers.*`, and `high_up_proj` and `low_up_proj` or `high_layers.*` and `low_layers.*`.
    package init(_ config: AlignerConfig, _ weights: Weights) throws(LoadError) {
        self.config = config
        let half = config.outputSize / 2
        /// Layers of equal width, each behind an activation that has a number of its own.
        func list(_ weights: Weights, _ size: Int, first: Int) throws(LoadError) -> [Linear] {
            var made: [Linear] = []
            for index in 0..<config.depth - 1 {
                made.append(try weights[2 * index + first].linear(size, size, bias: true))
            }
            return made
        }
        switch config.kind {
        case .identity:
            (first, layers, lowLayers) = (nil, [], [])
        case .linear:
            first = nil
            layers = [try weights["layers"].linear(config.inputSize, config.outputSize, bias: true)]
            lowLayers = []
        case .mlpGELU:
            first = nil
            let layers = weights["layers"]
            let entry = try layers[0].linear(config.inputSize, config.outputSize, bias: true)
            self.layers = [entry] + (try list(layers, config.outputSize, first: 2))
            lowLayers = []
        case .lowHighHybridSplit:
            first = (
                high: try weights["high_up_proj"].linear(config.inputSize, half, bias: true),
                low: try weights["low_up_proj"].linear(config.inputSize, half, bias: true)
            )
            layers = try list(weights["layers"], config.outputSize, first: 1)
            lowLayers = []
        case .lowHighSplit:
            first = nil
            // The class names the same layers twice; files that keep shared tensors once have one of the names.
            let high = weights["high_layers"][1].contains("weight") ? "high_layers" : "layers"
            layers = try list(weights[high], half, first: 1)
            lowLayers = try list(weights["low_layers"], half, first: 1)
        }
    }

    /// [rows, outputSize], in the workspace.
    package func callAsFunction(_ features: VisionFeatures, _ run: Run) -> Matrix {
        switch features {
        case .one(let x):
            precondition(!config.kind.takesTwo, "one tower for an aligner of two")
            return through(layers, x, activatesFirst: false, run)
        case .two(let high, let low):
            precondition(config.kind.takesTwo, "two towers for an aligner of one")
            let half = config.outputSize / 2
            let joined = run.workspace.matrix(high.rows, config.outputSize)
            let left = joined[columns: 0..<half]
            let right = joined[columns: half..<config.outputSize]
            if let first {
                var list = run.products(2)
                run.append(run.activations(high), first.high, to: left, &list)
                run.append(run.activations(low), first.low, to: right, &list)
                run.perform(list)
                run.trace?.record("aligner_high", left, tiles: 1)
                run.trace?.record("aligner_low", right, tiles: 1)
                return through(layers, joined, activatesFirst: true, run)
            }
            for (source, layers, target) in [(high, layers, left), (low, lowLayers, right)] {
                let copy = run.workspace.matrix(source.rows, source.columns)
                copy.pointer.update(from: source.pointer, count: source.rows * source.columns)
                let mapped = through(layers, copy, activatesFirst: true, run)
                for row in 0..<mapped.rows { target[row: row].update(from: mapped[row: row], count: half) }
            }
            return joined
        }
    }

    /// Layers with the exact GELU between them, and before the first if asked for.
    private func through(_ layers: [Linear], _ x: Matrix, activatesFirst: Bool, _ run: Run) -> Matrix {
        var x = x
        for (index, layer) in layers.enumerated() {
            if index > 0 || activatesFirst { run.apply(.geluErf, to: x) }
            x = run.linear(x, layer)
        }
        return x
    }
}
