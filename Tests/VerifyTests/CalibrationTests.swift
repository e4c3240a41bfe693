import DeepSeekVL
import Testing
import VLEngine
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

@Suite("Collecting an importance matrix")
struct CalibrationTests {
    /// Adds up squares in the plainest way.
    private final class Plain: ProductObserver {
        var sums: [Int32: [Double]] = [:]
        var rows: [Int32: Int] = [:]

        func product(reads input: Matrix, with weight: WeightMatrix) {
            guard let origin = weight.origin else { return }
            var sum = sums[origin.index] ?? [Double](repeating: 0, count: input.columns)
            for row in 0..<input.rows {
                for column in 0..<input.columns {
                    let value = Double(input[row: row][column])
                    sum[column] += value * value
                }
            }
            sums[origin.index] = sum
            rows[origin.index, default: 0] += input.rows
        }
    }

    private func collect(
        _ checkpoint: String,
        threads: Int,
        output: Bool = false,
        _ prompts: (ModelHost) throws -> [PreparedPrompt]
    ) throws -> ImportanceMatrix {
        let host = try host(checkpoint, threads: threads)
        let collector = ImportanceCollector(host.loaded.weightNames, pool: host.run.pool, output: output)
        for prompt in try prompts(host) {
            #expect(try collector.see(prompt, host.generator))
        }
        #expect(host.run.observer == nil)
        return try collector.matrix(chunkSize: 16, datasets: ["d"])
    }

    @Test("sums of squares and counts are those of the rows that each product reads, experts stacked")
    func sums() throws {
        let host = try host("vl2-mha")
        let plain = Plain()
        host.run.observer = plain
        var parameters = Parameters()
        parameters.maxTokens = 0
        let prompt = try question(host)
        _ = try host.answer([HostedRequest(prompt: prompt, pictures: [])], parameters)
        let matrix = try collect("vl2-mha", threads: 1) { [try question($0)] }
        #expect(matrix.chunkCount == (prompt.ids.count + 15) / 16)
        var experts = 0
        for (index, name) in host.loaded.weightNames.enumerated() {
            let index = Int32(index)
            if name.hasSuffix("lm_head.weight") || name.hasSuffix("embed_tokens.weight") { continue }
            var key = name.hasPrefix("language.") ? String(name.dropFirst(9)) : name
            var slice = 0
            if let place = GGUFNames.place(of: key) {
                key = place.name
                slice = place.slice ?? 0
                if place.slice != nil { experts += 1 }
            }
            let entry = try #require(matrix.entries[key], "\(name)")
            let wanted = plain.sums[index]?.map { Float($0) }
            let width = entry.sums.count / entry.counts.count
            let found = Array(entry.sums[slice * width..<(slice + 1) * width])
            #expect(found == wanted ?? [Float](repeating: 0, count: width), "\(name)")
            #expect(entry.counts[slice] == plain.rows[index] ?? 0, "\(name)")
        }
        #expect(experts > 0)
        #expect(matrix.entries["output.weight"] == nil && matrix.entries["token_embd.weight"] == nil)
        #expect(matrix.entries.keys.contains { $0.hasPrefix("vision.") })
    }

