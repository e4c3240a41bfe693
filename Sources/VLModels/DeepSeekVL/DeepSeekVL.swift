import VLTensor

/// The towers of a DeepSeek-VL model.
enum VisionTowers: Sendable {
    case single(SigLIP)
    case hybrid(high: SAM, low: SigLIP)

    /// Reads `vision_tower`, or `vision_tower_high` and `vision_tower_low`.
    init(_ config: DeepSeekVLConfig.Vision, _ weights: Weights) throws(LoadError) {
        switch config {
        case .single(let tower):
            self = .single(try SigLIP(tower.network, weights["vision_tower"]))
        case .hybrid(let high, let low):
            self = .hybrid(
                high: try SAM(high.network, weights["vision_tower_high"]["vision_tower"]),
                low: try SigLIP(low.network, weights["vision_tower_low"]["vision_tower"])
            )
        }
    }
}

/// DeepSeek-VL: one or two vision towers over whole pictures, an aligner, and a Llama decoder.
///
/// Class `MultiModalityCausalLM` of the official `modeling_vlm.py`. Stateless.
package struct DeepSeekVL: VisionEncoder {
    package let config: DeepSeekVLConfig
    let towers: VisionTowers
    let aligner: Aligner
    package let decoder: Decoder
    private let owner: WeightOwner

    /// Names of tensors that published checkpoints hold and the model does not use.
    package static func isUnused(_ name: String) -> Bool {
        name.contains(".vision_tower.attn_pool.") || name.hasPrefix("vision_model.high_layer_norm.")
            || name.hasPrefix("vision_model.low_layer_norm.") || name.hasSuffix(".rotary_emb.inv_freq")
    }

    /// - Parameter onLayer: called with (layers read, layers in all).
    package init(
        _ config: DeepSeekVLConfig,
        _ weights: Weights,
        onLayer: (Int, Int) -> Void = { _, _ in }
    ) throws(LoadError) {
        self.config = config
        towers = try VisionTowers(config.vision, weights["vision_model"])
        aligner = try Aligner(config.aligner, weights["aligner"])
        decoder = try Decoder(config.language, weights["language_model"]) {
            onLayer($0, config.language.layers)
        }
        owner = weights.loader.owner
    }

    package var tileSize: Int { config.vision.imageSize }

    package var visionFlopsPerTile: Double {
        let aligning = 2 * Double(config.vision.tokens) * Double(config.aligner.parameterCount)
        switch config.vision {
        case .single(let tower): return tower.network.flopsPerTile + aligning
        case .hybrid(let high, let low):
            return high.network.flopsPerImage + low.network.flopsPerTile + aligning
        }
    }

    package func encode(_ pixels: UnsafePointer<Float>, tiles: Int, _ run: Run) -> Matrix {
        let out = run.workspace.matrix(tiles * config.vision.tokens, config.aligner.outputSize)
        let perTile = 3 * tileSize * tileSize
        // One picture at a time: each fills the kernels by itself.
        for tile in 0..<tiles {
            run.scoped {
                let aligned = aligner(features(pixels + tile * perTile, run), run)
                run.trace?.record("aligner_output", aligned, tiles: 1)
                run.trace?.record("projector_output", aligned, tiles: 1)
                out[row: tile * aligned.rows].update(from: aligned.pointer, count: aligned.rows * out.columns)
            }
        }
        return out
    }

    /// What the towers see in one picture.
    private func features(_ pixels: UnsafePointer<Float>, _ run: Run) -> VisionFeatures {
        switch (towers, config.vision) {
        case (.single(let network), .single(let tower)):
            let seen = network(
                normalized(pixels, tower.network.imageSize, tower.normalization, run),
                tiles: 1,
                run,
                name: "siglip"
            )
            run.trace?.record("vision_features", seen, tiles: 1)
            return .one(seen)
        case (.hybrid(let high, let low), .hybrid(let highTower, let lowTower)):
            let size = lowTower.network.imageSize
            // The small picture is made from the large one before either is normalised.
            let small = PlaneResize.resize(pixels, count: 3, from: tileSize, to: size, run)
            run.trace?.record("low_images", Matrix(small, rows: 3 * size, columns: size), tiles: 1)
            let details = high(normalized(pixels, tileSize, highTower.normalization, run), run)
            let whole = low(
                normalized(small, size, lowTower.normalization, run),
                tiles: 1,
                run,
                name: "siglip"
            )
            if let trace = run.trace {
                let both = run.workspace.matrix(whole.rows, details.columns + whole.columns)
                for row in 0..<both.rows {
                    both[row: row].update(from: details[row: row], count: details.columns)
                    (both[row: row] + details.columns).update(from: whole[row: row], count: whole.columns)
                }
                trace.record("vision_features", both, tiles: 1)
            }
            return .two(high: details, low: whole)
        default: preconditionFailure("towers of another configuration")
        }
    }

    /// (pixel - mean) / deviation for each channel, [3, size, size], in the workspace.
    private func normalized(
        _ pixels: UnsafePointer<Float>,
        _ size: Int,
        _ normalization: ChannelNormalization?,
        _ run: Run
    ) -> UnsafePointer<Float> {
        guard let normalization else { return pixels }
        let out = run.workspace.allocate(Float.self, 3 * size * size)
        run.eachRow(3 * size, size) { row in
            let mean = Float(normalization.mean[row / size])
            let deviation = Float(normalization.deviation[row / size])
            for index in row * size..<(row + 1) * size { out[index] = (pixels[index] - mean) / deviation }
        }
        return UnsafePointer(out)
    }

    package func embed(_ image: PreparedImage, into out: Matrix, _ run: Run, onTiles: (Int) -> Void) {
        precondition(
            image.tiles == 1 && image.size == tileSize && image.pixels.count == 3 * tileSize * tileSize
                && out.rows == config.vision.tokens,
            "a picture for another model"
        )
        run.scoped {
            image.pixels.withUnsafeBufferPointer { pixels in
                guard let base = pixels.baseAddress else { preconditionFailure("a picture without pixels") }
                let aligned = encode(base, tiles: 1, run)
                for row in 0..<out.rows { out[row: row].update(from: aligned[row: row], count: out.columns) }
            }
        }
        onTiles(1)
    }
}
