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
            let seen = HeldMatrix(config.vision.tokens, config.aligner.outputSize)
            for part in parts(into: seen, pixels: { $0(pixels + tile * perTile) }) {
                run.scoped { part.work(run) }
            }
            out[row: tile * config.vision.tokens].update(
                from: seen.matrix.pointer,
                count: seen.matrix.rows * out.columns
            )
        }
        return out
    }

    package func encoding(_ image: PreparedImage) -> PictureEncoding {
        precondition(
            image.tiles == 1 && image.size == tileSize && image.pixels.count == 3 * tileSize * tileSize,
            "a picture for another model"
        )
        let out = HeldMatrix(config.vision.tokens, config.aligner.outputSize)
        return PictureEncoding(
            into: out,
            parts(into: out) { begin in
                image.pixels.withUnsafeBufferPointer { pixels in
                    guard let base = pixels.baseAddress else {
                        preconditionFailure("a picture without pixels")
                    }
                    begin(base)
                }
            }
        )
    }

    /// The towers' parts for one picture, the last of which writes what the aligner makes of their features.
    private func parts(
        into out: HeldMatrix,
        pixels: @escaping ((UnsafePointer<Float>) -> Void) -> Void
    ) -> [PictureEncoding.Part] {
        func align(_ features: VisionFeatures, _ run: Run) {
            let aligned = aligner(features, run)
            run.trace?.record("aligner_output", aligned, tiles: 1)
            run.trace?.record("projector_output", aligned, tiles: 1)
            out.matrix.pointer.update(from: aligned.pointer, count: aligned.rows * aligned.columns)
        }
        switch (towers, config.vision) {
        case (.single(let network), .single(let tower)):
            return network.parts(
                in: HeldMatrix(network.config.tokens, network.config.width),
                tiles: 1,
                name: "siglip",
                pixels: { run, begin in
                    pixels { begin(normalized($0, tower.network.imageSize, tower.normalization, run)) }
                },
                finish: { seen, run in
                    run.trace?.record("vision_features", seen, tiles: 1)
                    align(.one(seen), run)
                }
            )
        case (.hybrid(let high, let low), .hybrid(let highTower, let lowTower)):
            let size = lowTower.network.imageSize
            let details = HeldMatrix(
                high.config.outputSide * high.config.outputSide,
                high.config.outputChannels
            )
            let first = high.parts(into: details) { run, begin in
                pixels { begin(normalized($0, tileSize, highTower.normalization, run)) }
            }
            let second = low.parts(
                in: HeldMatrix(low.config.tokens, low.config.width),
                tiles: 1,
                name: "siglip",
                pixels: { run, begin in
                    pixels { pixels in
                        // The small picture is made from the large one before either is normalised.
                        let small = PlaneResize.resize(pixels, count: 3, from: tileSize, to: size, run)
                        run.trace?.record(
                            "low_images",
                            Matrix(small, rows: 3 * size, columns: size),
                            tiles: 1
                        )
                        begin(normalized(small, size, lowTower.normalization, run))
                    }
                },
                finish: { whole, run in
                    if let trace = run.trace { record(details.matrix, whole, trace, run) }
                    align(.two(high: details.matrix, low: whole), run)
                }
            )
            return first + second
        default: preconditionFailure("towers of another configuration")
        }
    }

    /// Both towers' features side by side, for a trace.
    private func record(_ details: Matrix, _ whole: Matrix, _ trace: Trace, _ run: Run) {
        let both = run.workspace.matrix(whole.rows, details.columns + whole.columns)
        for row in 0..<both.rows {
            both[row: row].update(from: details[row: row], count: details.columns)
            (both[row: row] + details.columns).update(from: whole[row: row], count: whole.columns)
        }
        trace.record("vision_features", both, tiles: 1)
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
}
