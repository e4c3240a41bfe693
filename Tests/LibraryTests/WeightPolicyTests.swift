import DeepSeekVL
import Testing
import VLModels
import VLTensor

@Suite("The types that weights run in")
struct WeightPolicyTests {
    /// A tied embedding was converted like a layer: four bits in the output head cost SmolLM2 more than all layers.
    @Test("an embedding that is the output head keeps six bits or more, like a head of its own")
    func tiedHead() throws {
        let folder = try LlamaFolder()
        func type(_ wanted: DType) throws -> DType {
            try ModelHost(folder.path, threads: 1, weights: WeightPolicy(language: wanted)).loaded.weightType
        }
        // 64 columns are no whole blocks of Q6_K: the next larger type that fits.
        #expect(try type(.q4_0) == .q8_0)
        #expect(try type(.q5_1) == .q8_0)
        #expect(try type(.q8_0) == .q8_0)
        #expect(try type(.bfloat16) == .bfloat16)
        let policy = WeightPolicy(language: .q4_0)
        let name = "model.embed_tokens.weight"
        #expect(policy.type(of: name, stored: .bfloat16, columns: 256) == .q4_0)
        #expect(policy.type(of: name, stored: .bfloat16, columns: 256, isHead: true) == .q6_k)
    }

    @Test("an embedding beside an output head is converted as asked")
    func untied() throws {
        let host = try GoldenCase(checkpoint: "llm-linear", name: "chat_system").host(weights: .q4_0)
        #expect(host.loaded.weightType == .q4_0)
    }
}
