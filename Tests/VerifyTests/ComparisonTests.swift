import DeepSeekVL
import Foundation
import Testing
import VLEngine
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

#if canImport(FoundationXML)
import FoundationXML
#endif

extension ModelHost {
    /// A side of a comparison.
    var compared: ComparedModel { ComparedModel(name: name, loaded: loaded, generator: generator) }
}

@Suite("Comparing two models")
struct ComparisonTests {
    private func trace(_ host: ModelHost, _ prompt: PreparedPrompt) throws -> Trace {
        let trace = Trace()
        host.run.trace = trace
        defer { host.run.trace = nil }
        var parameters = Parameters()
        parameters.maxTokens = 0
        _ = try host.answer([HostedRequest(prompt: prompt, pictures: [])], parameters)
        return trace
    }

    /// All rows' logits, in the plainest way.
    private func logits(_ host: ModelHost, _ trace: Trace) throws -> [[Double]] {
        var values = try #require(trace.entries["final_norm"]).values
        let width = host.loaded.language.hiddenSize
        return values.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return [] }
            return (0..<buffer.count / width).map { row in
                host.run.scoped {
                    let x = Matrix(base + row * width, rows: 1, columns: width)
                    return host.loaded.language.logits(x, host.run).values.map { Double($0) }
                }
            }
        }
    }

    private func logSoftmax(_ logits: [Double]) -> [Double] {
        let top = logits.max() ?? 0
        let sum = log(logits.reduce(0) { $0 + exp($1 - top) }) + top
        return logits.map { $0 - sum }
    }

    @Test("a model does not differ from itself, to the last bit")
    func same() throws {
        var comparison = try ModelComparison(host("vl2-mla-full").compared, host("vl2-mla-full").compared)
        let prompt = try question(host("vl2-mla-full"))
        try comparison.add(prompt, prompt, scoredFrom: 1)
        let found = comparison.differences
        #expect(found.tokens == prompt.ids.count - 1)
        #expect(found.ordered.allSatisfy { $0.mean.relative == 0 && abs($0.mean.cosine - 1) < 1e-12 })
        #expect(found.divergence(quantile: 1) == 0 && found.agreement == 1 && found.perplexityRatio == 1)
        #expect(found.logits.relative == 0)
    }

    @Test("differences, divergence, losses and agreement are those of their definitions")
    func definitions() throws {
        let (a, b) = (try host("vl2-mha"), try host("vl2-mha", weights: .q4_0))
        let prompt = try question(a)
        var comparison = try ModelComparison(a.compared, b.compared)
        let first = prompt.ids.count - 6
        try comparison.add(prompt, prompt, scoredFrom: first)
        let found = comparison.differences

        let (left, right) = (try trace(a, prompt), try trace(b, prompt))
        let traced: [(Differences.Stage, String)] = [
            (.vision, "vision_features"), (.projector, "projector_output"), (.embeddings, "hidden_states.0"),
            (.layer(1), "hidden_states.1"), (.finalNorm, "final_norm"),
        ]
        for (stage, name) in traced {
            let mine = try #require(left.entries[name])
            let other = try #require(right.entries[name]).values
            let width = try #require(mine.shape.last)
            var (relative, cosine) = (0.0, 0.0)
            for start in stride(from: 0, to: mine.values.count, by: width) {
                let x = mine.values[start..<start + width].map { Double($0) }
                let y = other[start..<start + width].map { Double($0) }
                let size = sqrt(x.reduce(0) { $0 + $1 * $1 })
                let otherSize = sqrt(y.reduce(0) { $0 + $1 * $1 })
                relative += sqrt(zip(x, y).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }) / size
                cosine += zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } / size / otherSize
            }
            let rows = Double(mine.values.count / width)
            let mean = try #require(found.stages[stage])
            #expect(abs(mean.relative - relative / rows) < 1e-9 && abs(mean.cosine - cosine / rows) < 1e-9)
            #expect(mean.rows == Int(rows))
        }
        #expect(found.stages[.vision]?.relative == 0)
        #expect(try #require(found.stages[.layer(1)]).relative > 0)

        let (logitsA, logitsB) = (try logits(a, left), try logits(b, right))
        var (divergences, lossA, lossB, same): ([Double], Double, Double, Int) = ([], 0, 0, 0)
        for place in first..<prompt.ids.count {
            let (p, q) = (logSoftmax(logitsA[place - 1]), logSoftmax(logitsB[place - 1]))
            divergences.append(zip(p, q).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) })
            lossA -= p[Int(prompt.ids[place])]
            lossB -= q[Int(prompt.ids[place])]
            if p.firstIndex(of: p.max() ?? 0) == q.firstIndex(of: q.max() ?? 0) { same += 1 }
        }
        #expect(found.divergences.count == 6)
        #expect(zip(found.divergences, divergences).allSatisfy { abs($0 - $1) < 1e-9 })
        #expect(abs(found.perplexityA / exp(lossA / 6) - 1) < 1e-9)
        #expect(abs(found.perplexityRatio / exp((lossB - lossA) / 6) - 1) < 1e-9)
        #expect(found.agreement == Double(same) / 6)
        let sorted = divergences.sorted()
        #expect(abs(found.divergence(quantile: 0.5) - sorted[2]) < 1e-9)
        #expect(abs(found.divergence(quantile: 0.99) - sorted[5]) < 1e-9)
        #expect(abs(found.meanDivergence - divergences.reduce(0, +) / 6) < 1e-9)
    }

    @Test("a comparison has the same bits for one thread and three")
    func threads() throws {
        var found: [JSONValue] = []
        for threads in [1, 3] {
            let (a, b) = (
                try host("vl2-mha", threads: threads), try host("vl2-mha", threads: threads, weights: .q5_1)
            )
            var comparison = try ModelComparison(a.compared, b.compared)
            for prompt in [try question(a), prompt(Array(10..<80))] {
                try comparison.add(prompt, prompt, scoredFrom: 1)
            }
            var report = ComparisonReport(
                a: .init(name: "a", weights: "", bytes: 0),
                b: .init(name: "b", weights: "", bytes: 0)
            )
            report.text = comparison.differences
            found.append(report.json)
        }
        #expect(found[0] == found[1])
    }

    @Test("models of other sizes and prompts of other tokens are told by both names")
    func others() throws {
        let (a, b) = (try host("vl2-mha"), try host("llm-linear"))
        let error = #expect(throws: MeasureError.self) { try ModelComparison(a.compared, b.compared) }
        #expect(
            error?.description.contains("\(b.name): ") == true
                && error?.description.contains("\(a.name)") == true
        )
        var comparison = try ModelComparison(a.compared, a.compared)
        for (ids, place) in [
            ([1, 2, 4] as [Int32], "token 2"), ([1, 2], "token 2"), ([1, 2, 3, 4], "token 3"),
        ] {
            let error = #expect(throws: MeasureError.self) {
                try comparison.add(prompt([1, 2, 3]), prompt(ids), scoredFrom: 1)
            }
            #expect(error?.description.contains(place) == true, "\(error?.description ?? "")")
        }
    }

    @Test("activations that are no numbers are an error and no figure")
    func notFinite() throws {
        let model = try host("llm-linear")
        final class Spoiler: ProductObserver {
            func product(reads input: Matrix, with weight: WeightMatrix) {
                // What a product reads is the run's own memory: this is how a broken weight would show.
                if weight.rows > 0, input.columns > 0 { input.pointer[0] = .nan }
            }
        }
        let spoiled = try host("llm-linear")
        spoiled.run.observer = Spoiler()
        var comparison = try ModelComparison(model.compared, spoiled.compared)
        let error = #expect(throws: MeasureError.self) {
            try comparison.add(prompt([5, 6, 7]), prompt([5, 6, 7]), scoredFrom: 1)
        }
        #expect(error?.description.contains("finite") == true, "\(error?.description ?? "")")
    }
}

