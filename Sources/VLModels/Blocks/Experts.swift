import VLTensor

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The choice of experts for each row: class `MoEGate` of the official `modeling_deepseek.py`.
package struct ExpertGate: Sendable {
    let config: DeepSeekMoEConfig.Experts
    let weight: Linear
    /// Added to the scores for the choice only (`noaux_tc`).
    let correction: WeightVector?

    package init(_ size: Int, _ config: DeepSeekMoEConfig.Experts, _ weights: Weights) throws(LoadError) {
        self.config = config
        weight = Linear(weight: try weights.matrix("weight", config.count, size))
        correction =
            config.choice == .noAuxiliaryLoss
            ? try weights.vector("e_score_correction_bias", config.count) : nil
    }

    /// The experts of each row, best first, and their weights: [rows, chosen] each, in the workspace.
    package func callAsFunction(
        _ x: Matrix,
        _ run: Run
    ) -> (experts: UnsafeMutablePointer<Int32>, weights: UnsafeMutablePointer<Float>) {
        let experts = run.workspace.allocate(Int32.self, x.rows * config.chosen)
        let weights = run.workspace.allocate(Float.self, x.rows * config.chosen)
        let logits = run.exactLinear(x, weight)
        run.eachRow(x.rows, config.count * 16) { row in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: config.count + config.groups) { scratch in
                guard let base = scratch.baseAddress else { return }
                choose(logits[row: row], experts + row * config.chosen, weights + row * config.chosen, base)
            }
        }
        return (experts, weights)
    }

    /// One row: scores in place of the logits, then the choice.
    ///
    /// `scratch` holds count + groups values.
    private func choose(
        _ scores: UnsafeMutablePointer<Float>,
        _ experts: UnsafeMutablePointer<Int32>,
        _ weights: UnsafeMutablePointer<Float>,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        let count = config.count
        switch config.scoring {
        case .softmax:
            var top = -Float.infinity
            for index in 0..<count { top = max(top, scores[index]) }
            var total: Float = 0
            for index in 0..<count {
                scores[index] = expf(scores[index] - top)
                total += scores[index]
            }
            for index in 0..<count { scores[index] /= total }
        case .sigmoid:
            for index in 0..<count { scores[index] = 1 / (1 + expf(-scores[index])) }
        }
        for index in 0..<count { scratch[index] = scores[index] + (correction?.pointer[index] ?? 0) }
        if config.choice != .greedy { hideGroups(scratch, scratch + count) }
        for slot in 0..<config.chosen {
            var best = 0
            for index in 1..<count where scratch[index] > scratch[best] || scratch[best].isNaN {
                best = index
            }
            experts[slot] = Int32(best)
            weights[slot] = scores[best]
            scratch[best] = -.infinity
        }
        var factor = config.scalingFactor
        if config.chosen > 1 && config.normalizeWeights {
            var total: Float = 1e-20
            for slot in 0..<config.chosen { total += weights[slot] }
            for slot in 0..<config.chosen { weights[slot] = weights[slot] / total * factor }
            factor = 1
        }
        if factor != 1 {
            for slot in 0..<config.chosen { weights[slot] *= factor }
        }
    }

    /// Sets the scores of all but the best groups to 0.
    ///
    /// The official code does so too (not to minus infinity), so an expert of a rejected group still wins
    /// against a negative choice score.
    private func hideGroups(_ choice: UnsafeMutablePointer<Float>, _ groupScores: UnsafeMutablePointer<Float>)
    {
        let size = config.count / config.groups
        for group in 0..<config.groups {
            var first = -Float.infinity
            var second = -Float.infinity
            for index in group * size..<(group + 1) * size {
                if choice[index] > first {
                    (first, second) = (choice[index], first)
                } else if choice[index] > second {
                    second = choice[index]
                }
            }
            groupScores[group] = config.choice == .noAuxiliaryLoss && size > 1 ? first + second : first
        }
        for group in 0..<config.groups {
            // A group stays if fewer than `chosenGroups` groups are better, ties going to the earlier one.
            var better = 0
            for other in 0..<config.groups
            where groupScores[other] > groupScores[group]
                || (groupScores[other] == groupScores[group] && other < group)
            {
                better += 1
            }
            if better >= config.chosenGroups {
                for index in group * size..<(group + 1) * size { choice[index] = 0 }
            }
        }
    }
}

