import Foundation
import Testing
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

@Suite("Converted weights that are kept") struct ConvertedWeightsTests {
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    @Test("answer as weights that are converted while loading, and are made once")
    func sameAnswer() throws {
        let scratch = try ScratchFolder()
        let policy = WeightPolicy(language: .q4_k, vision: .q8_0)
        let file = try ConvertedWeights(of: checkpoint("shapes-vl2"), policy, in: scratch.path)
        #expect(!file.exists)
        var steps: [Int] = []
        try file.write(run) { steps.append($0 * 1000 / $1) }
        #expect(file.exists && steps.last == 1000 && steps.count > 20)
        #expect(try ConvertedWeights(of: checkpoint("shapes-vl2"), policy, in: scratch.path).exists)
        #expect(try scratch.names.count == 1)
        let wanted = try Reply(checkpoint("shapes-vl2"), weights: policy)
        let found = try Reply(file.path)
        #expect(found.tokens == wanted.tokens && found.ids == wanted.ids)
        #expect(relativeError(found.logits, wanted.logits) < 1e-4)
    }

    @Test("are other files for other types and for a checkpoint that was written anew")
    func isBoundToItsSource() throws {
        let scratch = try ScratchFolder()
        let source = try scratch.copy(checkpoint("llm-linear"))
        func path(_ policy: WeightPolicy) throws -> String {
            try ConvertedWeights(of: source, policy, in: scratch.path).path
        }
        let policy = WeightPolicy(language: .q8_0)
        let first = try path(policy)
        #expect(try path(policy) == first)
        #expect(try path(WeightPolicy(language: .q4_0)) != first)
        #expect(try path(WeightPolicy(language: .q8_0, vision: .q8_0)) != first)
        let config = URL(fileURLWithPath: source + "/config.json")
        try (Data(contentsOf: config) + Data(" ".utf8)).write(to: config)
        #expect(try path(policy) != first)
    }

    @Test("are refused for what is no folder, and where no file can be written")
    func refusals() throws {
        let scratch = try ScratchFolder()
        let policy = WeightPolicy(language: .q8_0)
        #expect(throws: ConvertError.self) {
            try ConvertedWeights(of: scratch("none.gguf"), policy, in: scratch.path)
        }
        let nowhere = try ConvertedWeights(of: checkpoint("llm-linear"), policy, in: scratch("none"))
        #expect(throws: ConvertError.self) { try nowhere.write(run) }
        #expect(try scratch.names.isEmpty)
    }
}
