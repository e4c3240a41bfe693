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

/// `kv_b_proj`: what makes heads' keys and values of latents.
enum LatentProjection: Sendable {
    /// [heads * (plain + value), rank]: a head's key rows, then its value rows.
    case joined(WeightMatrix)
    /// As llama.cpp splits it: a head's keys transposed, [heads * rank, plain], and the values, [heads * value, rank].
    ///
    /// Both are read along their rows, so that block types need not be taken apart.
    case split(keys: WeightMatrix, values: WeightMatrix)

    init(_ config: DeepSeekMoEConfig.Latent, _ weights: Weights) throws(LoadError) {
        let heads = config.heads
        let plain = config.plainSize
        if weights.contains("k_b_proj.weight") {
            let keys = try weights["k_b_proj"].matrix(
                "weight",
                heads * config.rank,
                plain,
                shape: [heads, config.rank, plain]
            )
            let values = try weights["v_b_proj"].matrix(
                "weight",
                heads * config.valueSize,
                config.rank,
                shape: [heads, config.valueSize, config.rank]
            )
            for (matrix, rows) in [(keys, config.rank), (values, config.valueSize)]
            where matrix.type.isBlock && rows % WeightMatrix.groupRows != 0 {
                throw .unsupported(
                    file: weights.loader.source.name,
                    what: "latent attention with \(rows) rows a head in \(matrix.type.rawValue)",
                    known: "multiples of \(WeightMatrix.groupRows)"
                )
            }
            self = .split(keys: keys, values: values)
        } else {
            self = .joined(
                try weights["kv_b_proj"].matrix("weight", heads * (plain + config.valueSize), config.rank)
            )
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
    let up: LatentProjection
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
        up = try LatentProjection(config, weights)
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
        // An observer wants what the matrix stands for: the latents, not how it is folded.
        if let observer = run.observer, case .joined(let up) = up {
            observer.product(reads: compressed[columns: 0..<rank], with: up)
        }
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

        let latentQuery = latentQuery(q, run)
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

        return run.linear(values(mixed, run), output)
    }

    /// The query as it meets the latents, through the key part of `up`: [rows, heads * (rank | rope)].
    private func latentQuery(_ q: Matrix, _ run: Run) -> Matrix {
        let (heads, rank) = (config.heads, config.rank)
        let (plain, rope) = (config.plainSize, config.ropeSize)
        let latentQuery = run.workspace.matrix(q.rows, heads * (rank + rope))
        for head in 0..<heads {
            let from = head * (plain + rope) + plain
            let to = head * (rank + rope) + rank
            let source = q[columns: from..<from + rope]
            let target = latentQuery[columns: to..<to + rope]
            for row in 0..<q.rows { target[row: row].update(from: source[row: row], count: rope) }
        }
        var absorb = run.products(heads)
        switch up {
        case .joined(let up):
            for head in 0..<heads {
                let key = head * (plain + config.valueSize)
                let from = head * (plain + rope)
                let to = head * (rank + rope)
                run.appendTransposed(
                    q[columns: from..<from + plain],
                    up[rows: key..<key + plain],
                    to: latentQuery[columns: to..<to + rank],
                    &absorb
                )
            }
        case .split(let keys, _):
            // Side by side, so that a head's part begins where a block may.
            let packed = run.workspace.matrix(q.rows, heads * plain)
            for head in 0..<heads {
                let source = q[columns: head * (plain + rope)..<head * (plain + rope) + plain]
                let target = packed[columns: head * plain..<(head + 1) * plain]
                for row in 0..<q.rows { target[row: row].update(from: source[row: row], count: plain) }
            }
            let input = run.activations(packed)
            for head in 0..<heads {
                let to = head * (rank + rope)
                run.append(
                    input,
                    columns: head * plain..<(head + 1) * plain,
                    keys[rows: head * rank..<(head + 1) * rank],
                    to: latentQuery[columns: to..<to + rank],
                    &absorb
                )
            }
        }
        run.perform(absorb)
        return latentQuery
    }

    /// Values of mixed latents, through the value part of `up`: [rows, heads * value].
    private func values(_ mixed: Matrix, _ run: Run) -> Matrix {
        let (heads, rank, size) = (config.heads, config.rank, config.valueSize)
        let values = run.workspace.matrix(mixed.rows, heads * size)
        let latents = run.activations(mixed)
        var raise = run.products(heads)
        for head in 0..<heads {
            let part: WeightMatrix
            switch up {
            case .joined(let up):
                let first = head * (config.plainSize + size) + config.plainSize
                part = up.unobserved[rows: first..<first + size]
            case .split(_, let values): part = values[rows: head * size..<(head + 1) * size]
            }
            run.append(
                latents,
                columns: head * rank..<(head + 1) * rank,
                part,
                to: values[columns: head * size..<(head + 1) * size],
                &raise
            )
        }
        run.perform(raise)
        return values
    }
}
