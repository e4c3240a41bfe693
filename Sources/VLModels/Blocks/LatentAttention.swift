import VLTensor

/// How hidden states become queries: directly, or through a low rank.
enum QueryProjection: Sendable {
    case direct(Linear)
    case lowRank(down: Linear, norm: RMSNorm, up: Linear)

    init(_ config: DeepSeekMoEConfig.Latent, _ size: Int, bias: Bool, _ weights: Weights) throws(LoadError) {
        let width = config.heads * (config.plainSize + config.ropeSize)
        if let rank = config.queryRank {
            self = .lowRank(
                down: try weights["q_a_proj"].linear(size, rank, bias: bias),
                // Both low-rank norms keep the class's own epsilon, whatever `rms_norm_eps` says.
                norm: try RMSNorm(rank, 1e-6, weights["q_a_layernorm"]),
                up: try weights["q_b_proj"].linear(rank, width, bias: false)
            )
        } else {
            self = .direct(try weights["q_proj"].linear(size, width, bias: false))
        }
    }
}

/// DeepSeek-V2's multi-head latent attention, with `kv_b_proj` folded into the query and the output.
///
/// The cache keeps a token's latent and its rotated key (`rank + ropeSize` values), never the heads' keys. Prefill and
/// decode compute the same sums, so that chunks change nothing. Class `DeepseekV2Attention`.
struct LatentAttention: Sendable {
    let config: DeepSeekMoEConfig.Latent
    let query: QueryProjection
    let down: Linear
    let norm: RMSNorm
    /// `kv_b_proj`, [heads * (plain + value), rank]: a head's key rows, then its value rows.
    let up: WeightMatrix
    let output: Linear
    let rotary: Rotary
    let scale: Float

    init(_ config: DeepSeekMoEConfig.Latent, _ model: DeepSeekMoEConfig, _ weights: Weights) throws(LoadError)
    {
        self.config = config
        let bias = model.attentionBias
        query = try QueryProjection(config, model.hiddenSize, bias: bias, weights)
        down = try weights["kv_a_proj_with_mqa"].linear(
            model.hiddenSize,
            config.rank + config.ropeSize,
            bias: bias
        )
        norm = try RMSNorm(config.rank, 1e-6, weights["kv_a_layernorm"])
        up = try weights["kv_b_proj"].matrix(
            "weight",
            config.heads * (config.plainSize + config.valueSize),
            config.rank
        )
        output = try weights["o_proj"].linear(config.heads * config.valueSize, model.hiddenSize, bias: bias)
        rotary = Rotary(size: config.ropeSize, theta: model.ropeTheta, scaling: model.ropeScaling)
        var scale = 1 / Double(config.plainSize + config.ropeSize).squareRoot()
        if case .yarn(let yarn) = model.ropeScaling, yarn.mScaleAllDimensions != 0 {
            let m = RopeScaling.YaRN.mScale(factor: yarn.factor, yarn.mScaleAllDimensions)
            scale *= m * m
        }
        self.scale = Float(scale)
    }

    /// Attends from `x`, [rows, hidden], to what the segments' caches hold and to the rows themselves.
    func callAsFunction(
        _ x: Matrix,
        _ batch: Batch,
        layer: Int,
        _ positions: UnsafeBufferPointer<Int32>,
        _ run: Run
    ) -> Matrix {
        let rows = x.rows
        let heads = config.heads
        let plain = config.plainSize
        let rope = config.ropeSize
        let rank = config.rank
        let input = run.activations(x)
        let width = heads * (plain + rope)
        let compressed = run.workspace.matrix(rows, rank + rope) // latent | rotated key
        let q: Matrix // [rows, heads * (plain | rope)]
        switch query {
        case .direct(let projection):
            q = run.workspace.matrix(rows, width)
            var list = run.products(2)
            run.append(input, projection, to: q, &list)
            run.append(input, down, to: compressed, &list)
            run.perform(list)
        case .lowRank(let first, let norm, let second):
            let low = run.workspace.matrix(rows, first.outputSize)
            var list = run.products(2)
            run.append(input, first, to: low, &list)
            run.append(input, down, to: compressed, &list)
            run.perform(list)
            norm.inPlace(low, run)
            q = run.linear(low, second)
        }
        let angles = rotary.angles(positions, run)
        norm.inPlace(compressed[columns: 0..<rank], run)
        run.deinterleave(compressed, heads: 1, stride: rank + rope, offset: rank, size: rope)
        run.rotate(compressed, heads: 1, stride: rank + rope, offset: rank, size: rope, angles)
        run.deinterleave(q, heads: heads, stride: plain + rope, offset: plain, size: rope)
        run.rotate(q, heads: heads, stride: plain + rope, offset: plain, size: rope, angles)
        for segment in batch.segments {
            segment.cache.write(
                compressed[rows: segment.rows],
                layer: layer,
                firstPosition: segment.firstPosition,
                offset: 0,
                run
            )
        }

        // The query meets the latents through the key part of `up`: [rows, heads * (rank | rope)].
        let latentQuery = run.workspace.matrix(rows, heads * (rank + rope))
        var absorb = run.products(heads)
        for head in 0..<heads {
            let key = up[rows: head * (plain + config.valueSize)..<head * (plain + config.valueSize) + plain]
            let from = head * (plain + rope)
            let to = head * (rank + rope)
            run.appendTransposed(
                q[columns: from..<from + plain],
                key,
                to: latentQuery[columns: to..<to + rank],
                &absorb
            )
            let source = q[columns: from + plain..<from + plain + rope]
            let target = latentQuery[columns: to + rank..<to + rank + rope]
            for row in 0..<rows { target[row: row].update(from: source[row: row], count: rope) }
        }
        run.perform(absorb)

        let mixed = run.workspace.matrix(rows, heads * rank)
        let shape = AttentionShape(
            heads: heads,
            keyValueHeads: 1,
            keySize: rank + rope,
            valueSize: rank,
            scale: scale
        )
        var list = run.attentionList(batch.segments.count)
        for segment in batch.segments {
            let view = segment.cache.view(
                layer: layer,
                count: segment.firstPosition + segment.rows.count,
                keys: 0,
                values: 0,
                keyHeadStride: 0,
                valueHeadStride: 0
            )
            list.append(
                latentQuery[rows: segment.rows],
                view,
                shape,
                firstPosition: segment.firstPosition,
                to: mixed[rows: segment.rows]
            )
        }
        run.perform(list)

        // The mixed latents become values through the value part of `up`.
        let values = run.workspace.matrix(rows, heads * config.valueSize)
        let latents = run.activations(mixed)
        var raise = run.products(heads)
        for head in 0..<heads {
            let first = head * (plain + config.valueSize) + plain
            run.append(
                latents,
                columns: head * rank..<(head + 1) * rank,
                up[rows: first..<first + config.valueSize],
                to: values[columns: head * config.valueSize..<(head + 1) * config.valueSize],
                &raise
            )
        }
        run.perform(raise)
        return run.linear(values, output)
    }
}
