import VLFormats
import VLTensor

extension DeepSeekMoEConfig {
    /// Reads the keys of a GGUF file of architecture "deepseek", "deepseek2" or "deepseek2-ocr".
    init(_ keys: GGUFConfig.Keys) throws(LoadError) {
        let hiddenSize = try keys.hiddenSize
        let heads = try keys.heads
        let attention: Attention
        var scaling = RopeScaling.none
        var layout = RotaryLayout.halves
        switch keys.architecture {
        case "deepseek2":
            attention = .latent(try Latent(keys, heads))
            scaling = try keys.ropeScaling(scalesByFactor: false)
        default:
            // The converter turns the rows of "deepseek" as it does for Llama, those of "deepseek2-ocr" it leaves.
            if keys.architecture == "deepseek" { layout = .pairs }
            attention = .grouped(
                heads: heads,
                keyValueHeads: try keys.keyValueHeads(heads),
                headSize: try keys.headSize(hiddenSize, heads)
            )
        }
        self.init(
            hiddenSize: hiddenSize,
            vocabularySize: try keys.vocabularySize,
            attention: attention,
            attentionBias: keys.hasTensor("blk.0.attn_kv_a_mqa.bias") || keys.hasTensor("blk.0.attn_q.bias"),
            layers: try Self.layers(keys),
            maxPositions: try keys.maxPositions,
            epsilon: try keys.epsilon,
            ropeTheta: try keys.theta,
            ropeScaling: scaling,
            tiedEmbeddings: !keys.hasTensor("output.weight"),
            rotaryLayout: layout
        )
    }

    private static func layers(_ keys: GGUFConfig.Keys) throws(LoadError) -> [FeedForwardKind] {
        let count = try keys.layers
        let dense = FeedForwardKind.dense(innerSize: try keys.innerSize)
        let experts = try keys.int("expert_count", 0...4096, default: 0)
        guard experts > 0 else { return Array(repeating: dense, count: count) }
        let innerSize = try keys.int("expert_feed_forward_length", 1...4_194_304)
        let shared = try keys.int("expert_shared_count", 0...256, default: 0)
        let used = try keys.int("expert_used_count", 1...4096)
        guard used <= experts else {
            throw keys.error(
                "expert_used_count",
                expected: "at most expert_count (\(experts))",
                found: "\(used)"
            )
        }
        let groups = max(1, try keys.int("expert_group_count", 0...4096, default: 1))
        let chosenGroups = max(1, try keys.int("expert_group_used_count", 0...4096, default: 1))
        guard experts % groups == 0, chosenGroups <= groups else {
            throw keys.error(
                "expert_group_count",
                expected:
                    "a divisor of expert_count (\(experts)), at least expert_group_used_count (\(chosenGroups))",
                found: "\(groups)"
            )
        }
        let first = try keys.int("leading_dense_block_count", 0...1024, default: 0)
        // 0 was once written for "no scaling".
        let scale = try keys.reader.double(
            keys.key("expert_weights_scale"),
            default: 1,
            "a number of at most 1e6 in size"
        ) { abs($0) <= 1e6 }
        let scoring: Scoring
        switch try keys.int("expert_gating_func", 0...1000, default: 0) {
        case 0, 1: scoring = .softmax
        case 2: scoring = .sigmoid
        case let other:
            throw keys.refuse("expert_gating_func \(other)", known: "1 (softmax), 2 (sigmoid)")
        }
        let choice: ExpertChoice =
            if keys.hasTensor("blk.\(min(first, count - 1)).exp_probs_b.bias") {
                .noAuxiliaryLoss
            } else {
                groups > 1 ? .groupLimitedGreedy : .greedy
            }
        let mixture = FeedForwardKind.experts(
            Experts(
                count: experts,
                chosen: used,
                innerSize: innerSize,
                sharedInnerSize: shared * innerSize,
                choice: choice,
                scoring: scoring,
                groups: groups,
                chosenGroups: chosenGroups,
                normalizeWeights: try keys.reader.bool(keys.key("expert_weights_norm"), default: false),
                scalingFactor: scale == 0 ? 1 : Float(scale)
            )
        )
        return (0..<count).map { $0 < first ? dense : mixture }
    }
}

extension DeepSeekMoEConfig.Latent {
    /// Reads the sizes of latent attention: new files state those of a head beside those of the cached row.
    init(_ keys: GGUFConfig.Keys, _ heads: Int) throws(LoadError) {
        let rank = try keys.int("attention.kv_lora_rank", 1...1_048_576)
        let rope = try keys.int("rope.dimension_count", 2...65536)
        let isNew = keys.contains("attention.key_length_mla")
        let ending = isNew ? "_mla" : ""
        let keySize = try keys.int("attention.key_length\(ending)", 2...65536)
        let valueSize = try keys.int("attention.value_length\(ending)", 1...65536)
        guard rope % 2 == 0, keySize > rope else {
            throw keys.error(
                "attention.key_length\(ending)",
                expected: "more than rope.dimension_count, which is even",
                found: "\(keySize) and \(rope)"
            )
        }
        // Some converters state a rank for models that project directly; the tensors decide.
        let isDirect = keys.hasTensor("blk.0.attn_q.weight")
        self.init(
            heads: heads,
            queryRank: isDirect ? nil : try keys.int("attention.q_lora_rank", 1...1_048_576),
            rank: rank,
            plainSize: keySize - rope,
            ropeSize: rope,
            valueSize: valueSize
        )
    }
}