@Suite("The picture of a comparison")
struct ComparisonFigureTests {
    private final class Counter: NSObject, XMLParserDelegate {
        var elements: [String: Int] = [:]
        var text = ""

        func parser(
            _ parser: XMLParser,
            didStartElement name: String,
            namespaceURI: String?,
            qualifiedName: String?,
            attributes: [String: String]
        ) {
            elements[name, default: 0] += 1
        }

        func parser(_ parser: XMLParser, foundCharacters characters: String) { text += characters }
    }

    @Test("is XML with a dot for each stage and the logits, a curve for each part, and names as they are")
    func picture() throws {
        let (a, b) = (try host("vl2-mha"), try host("vl2-mha", weights: .q8_0))
        var comparison = try ModelComparison(a.compared, b.compared)
        let asked = try question(a)
        try comparison.add(asked, asked, scoredFrom: asked.ids.count - 3)
        var report = ComparisonReport(
            a: .init(name: "<a> & 'b'\u{1}", weights: "bf16", bytes: 1),
            b: .init(name: String(repeating: "long", count: 40), weights: "q8_0", bytes: 1)
        )
        report.questions = comparison.differences
        var texts = try ModelComparison(a.compared, a.compared)
        try texts.add(prompt(Array(3..<40)), prompt(Array(3..<40)), scoredFrom: 1)
        report.text = texts.differences
        let parser = XMLParser(data: Data(ComparisonFigure(report).svg))
        let counter = Counter()
        parser.delegate = counter
        #expect(parser.parse(), "\(String(describing: parser.parserError))")
        let dots = comparison.differences.ordered.count + texts.differences.ordered.count + 2
        #expect(counter.elements["circle"] == dots)
        // A curve and a histogram for each part.
        #expect(counter.elements["polyline"] == 4)
        #expect(counter.text.contains("<a> & 'b' (bf16)") && counter.text.contains("…"))
        #expect(!counter.text.contains("nan") && !counter.text.contains("inf"))
    }
}

