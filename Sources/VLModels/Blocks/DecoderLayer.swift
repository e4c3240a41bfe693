import VLTensor

/// A decoder layer: pre-norm attention, then a pre-norm feed-forward.
struct DecoderLayer: Sendable {
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
            let attended =
                switch attention {
                case .latent(let attention): attention(normed, batch, layer: layer, positions, run)
                case .grouped(let attention): attention(normed, batch, layer: layer, positions, run)
                }
            if layer == 0 { run.trace?.record("layer0_attention", attended) }
            run.add(attended, to: x)
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
