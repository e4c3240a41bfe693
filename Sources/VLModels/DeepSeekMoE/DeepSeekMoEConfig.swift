import VLTensor

/// Settings of the DeepSeek-V2 language model (`language_config`, class `DeepseekV2Config`).
package struct DeepSeekMoEConfig: Sendable, Equatable {
    /// How a layer attends.
    package enum Attention: Sendable, Equatable {
        /// Multi-head latent attention (`use_mla`).
        case latent(Latent)
        /// Llama's attention over whole key and value heads.
        case grouped(heads: Int, keyValueHeads: Int, headSize: Int)
    }

    /// Sizes of multi-head latent attention.
    package struct Latent: Sendable, Equatable {
        package var heads: Int
        /// Rank of the query's down-projection; nil projects directly (`q_lora_rank: null`).
        package var queryRank: Int?
        /// Width of the cached latent (`kv_lora_rank`).
        package var rank: Int
        /// Width of a head's part without positions (`qk_nope_head_dim`).
        package var plainSize: Int
        /// Width of a head's rotated part (`qk_rope_head_dim`).
        package var ropeSize: Int
        /// Width of a head's value (`v_head_dim`).
        package var valueSize: Int
    }

    /// How a token chooses its experts (`topk_method`).
    package enum ExpertChoice: String, Sendable, CaseIterable {
        case greedy
        case groupLimitedGreedy = "group_limited_greedy"
        case noAuxiliaryLoss = "noaux_tc"
    }

    /// How gate logits become scores (`scoring_func`).
    package enum Scoring: String, Sendable, CaseIterable {
        case softmax, sigmoid
    }

    /// A mixture-of-experts feed-forward.
    package struct Experts: Sendable, Equatable {
        package var count: Int
        package var chosen: Int
        package var innerSize: Int
        /// Width of the shared expert; 0 for none.
        package var sharedInnerSize: Int
        package var choice: ExpertChoice
        package var scoring: Scoring
        package var groups: Int
        package var chosenGroups: Int
        package var normalizeWeights: Bool
        package var scalingFactor: Float
    }

    /// A layer's feed-forward.
    package enum FeedForwardKind: Sendable, Equatable {
        case dense(innerSize: Int)
        case experts(Experts)
    }

    package var hiddenSize: Int
    package var vocabularySize: Int
    package var attention: Attention
    package var attentionBias: Bool
    /// One entry a layer.
    package var layers: [FeedForwardKind]
    package var maxPositions: Int
    package var epsilon: Float
    package var ropeTheta: Double
    package var ropeScaling: RopeScaling
    package var tiedEmbeddings: Bool
    /// How rotated pairs lie in the rows of whole heads' projections; latent attention always has pairs.
    package var rotaryLayout = RotaryLayout.halves

    /// Elements of a cached position in one layer.
    package var cacheWidth: Int {
        switch attention {
        case .latent(let latent): latent.rank + latent.ropeSize
        case .grouped(_, let keyValueHeads, let headSize): 2 * keyValueHeads * headSize
        }
    }

    /// Number that divides the widths of all vectors that a cached position holds.
    package var cacheUnit: Int {
        switch attention {
        case .latent(let latent): greatestCommonDivisor(latent.rank, latent.ropeSize)
        case .grouped(_, _, let headSize): headSize
        }
    }

    /// Numbers in all matrices, about.
    package var parameterCount: Int {
        var total = hiddenSize * 2 * vocabularySize
        for layer in layers {
            switch layer {
            case .dense(let innerSize): total += 3 * hiddenSize * innerSize
            case .experts(let experts):
                total += 3 * hiddenSize * (experts.count * experts.innerSize + experts.sharedInnerSize)
            }
        }
        return max(total, activeParameters)
    }

    /// Weights that a token's forward pass reads, the embedding's row left out.
    package var activeParameters: Int {
        var total = hiddenSize * vocabularySize
        switch attention {
        case .latent(let latent):
            let query = latent.heads * (latent.plainSize + latent.ropeSize)
            let queryWeights = latent.queryRank.map { $0 * (hiddenSize + query) } ?? hiddenSize * query
            let up = latent.heads * (latent.plainSize + latent.valueSize) * latent.rank
            let layer =
                queryWeights + hiddenSize * (latent.rank + latent.ropeSize) + up + latent.heads
                * latent.valueSize * hiddenSize
            total += layers.count * layer
        case .grouped(let heads, let keyValueHeads, let headSize):
            total += layers.count * hiddenSize * headSize * 2 * (heads + keyValueHeads)
        }
        for layer in layers {
            switch layer {
            case .dense(let innerSize): total += 3 * hiddenSize * innerSize
            case .experts(let experts):
                total +=
                    hiddenSize * experts.count + 3 * hiddenSize
                    * (experts.chosen * experts.innerSize + experts.sharedInnerSize)
            }
        }
        return total
    }
}

private func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : greatestCommonDivisor(b, a % b) }