    @Test("the matrix has the same bits for one thread and three")
    func threads() throws {
        let reference = try collect("vl2-mla-full", threads: 1) {
            [try question($0), prompt(Array(10..<60))]
        }
        #expect(
            try collect("vl2-mla-full", threads: 3) { [try question($0), prompt(Array(10..<60))] }
                == reference
        )
    }

    @Test("both towers of DeepSeek-VL are measured, under names that a GGUF file can hold")
    func towers() throws {
        let matrix = try collect("vl-7b-like", threads: 2) { [try question($0)] }
        for part in [
            "vision_high.blocks.0.attn.qkv.weight", "vision_low.blocks.0.mlp.fc2.weight",
            "blk.1.ffn_down.weight",
        ] {
            #expect(try #require(matrix.entries[part], "\(part)").counts[0] > 0)
        }
        #expect(matrix.names.contains { $0.hasPrefix("aligner.") })
        let scratch = try ScratchFolder()
        try matrix.writeGGUF(scratch("m.gguf"))
        #expect(try ImportanceMatrix.read(scratch("m.gguf")) == matrix)
    }

    @Test("the output head is measured on every row if it is asked for")
    func output() throws {
        let matrix = try collect("llm-linear", threads: 1, output: true) { _ in [prompt(Array(10..<50))] }
        #expect(matrix.entries["output.weight"]?.counts == [40])
        #expect(matrix.entries["blk.0.attn_q.weight"]?.counts == [40])
    }

    @Test("experts that no row reached are told by layer and number")
    func unreached() throws {
        // One row cannot reach all experts.
        let matrix = try collect("vl2-mha", threads: 1) { _ in [prompt([17])] }
        let layers = matrix.unreached
        #expect(!layers.isEmpty)
        for layer in layers {
            let entry = try #require(matrix.entries["blk.\(layer.layer).ffn_down_exps.weight"])
            #expect(layer.count == entry.counts.count)
            #expect(layer.experts == entry.counts.indices.filter { entry.counts[$0] == 0 })
            #expect(entry.counts.reduce(0, +) == layer.count - layer.experts.count)
        }
    }

    @Test("a text is cut into whole chunks whose first token is the begin token; the rest is dropped")
    func chunks() {
        let ids = (1...10).map { Int32($0) }
        #expect(CalibrationText.chunks(ids, begin: [0], size: 4) == [[0, 1, 2, 3], [0, 5, 6, 7]])
        #expect(CalibrationText.chunks(ids, begin: [], size: 5) == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
        #expect(CalibrationText.chunks([1, 2], begin: [0], size: 4) == [[0, 1, 2]])
        #expect(CalibrationText.chunks([], begin: [0], size: 4).isEmpty)
    }

    @Test("the kind of a calibration file is told by its name and its first line")
    func kinds() throws {
        func parse(_ text: String, _ file: String) throws -> CalibrationFile {
            try CalibrationFile.parse(Array(text.utf8), file: file)
        }
        #expect(try parse("a\n", "x.txt") == .text("a\n"))
        #expect(try parse("{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n", "x.jsonl") == .text("a\n\nb"))
        #expect(try parse("{\"id\": \"q\", \"task\": \"count\"}", "x.jsonl") == .questions)
        let lines = try parse("[{\"role\": \"User\"}]\n{\"messages\": [1]}", "x.jsonl")
        #expect(lines == .conversations([[["role": "User"]], [1]]))
        #expect(try parse("[{\"role\": \"User\"}]", "x.json") == .conversations([[["role": "User"]]]))
        #expect(try parse("[[1], [2]]", "x.json") == .conversations([[1], [2]]))
    }

    @Test(
        "a calibration file without usable lines is refused with its name and, if there is one, the line",
        arguments: [
            ("x.txt", "", "an empty file"), ("x.txt", " \n\t", "without a usable line"),
            ("x.jsonl", "\n\n", "without a usable line"),
            ("x.jsonl", "{\"text\": \" \"}", "without a usable line"),
            ("x.jsonl", "{\"text\": \"a\"}\nnonsense", "line 2"), ("x.jsonl", "{\"a\": 1}", "line 1"),
            ("x.jsonl", "{\"text\": \"a\"}\n[1]", "line 2: expected lines of one kind"),
            ("x.json", "[]", "usable"),
            ("x.json", "{}", "root"), ("x.json", "[", "JSON"),
        ]
    )
    func unusable(_ file: String, _ text: String, _ expected: String) {
        let error = #expect(throws: MeasureError.self) {
            try CalibrationFile.parse(Array(text.utf8), file: file)
        }
        #expect(error?.description.contains(expected) == true, "\(error?.description ?? "")")
        #expect(error?.description.hasPrefix(file) == true)
    }

    @Test("bytes that are no UTF-8 are refused")
    func bytes() {
        #expect(throws: MeasureError.self) { try CalibrationFile.parse([0x61, 0xff], file: "x.txt") }
    }
}

@Suite("The program's imatrix")
struct ImatrixProgramTests {
    @Test("a text and a question file give one file, the same for any number of threads")
    func run() throws {
        let scratch = try ScratchFolder()
        let text = try scratch.write(
            "t.txt",
            Array(String(repeating: "Where is the red cross? ", count: 20).utf8)
        )
        var files: [[UInt8]] = []
        for threads in ["1", "3"] {
            let found = try program([
                "imatrix", "--file", text, "--file", examples("shapes-eval.jsonl"), "--chunks", "4",
                "--chunk-size",
                "64", "--outfile", scratch("m.gguf"), "--threads", threads, "--format", "json",
            ])
            #expect(found.status == 0 && found.errors.isEmpty, "\(found.errors)")
            #expect(
                found.output.contains("\"datasets\":[\"t.txt\",\"shapes-eval.jsonl\"]"),
                "\(found.output)"
            )
            files.append(try contents(scratch("m.gguf")))
        }
        #expect(files[0] == files[1])
        #expect(try scratch.names == ["m.gguf", "t.txt"])
    }

    // The kernels of the patches were taken for a stack of matrices of eight columns, and the matrix for another model's.
    @Test("a matrix measured with pictures is one of the whole model's file, and changes its codes")
    func quantizes() throws {
        let scratch = try ScratchFolder()
        let measured = try program([
            "imatrix", "--file", examples("shapes-eval.jsonl"), "--chunks", "3", "--outfile",
            scratch("m.gguf"),
        ])
        #expect(measured.status == 0, "\(measured.errors)")
        let model = fixture("../../Models/shapes-vl2")
        #expect(try program(["convert", model, "--outfile", scratch("x.gguf")]).status == 0)
        for (name, matrix) in [("plain.gguf", []), ("weighted.gguf", ["--imatrix", scratch("m.gguf")])] {
            let done = try program(["quantize", scratch("x.gguf"), scratch(name), "q5_1"] + matrix)
            #expect(done.status == 0, "\(done.errors)")
        }
        #expect(try contents(scratch("plain.gguf")) != contents(scratch("weighted.gguf")))
    }

    @Test("a file without usable lines ends with status 1 and leaves no file; no file at all is wrong usage")
    func refuses() throws {
        let scratch = try ScratchFolder()
        let text = try scratch.write("t.txt", Array("\n".utf8))
        let found = try program(["imatrix", "--file", text, "--outfile", scratch("m.gguf")])
        #expect(found.status == 1 && found.errors.contains("t.txt: expected a text"), "\(found.errors)")
        #expect(try scratch.names == ["t.txt"])
        #expect(try program(["imatrix", "--outfile", scratch("m.gguf")]).status == 2)
    }
}