/// Routed experts, chosen row by row, and a shared one that every row passes: class `DeepseekV2MoE`.
struct Experts: Sendable {
    let config: DeepSeekMoEConfig.Experts
    let gate: ExpertGate
    let experts: [GatedFeedForward]
    let shared: GatedFeedForward?

    init(_ size: Int, _ config: DeepSeekMoEConfig.Experts, _ weights: Weights) throws(LoadError) {
        self.config = config
        gate = try ExpertGate(size, config, weights["gate"])
        var experts: [GatedFeedForward] = []
        for index in 0..<config.count {
            experts.append(try GatedFeedForward(size, config.innerSize, weights["experts"][index]))
        }
        self.experts = experts
        shared =
            config.sharedInnerSize > 0
            ? try GatedFeedForward(size, config.sharedInnerSize, weights["shared_experts"]) : nil
    }

    /// [rows, size] to [rows, size]: the weighted sum of the chosen experts, plus the shared one unscaled.
    ///
    /// The rows are sorted by expert, each expert's weights are read once, and all products of a stage run in one
    /// parallel region. A row's sum runs over its choices from the best to the last, whatever other rows there are.
    func callAsFunction(_ x: Matrix, _ run: Run) -> Matrix {
        let size = x.columns
        let slots = x.rows * config.chosen
        let (chosen, weights) = gate(x, run)
        // Counting sort of (row, slot) pairs by expert.
        let starts = run.workspace.allocate(Int32.self, config.count + 1)
        starts.update(repeating: 0, count: config.count + 1)
        for slot in 0..<slots { starts[Int(chosen[slot]) + 1] += 1 }
        for expert in 0..<config.count { starts[expert + 1] += starts[expert] }
        let places = run.workspace.allocate(Int32.self, slots) // sorted place of each (row, slot)
        let next = run.workspace.allocate(Int32.self, config.count)
        next.update(from: starts, count: config.count)
        let sorted = run.workspace.matrix(slots, size)
        for slot in 0..<slots {
            let expert = Int(chosen[slot])
            let place = Int(next[expert])
            next[expert] += 1
            places[slot] = Int32(place)
        }
        run.eachRow(slots, size) { slot in
            sorted[row: Int(places[slot])].update(from: x[row: slot / config.chosen], count: size)
        }

        let input = run.activations(sorted)
        let plain = shared == nil ? nil : run.activations(x)
        let gated = run.workspace.matrix(slots, config.innerSize)
        let raised = run.workspace.matrix(slots, config.innerSize)
        let sharedGated = run.workspace.matrix(x.rows, config.sharedInnerSize)
        let sharedRaised = run.workspace.matrix(x.rows, config.sharedInnerSize)
        var list = run.products(2 * config.count + 2)
        if let shared, let plain {
            run.append(plain, shared.gate, to: sharedGated, &list)
            run.append(plain, shared.up, to: sharedRaised, &list)
        }
        for expert in 0..<config.count where starts[expert] < starts[expert + 1] {
            let rows = Int(starts[expert])..<Int(starts[expert + 1])
            run.append(input, rows: rows, experts[expert].gate.weight, to: gated[rows: rows], &list)
            run.append(input, rows: rows, experts[expert].up.weight, to: raised[rows: rows], &list)
        }
        run.perform(list)
        run.siluMultiply(gated, raised)
        if shared != nil { run.siluMultiply(sharedGated, sharedRaised) }

        let inner = run.activations(gated)
        let sharedInner = shared == nil ? nil : run.activations(sharedGated)
        let out = run.workspace.matrix(x.rows, size)
        let parts = run.workspace.matrix(slots, size)
        let sharedOut = run.workspace.matrix(x.rows, size)
        var downs = run.products(config.count + 1)
        if let shared, let sharedInner { run.append(sharedInner, shared.down, to: sharedOut, &downs) }
        for expert in 0..<config.count where starts[expert] < starts[expert + 1] {
            let rows = Int(starts[expert])..<Int(starts[expert + 1])
            run.append(inner, rows: rows, experts[expert].down.weight, to: parts[rows: rows], &downs)
        }
        run.perform(downs)

        run.weightedSum(parts, places: places, weights: weights, slots: config.chosen, into: out)
        if shared != nil { run.add(sharedOut, to: out) }
        return out
    }
}
