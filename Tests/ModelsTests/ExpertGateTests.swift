import Testing
import VLJSON
import VLModels
import VLTensor

@Suite("ExpertGate")
struct ExpertGateTests {
    @Test(
        "each way to choose experts takes the official ones with the official weights",
        arguments: [
            "softmax_greedy", "softmax_greedy_norm_scaled", "softmax_greedy_scaled", "sigmoid_greedy_norm",
            "softmax_top1_norm", "group_limited", "noaux_sigmoid", "noaux_softmax", "noaux_one_group",
            // Experts of rejected groups count as 0 and win against negative scores.
            "noaux_negative_choice",
        ]
    )
    func choice(variant: String) throws {
        let golden = try UnitGolden("moe_gate")
        let config = try DeepSeekMoEConfig(golden.reader(variant, adding: [("num_hidden_layers", 1)]))
        guard case .experts(let experts) = config.layers[0] else {
            Issue.record("the layer is no mixture")
            return
        }
        let gate = try ExpertGate(config.hiddenSize, experts, golden.weights(variant))
        let hidden = try golden.matrix("\(variant).hidden")
        let (chosen, weights) = gate(hidden, golden.run)
        let wantedExperts = try golden.ints("\(variant).experts")
        let wantedWeights = try golden.floats("\(variant).weights")
        let width = experts.chosen
        #expect(wantedExperts.count == hidden.rows * width)
        for row in 0..<hidden.rows {
            // The goldens are sorted by the expert's number.
            let found = (row * width..<(row + 1) * width).map { (chosen[$0], weights[$0]) }.sorted {
                $0.0 < $1.0
            }
            #expect(found.map(\.0) == Array(wantedExperts[row * width..<(row + 1) * width]), "row \(row)")
            for (place, item) in found.enumerated() {
                #expect(abs(item.1 - wantedWeights[row * width + place]) <= 1e-5, "row \(row)")
            }
        }
    }
}
