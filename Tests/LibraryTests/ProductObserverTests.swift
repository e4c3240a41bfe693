import DeepSeekVL
import Testing
import VLModels
import VLTensor

/// Counts the rows that each weight's products read, and keeps one layer's.
private final class Counter: ProductObserver {
    var rows: [Int32: Int] = [:]
    var widths: [Int32: Int] = [:]
    var sums: [Int32: Double] = [:]

    func product(reads input: Matrix, with weight: WeightMatrix) {
        guard let origin = weight.origin else { return }
        rows[origin.index, default: 0] += input.rows
        widths[origin.index] = input.columns
        sums[origin.index, default: 0] += input[rows: 0..<1].values.reduce(0) { $0 + Double($1) * Double($1) }
    }
}

@Suite("The observer of products")
struct ProductObserverTests {
    @Test(
        "sees what every matrix reads, an expert's just the rows that chose it, and changes no answer",
        arguments: ["vl2-mha", "vl2-mla-full", "vl-7b-like"],
        [nil as DType?, .q8_0]
    )
    func rows(checkpoint: String, weights: DType?) throws {
        let c = GoldenCase(
            checkpoint: checkpoint,
            name: checkpoint == "vl-7b-like" ? "multi_turn" : "landscape"
        )
        var options = try c.parameters()
        options.maxTokens = 0
        let plain = Trace()
        let alone = try c.host(weights: weights)
        alone.run.trace = plain
        _ = try alone.answer(c.inputs(), options, exif: .ignore)
        let host = try c.host(weights: weights)
        let (counter, trace) = (Counter(), Trace())
        host.run.observer = counter
        host.run.trace = trace
        let answer = try #require(host.answer(c.inputs(), options, exif: .ignore).first)
        #expect(trace.entries["logits"]?.values == plain.entries["logits"]?.values)

        let names = host.loaded.weightNames
        #expect(Set(names).count == names.count)
        let tokens = answer.answer.promptTokens.count
        var routed: [Substring: Int] = [:]
        for (index, name) in names.enumerated() {
            let seen = counter.rows[Int32(index)]
            if name.hasSuffix("embed_tokens.weight") {
                #expect(seen == nil, "\(name): an embedding is looked up")
            } else if let experts = name.firstRange(of: ".experts.") {
                if name.hasSuffix("down_proj.weight") {
                    routed[name[..<experts.lowerBound], default: 0] += seen ?? 0
                }
            } else if name.hasSuffix("lm_head.weight") {
                #expect(seen == 1, "\(name)")
            } else if name.contains("layers.") && name.hasPrefix("language") {
                #expect(seen == tokens, "\(name)")
            } else {
                #expect((seen ?? 0) > 0, "\(name)")
            }
            #expect(counter.sums[Int32(index)].map { $0 > 0 && $0.isFinite } ?? true, "\(name)")
        }
        // Each token passes as many experts as the gate chooses.
        #expect(routed.values.allSatisfy { $0 > 0 && $0 % tokens == 0 })
        #expect(routed.isEmpty == (checkpoint == "vl-7b-like"))
    }

    @Test("sees the latents with the matrix that is folded into query and output, and once a row")
    func latents() throws {
        let c = GoldenCase(checkpoint: "vl2-mla-full", name: "landscape")
        let host = try c.host()
        let counter = Counter()
        host.run.observer = counter
        var options = try c.parameters()
        options.maxTokens = 0
        let answer = try #require(host.answer(c.inputs(), options, exif: .ignore).first)
        let index = try #require(
            host.loaded.weightNames.firstIndex { $0.hasSuffix("layers.0.self_attn.kv_b_proj.weight") }
        )
        #expect(counter.rows[Int32(index)] == answer.answer.promptTokens.count)
        let down = try #require(
            host.loaded.weightNames.firstIndex {
                $0.hasSuffix("layers.0.self_attn.kv_a_proj_with_mqa.weight")
            }
        )
        #expect(try #require(counter.widths[Int32(index)]) < #require(counter.widths[Int32(down)]))
    }
}
