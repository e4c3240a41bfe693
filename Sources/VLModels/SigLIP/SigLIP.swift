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
    let patches: Linear
    let positions: WeightVector
    let blocks: [SigLIPBlock]
    let norm: LayerNorm

    /// Reads `patch_embed.proj`, `pos_embed`, `blocks.*` and `norm`.
    package init(_ config: SigLIPConfig, _ weights: Weights) throws(LoadError) {
        self.config = config
        let side = config.patchSize
        patches = try weights["patch_embed"]["proj"].linear(
            3 * side * side,
            config.width,
            bias: true,
            shape: [config.width, 3, side, side]
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
    /// - Parameter pixels: normalised tiles, [tiles, 3, imageSize, imageSize].
    package func callAsFunction(_ pixels: UnsafePointer<Float>, tiles: Int, _ run: Run) -> Matrix {
        let out = run.workspace.matrix(tiles * config.tokens, config.width)
        run.scoped {
            let x = run.linear(unfold(pixels, tiles: tiles, run), patches)
            for tile in 0..<tiles {
                let rows = x[rows: tile * config.tokens..<(tile + 1) * config.tokens]
                let table = Matrix(
                    UnsafeMutablePointer(mutating: positions.pointer),
                    rows: config.tokens,
                    columns: config.width
                )
                run.add(table, to: rows)
            }
            for block in blocks { block(x, tokens: config.tokens, run) }
            let normed = norm(x, run)
            out.pointer.update(from: normed.pointer, count: out.rows * out.columns)
        }
        return out
    }

    /// The pixels of each patch as a row, channel by channel: the convolution becomes a product.
    private func unfold(_ pixels: UnsafePointer<Float>, tiles: Int, _ run: Run) -> Matrix {
        let side = config.patchSize
        let size = config.imageSize
        let grid = config.grid
        let rows = run.workspace.matrix(tiles * config.tokens, 3 * side * side)
        run.eachRow(rows.rows, rows.columns) { row in
            let tile = row / config.tokens
            let patch = row % config.tokens
            let top = patch / grid * side
            let left = patch % grid * side
            var target = rows[row: row]
            for channel in 0..<3 {
                for line in 0..<side {
                    let source = pixels + ((tile * 3 + channel) * size + top + line) * size + left
                    target.update(from: source, count: side)
                    target += side
                }
            }
        }
        return rows
    }
}