@Suite("The program's verify")
struct VerifyProgramTests {
    private let model = fixture("../../Models/shapes-vl2")

    @Test(
        "a quantized model on a text and on questions: JSON with all figures, the cost of boxes, and a picture"
    )
    func run() throws {
        let scratch = try ScratchFolder()
        let text = try scratch.write("t.txt", Array("The red circle is left of the blue square.".utf8))
        let found = try program([
            "verify", model, "--weights-b", "q4_0", "--file", text, "--questions",
            examples("shapes-eval.jsonl"),
            "--limit", "12", "--draw", scratch("v.svg"), "--format", "json",
        ])
        #expect(found.status == 0 && found.errors.isEmpty, "\(found.errors)")
        let report = try JSONValue(parsing: Array(found.output.utf8))
        for part in ["text", "questions"] {
            let part = try #require(report[part])
            #expect(try #require(part["kl"]?["mean"]?.asDouble) > 0)
            #expect(try #require(part["kl"]?["max"]?.asDouble) >= #require(part["kl"]?["p99"]?.asDouble))
            let agreement = try #require(part["top1_agreement"]?.asDouble)
            #expect((0...1).contains(agreement))
            let ratio = try #require(part["perplexity_ratio"]?.asDouble)
            let quotient =
                try #require(part["perplexity_b"]?.asDouble) / #require(part["perplexity_a"]?.asDouble)
            #expect(abs(ratio / quotient - 1) < 1e-9)
            #expect(part["stages"]?.asArray?.last?["name"]?.asString == "final norm")
        }
        #expect(report["b"]?["weights"]?.asString == "q4_0")
        for key in ["mean_iou", "accuracy_at_0.5", "count", "reading"] {
            let pair = try #require(report["box_cost"]?[key], "\(key)")
            let cost = try #require(pair["a"]?.asDouble) - #require(pair["b"]?.asDouble)
            #expect(pair["cost"]?.asDouble == cost)
        }
        #expect(String(decoding: try contents(scratch("v.svg")), as: UTF8.self).hasPrefix("<svg"))
    }

    @Test("a table for people, without a second model or answers")
    func table() throws {
        let scratch = try ScratchFolder()
        let text = try scratch.write("t.txt", Array("A green star.".utf8))
        let found = try program(["verify", model, "--file", text])
        #expect(found.status == 0 && found.errors.isEmpty, "\(found.errors)")
        #expect(found.output.contains("same best token     100.00 %"), "\(found.output)")
        #expect(found.output.contains("perplexity B / A    1.00000"))
    }

    @Test("nothing to compare on, a picture that is no SVG, and another model end with one message")
    func refuses() throws {
        let scratch = try ScratchFolder()
        let text = try scratch.write("t.txt", Array("A green star.".utf8))
        #expect(try program(["verify", model]).status == 2)
        #expect(try program(["verify", model, "--file", text, "--draw", scratch("v.jpg")]).status == 2)
        #expect(try program(["verify", model, "--file", text, "--context", "1"]).status == 2)
        let other = try program(["verify", model, fixture("models/checkpoints/llm-linear"), "--file", text])
        #expect(other.status == 1 && other.errors.contains("another model"), "\(other.errors)")
        #expect(other.errors.split(separator: "\n").count == 1)
        let empty = try scratch.write("e.txt", [])
        let found = try program(["verify", model, "--file", empty])
        #expect(found.status == 1 && found.errors.contains("e.txt"), "\(found.errors)")
        #expect(try scratch.names == ["e.txt", "t.txt"])
    }
}
