import VLTensor

/// DeepSeek-VL2: a SigLIP tower over tiles, a projector, and a language model with mixtures of experts.
///
/// Class `DeepseekVLV2ForCausalLM` of the official `modeling_deepseek_vl_v2.py`. Stateless.
package struct DeepSeekVL2: VisionEncoder {
    package let config: DeepSeekVL2Config
    package let vision: SigLIP
    package let projector: Projector
    package let decoder: Decoder
    /// Closes each row of a view's tokens.
    let imageNewline: WeightVector
    /// Stands between the global view and the tiles; the checkpoints spell it `view_seperator`.
    let viewSeparator: WeightVector
    private let owner: WeightOwner

    /// Names of tensors that published checkpoints hold and the model does not use.
    package static func isUnused(_ name: String) -> Bool {
        name.hasPrefix("vision.attn_pool.") || name.hasSuffix(".rotary_emb.inv_freq")
    }

    /// - Parameter onLayer: called with (layers read, layers in all).
    package init(
        _ config: DeepSeekVL2Config,
        _ weights: Weights,
        onLayer: (Int, Int) -> Void = { _, _ in }
    ) throws(LoadError) {
        self.config = config
        let total = config.language.layers.count
        vision = try SigLIP(config.vision, weights["vision"])
        projector = try Projector(config.projector, weights["projector"])
        imageNewline = try weights.vector("image_newline", config.projector.outputSize)
        viewSeparator = try weights.vector("view_seperator", config.projector.outputSize)
        decoder = try Decoder(config.language, weights["language"]) { onLayer($0, total) }
        owner = weights.loader.owner
    }

    package var visionFlopsPerTile: Double {
        config.vision.flopsPerTile + config.projector.flopsPerTile(grid: config.vision.grid)
    }

    /// Tokens along a tile's side.
    private var side: Int { projector.config.side(grid: config.vision.grid) }

    package var tileSize: Int { config.vision.imageSize }

    package func encode(_ pixels: UnsafePointer<Float>, tiles: Int, _ run: Run) -> Matrix {
        let features = vision(pixels, tiles: tiles, run, name: "vision")
        return projector(features, tiles: tiles, grid: config.vision.grid, run)
    }

    /// Tokens of a picture with so many local tiles.
    private func imageTokens(tilesAcross: Int, tilesDown: Int) -> Int {
        side * (side + 1) + 1 + tilesDown * side * (tilesAcross * side + 1)
    }

    package func encoding(_ image: PreparedImage) -> PictureEncoding {
        precondition(
            image.tiles == 1 + image.tilesAcross * image.tilesDown && image.size == config.vision.imageSize
                && image.pixels.count == image.tiles * 3 * image.size * image.size,
            "a picture for another model"
        )
        let width = config.projector.outputSize
        let tokens = imageTokens(tilesAcross: image.tilesAcross, tilesDown: image.tilesDown)
        let out = HeldMatrix(tokens, width)
        let perTile = side * side
        let features = HeldMatrix(image.tiles * perTile, width)
        // As many tiles at once as fill the kernels; more would only need more memory.
        let step = max(1, 1024 / config.vision.tokens)
        let x = HeldMatrix(min(step, image.tiles) * config.vision.tokens, config.vision.width)
        var parts: [PictureEncoding.Part] = []
        for first in stride(from: 0, to: image.tiles, by: step) {
            let tiles = min(step, image.tiles - first)
            parts += vision.parts(
                in: x,
                tiles: tiles,
                name: "vision",
                pixels: { _, begin in
                    image.pixels.withUnsafeBufferPointer { pixels in
                        guard let base = pixels.baseAddress else {
                            preconditionFailure("a picture without pixels")
                        }
                        begin(base + first * 3 * image.size * image.size)
                    }
                },
                finish: { seen, run in
                    let projected = projector(seen, tiles: tiles, grid: config.vision.grid, run)
                    features.matrix[row: first * perTile].update(
                        from: projected.pointer,
                        count: tiles * perTile * width
                    )
                }
            )
        }
        parts.append(
            PictureEncoding.Part(flops: 0, tiles: 0) { run in
                run.trace?.record("projector_output", features.matrix, tiles: image.tiles)
                arrange(features.matrix, image, into: out.matrix)
            }
        )
        return PictureEncoding(into: out, parts)
    }

    /// Lays the tiles' tokens out as one sequence: each view's rows, closed by the newline vector, with the
    /// separator between the views.
    ///
    /// The rows of the local view run through all tiles of a line.
    private func arrange(_ features: Matrix, _ image: PreparedImage, into out: Matrix) {
        let width = out.columns
        var row = 0
        func put(_ source: UnsafePointer<Float>) {
            out[row: row].update(from: source, count: width)
            row += 1
        }
        func putGlobal() {
            for y in 0..<side {
                for x in 0..<side { put(features[row: y * side + x]) }
                put(imageNewline.pointer)
            }
        }
        func putLocal() {
            for tileY in 0..<image.tilesDown {
                for y in 0..<side {
                    for tileX in 0..<image.tilesAcross {
                        let tile = 1 + tileY * image.tilesAcross + tileX
                        for x in 0..<side { put(features[row: (tile * side + y) * side + x]) }
                    }
                    put(imageNewline.pointer)
                }
            }
        }
        if config.globalViewFirst {
            putGlobal()
            put(viewSeparator.pointer)
            putLocal()
        } else {
            putLocal()
            put(viewSeparator.pointer)
            putGlobal()
        }
    }
}
