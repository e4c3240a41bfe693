import VLTensor

/// Self-attention of a vision block over the patches of one tile, with a fused projection.
struct FusedAttention: Sendable {
    let projection: Linear
    let output: Linear
    let shape: AttentionShape

    init(_ width: Int, heads: Int, _ weights: Weights) throws(LoadError) {
        projection = try weights["qkv"].linear(width, 3 * width, bias: true)
        output = try weights["proj"].linear(width, width, bias: true)
        let head = width / heads
        shape = AttentionShape(
            heads: heads,
            keyValueHeads: heads,
            keySize: head,
            valueSize: head,
            scale: 1 / Float(head).squareRoot()
        )
    }

    /// [tiles * tokens, width] to the same shape; each tile attends to itself.
    func callAsFunction(_ x: Matrix, tokens: Int, _ run: Run) -> Matrix {
        let width = output.inputSize
        let fused = run.linear(x, projection) // [rows, query | key | value]
        let mixed = run.workspace.matrix(x.rows, width)
        let tiles = x.rows / tokens
        if run.hasDenseAttention(for: projection.weight.type) {
            run.attendDense(fused, count: tiles, heads: shape.heads, scale: shape.scale, to: mixed)
            return run.linear(mixed, output)
        }
        var list = run.attentionList(tiles)
        for tile in 0..<tiles {
            let rows = tile * tokens..<(tile + 1) * tokens
            let view = run.contiguousView(
                fused[rows: rows],
                keys: width,
                values: 2 * width,
                keyHeadStride: shape.keySize,
                valueHeadStride: shape.valueSize
            )
            list.append(
                fused[rows: rows][columns: 0..<width],
                view,
                shape,
                firstPosition: nil,
                to: mixed[rows: rows]
            )
        }
        run.perform(list)
        return run.linear(mixed, output)
    }
}

/// One SigLIP encoder block: pre-norm attention, then a pre-norm MLP.
///
/// `vision.blocks.<i>` of a DeepSeek-VL2 checkpoint; class `Block` in its `siglip_vit.py`.
struct SigLIPBlock: Sendable {
    let norm1: LayerNorm
    let attention: FusedAttention
    let norm2: LayerNorm
    let mlp: FeedForward

    init(_ config: SigLIPConfig, _ weights: Weights) throws(LoadError) {
        norm1 = try LayerNorm(config.width, config.epsilon, weights["norm1"])
        attention = try FusedAttention(config.width, heads: config.heads, weights["attn"])
        norm2 = try LayerNorm(config.width, config.epsilon, weights["norm2"])
        mlp = try FeedForward(config.width, config.mlpWidth, config.activation, weights["mlp"])
    }

    /// Updates `x`, [tiles * tokens, width], in place.
    func callAsFunction(_ x: Matrix, tokens: Int, _ run: Run) {
        run.scoped { run.add(attention(norm1(x, run), tokens: tokens, run), to: x) }
        run.scoped { run.add(mlp(norm2(x, run), run), to: x) }
    }
}

/// A SigLIP vision tower without its pooling head: a picture's tile in, one vector a patch out.
///
/// `vision` of a DeepSeek-VL2 checkpoint; class `VisionTransformer` in its `siglip_vit.py`.
package struct SigLIP: Sendable {
    package let config: SigLIPConfig
    let patches: PatchEmbedding
    let positions: WeightVector
    let blocks: [SigLIPBlock]
    let norm: LayerNorm

    /// Reads `patch_embed.proj`, `pos_embed`, `blocks.*` and `norm`.
    package init(_ config: SigLIPConfig, _ weights: Weights) throws(LoadError) {
        self.config = config
        patches = try PatchEmbedding(
            imageSize: config.imageSize,
            patchSize: config.patchSize,
            width: config.width,
            weights["patch_embed"]
        )
        positions = try weights.vector(
            "pos_embed",
            config.tokens * config.width,
            shape: [1, config.tokens, config.width]
        )
        var blocks: [SigLIPBlock] = []
        for index in 0..<config.layers { blocks.append(try SigLIPBlock(config, weights["blocks"][index])) }
        self.blocks = blocks
        norm = try LayerNorm(config.width, config.epsilon, weights["norm"])
    }

    /// Features after the final norm, [tiles * tokens, width], in the workspace.
    ///
    /// - Parameters:
    ///   - pixels: normalised tiles, [tiles, 3, imageSize, imageSize].
    ///   - name: what a trace calls the tower.
    package func callAsFunction(
        _ pixels: UnsafePointer<Float>,
        tiles: Int,
        _ run: Run,
        name: String
    ) -> Matrix {
        let out = run.workspace.matrix(tiles * config.tokens, config.width)
        run.scoped {
            let x = run.workspace.matrix(out.rows, out.columns)
            begin(pixels, tiles: tiles, into: x, run, name: name)
            for index in blocks.indices { apply(index, to: x, tiles: tiles, run, name: name) }
            finish(x, into: out, run)
        }
        run.trace?.record(name + "_features", out, tiles: tiles)
        return out
    }

    /// Patches of tiles with their positions: what the first block takes, [tiles * tokens, width].
    func begin(
        _ pixels: UnsafePointer<Float>,
        tiles: Int,
        into x: Matrix,
        _ run: Run,
        name: String
    ) {
        run.scoped {
            let embedded = patches(pixels, tiles: tiles, run)
            x.pointer.update(from: embedded.pointer, count: x.rows * x.columns)
        }
        for tile in 0..<tiles {
            let rows = x[rows: tile * config.tokens..<(tile + 1) * config.tokens]
            run.add(Matrix(table: positions, rows: config.tokens, columns: config.width), to: rows)
        }
        run.trace?.record(name + "_embedded", x, tiles: tiles)
    }

    /// One block, in place.
    func apply(_ index: Int, to x: Matrix, tiles: Int, _ run: Run, name: String) {
        blocks[index](x, tokens: config.tokens, run)
        if index == 0 { run.trace?.record(name + "_block0", x, tiles: tiles) }
    }

    /// The final norm; `out` may be in the same place.
    func finish(_ x: Matrix, into out: Matrix, _ run: Run) {
        run.scoped {
            let normed = norm(x, run)
            out.pointer.update(from: normed.pointer, count: out.rows * out.columns)
        }
    }
}
