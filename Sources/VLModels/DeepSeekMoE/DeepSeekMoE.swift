import VLTensor

/// A decoder layer: pre-norm attention, then a pre-norm feed-forward.
struct DeepSeekMoELayer: Sendable {
    enum AttentionKind: Sendable {
        case latent(LatentAttention)
        case grouped(GroupedAttention)
    }

    enum FeedForwardKind: Sendable {
        case dense(GatedFeedForward)
        case experts(Experts)
    }

    let inputNorm: RMSNorm
    let attention: AttentionKind
    let outputNorm: RMSNorm
    let feedForward: FeedForwardKind

    init(
        _ config: DeepSeekMoEConfig,
        _ kind: DeepSeekMoEConfig.FeedForwardKind,
        _ weights: Weights
    ) throws(LoadError) {
        inputNorm = try RMSNorm(config.hiddenSize, config.epsilon, weights["input_layernorm"])
        switch config.attention {
        case .latent(let latent):
            attention = .latent(try LatentAttention(latent, config, weights["self_attn"]))
        case .grouped(let heads, let keyValueHeads, let headSize):
            let rotary = Rotary(size: headSize, theta: config.ropeTheta, scaling: config.ropeScaling)
            attention = .grouped(
                try GroupedAttention(
                    heads: heads,
                    keyValueHeads: keyValueHeads,
                    headSize: headSize,
                    hiddenSize: config.hiddenSize,
                    bias: config.attentionBias,
                    rotary,
                    weights["self_attn"]
                )
            )
        }
        outputNorm = try RMSNorm(config.hiddenSize, config.epsilon, weights["post_attention_layernorm"])
        switch kind {
        case .dense(let innerSize):
            feedForward = .dense(try GatedFeedForward(config.hiddenSize, innerSize, weights["mlp"]))
        case .experts(let experts):
            feedForward = .experts(try Experts(config.hiddenSize, experts, weights["mlp"]))
        }
    }

    /// Updates `x`, [rows, hidden], in place.
    func callAsFunction(
        _ x: Matrix,
        _ batch: Batch,
        layer: Int,
        _ positions: UnsafeBufferPointer<Int32>,
        _ run: Run
    ) {
        run.scoped {
            let normed = inputNorm(x, run)
            switch attention {
            case .latent(let attention):
                run.add(attention(normed, batch, layer: layer, positions, run), to: x)
            case .grouped(let attention):
                run.add(attention(normed, batch, layer: layer, positions, run), to: x)
            }
        }
        run.scoped {
            let normed = outputNorm(x, run)
            switch feedForward {
            case .dense(let mlp): run.add(mlp(run.activations(normed), run), to: x)
            case .experts(let experts): run.add(experts(normed, run), to: x)
            }
        }
    }
}

/// DeepSeek-V2's language model with mixtures of experts, as DeepSeek-VL2 uses it: class
/// `DeepseekV2ForCausalLM` of the official `modeling_deepseek.py`.
///
/// Stateless: caches and scratch memory are arguments.
package struct DeepSeekMoE: LanguageModel {
    package let config: DeepSeekMoEConfig
    let embedding: WeightMatrix
    let layers: [DeepSeekMoELayer]
    let norm: RMSNorm
    let head: Linear
    private let owner: WeightOwner

    /// Reads `model.embed_tokens`, `model.layers.*`, `model.norm` and `lm_head`.
    ///
    /// - Parameter onLayer: called with the number of layers read, for a progress bar.
    package init(
        _ config: DeepSeekMoEConfig,
        _ weights: Weights,
        onLayer: (Int) -> Void = { _ in }
    ) throws(LoadError) {
        self.config = config
        let model = weights["model"]
        embedding = try model["embed_tokens"].matrix("weight", config.vocabularySize, config.hiddenSize)
        var layers: [DeepSeekMoELayer] = []
        for (index, kind) in config.layers.enumerated() {
            layers.append(try DeepSeekMoELayer(config, kind, model["layers"][index]))
            onLayer(index + 1)
        }
        self.layers = layers
        norm = try RMSNorm(config.hiddenSize, config.epsilon, model["norm"])
        // The checkpoint decides whether there is an output head; the configurations are known to be wrong there.
        if weights["lm_head"].contains("weight") || !config.tiedEmbeddings {
            head = Linear(
                weight: try weights["lm_head"].matrix("weight", config.vocabularySize, config.hiddenSize)
            )
        } else {
            head = Linear(weight: embedding)
        }
        owner = weights.loader.owner
    }

    /// Type of the embedding, which stands for the matrices' type.
    package var weightType: DType { embedding.type }
    package var hiddenSize: Int { config.hiddenSize }
    package var vocabularySize: Int { config.vocabularySize }
    package var maxPositions: Int { config.maxPositions }
    package var activeParameters: Int { config.activeParameters }

    package func cacheLayout(_ type: DType) -> CacheLayout {
        CacheLayout(layers: config.layers.count, width: config.cacheWidth, type: type)
    }

    package func embed(_ ids: UnsafeBufferPointer<Int32>, into out: Matrix, _ run: Run) {
        run.gather(embedding, ids, into: out)
    }

    package func forward(_ x: Matrix, _ batch: Batch, _ run: Run) {
        precondition(x.rows == batch.rowCount && x.columns == config.hiddenSize, "a step of other rows")
        let positions = batch.positions(run)
        for segment in batch.segments { segment.cache.advance(segment.rows.count) }
        run.trace?.record("hidden_states.0", x)
        for (index, layer) in layers.enumerated() {
            layer(x, batch, layer: index, positions, run)
            run.trace?.record("hidden_states.\(index + 1)", x)
        }
    }

    package func finalNorm(_ x: Matrix, _ run: Run) -> Matrix { norm(x, run) }

    package func logits(_ normed: Matrix, _ run: Run) -> Matrix { run.linear(normed, head) }
}
