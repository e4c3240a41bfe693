import Foundation
import Testing
import VLFormats
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

/// What cannot be done is told in one error, and nothing half-written stands under the final name.
@Suite struct BadInputTests {
    private let scratch: ScratchFolder
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    init() throws { scratch = try ScratchFolder() }

    @Test(
        "a disk that takes no more ends conversions both ways and quantizations with one error, and leaves nothing"
    )
    func fullDisk() throws {
        let gguf = scratch("source.gguf")
        try GGUFConverter(checkpoint("shapes-vl2"), run: run).write(gguf)
        let text = (0..<200).map { "Sentence \($0) is about \($0 * 7 % 13) things." }
        try scratch.write("text.txt", Array(text.joined(separator: "\n").utf8))
        let calibrated = ["--chunk-size", "64", "--chunks", "2"]
        // Files end at so many KiB.
        for (limit, arguments) in [
            (512, ["convert", checkpoint("shapes-vl2"), "--outfile", scratch("a.gguf")]),
            (512, ["convert", checkpoint("shapes-vl2"), "--outfile", scratch("a.gguf"), "--split"]),
            (512, ["quantize", gguf, scratch("b.gguf"), "f16"]),
            (512, ["convert", gguf, "--outfolder", scratch("c")]),
            (512, ["gptq", checkpoint("shapes-vl2"), scratch("d"), "-c", scratch("text.txt")] + calibrated),
            (512, ["gptq", gguf, scratch("e.gguf"), "-c", scratch("text.txt")] + calibrated),
            (
                4,
                ["imatrix", "--model", gguf, "--file", scratch("text.txt"), "--outfile", scratch("f.gguf")]
                    + calibrated
            ),
        ] {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/bin/bash")
            // With the signal ignored, writing fails as on a full disk.
            process.arguments =
                ["-c", "trap '' XFSZ; ulimit -f \(limit); exec \"$@\"", "bash", programPath.path] + arguments
            let errors = Pipe()
            process.standardError = errors
            process.standardOutput = FileHandle.nullDevice
            try process.run()
            let told = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            #expect(process.terminationStatus == 1 && told.contains("write: "), "\(arguments): \(told)")
            #expect(told.split(separator: "\n").count { $0.hasPrefix("deepseek-vl: ") } == 1, "\(told)")
            #expect(try scratch.names == ["source.gguf", "text.txt"], "\(arguments)")
        }
    }

    @Test("damaged GGUF files are refused by quantize and on the way back, and nothing is written")
    func corpus() throws {
        let corpus = fixture("badfiles/gguf")
        let names = try FileManager.default.contentsOfDirectory(atPath: corpus).filter {
            $0.hasSuffix(".gguf")
        }
        #expect(names.count > 5)
        for name in names {
            let path = corpus + "/" + name
            do {
                try Quantizer(path, to: .q8_0, run: run).write(scratch("out.gguf"))
                // A file that is sound as a container may be quantized; it is one then.
                _ = try GGUF.open(scratch("out.gguf"))
                try FileManager.default.removeItem(atPath: scratch("out.gguf"))
            } catch let error as ConvertError {
                #expect(!error.description.isEmpty)
            }
            #expect(throws: ConvertError.self, "\(name)") {
                try CheckpointRestorer(path, run: run).write(scratch("out"))
            }
            #expect(try scratch.names.isEmpty, "\(name)")
        }
    }

    private func matrix(_ columns: Int, _ value: Float, named name: String = "blk.0.attn_q.weight") throws {
        let values = [Float](repeating: value, count: 4 * columns)
        try GGUFWriter.write(
            scratch("x.gguf"),
            metadata: [("general.architecture", .text("llama"))],
            tensors: [
                OutgoingTensor(
                    name: name,
                    dtype: .float32,
                    shape: [4, columns],
                    bytes: values.withUnsafeBytes { Array($0) }
                )
            ]
        )
    }

    @Test("rows that no block divides go as float16, those that float16 cannot hold stay, and both are named")
    func widths() throws {
        for (columns, value, wanted, expected) in [
            (40, Float(1), QuantizationTarget.q4_0, StoredDType.float16), (40, 1, .q4_k_m, .float16),
            (40, 70000, .q4_0, .float32), (96, 1, .q4_k_m, .q5_0), (96, 1, .q5_k_m, .q5_1),
            (96, 1, .q6_k, .q8_0),
        ] {
            try matrix(columns, value)
            let quantizer = try Quantizer(scratch("x.gguf"), to: wanted, run: run)
            try quantizer.write(scratch("y.gguf"), replaces: true)
            #expect(try GGUF.open(scratch("y.gguf")).entries.first?.dtype == expected)
            let told = try #require(quantizer.fallbacks.first).description
            #expect(told.contains("blk.0.attn_q.weight"))
            #expect(told.contains("its rows of \(columns) are no whole blocks"), "\(told)")
            #expect(told.contains("65504") == (value > 65504))
        }
    }

    @Test("matrices that GPTQ has no blocks for stay as they are, and are named")
    func gptqWidths() throws {
        // Rows of 24 behind the query's rank, and of 48 in the experts.
        try GGUFConverter(checkpoint("vl2-mla-full"), run: run).write(scratch("x.gguf"))
        let done = try program(["gptq", scratch("x.gguf"), scratch("y.gguf"), "--nearest"])
        #expect(done.status == 0, "\(done.errors)")
        for (name, rows) in [("self_attn.q_b_proj", 24), ("mlp.experts.0.down_proj", 48)] {
            #expect(
                done.output.contains(
                    "\(name).weight: stays as it is: its rows of \(rows) are no whole blocks"
                ),
                "\(done.output)"
            )
        }
        let types = Dictionary(
            uniqueKeysWithValues: try GGUF.open(scratch("y.gguf")).entries.map { ($0.name, $0.dtype) }
        )
        #expect(types["blk.0.attn_q_b.weight"] == .float32 && types["blk.0.attn_q_a.weight"] == .q4_0)
        #expect(types["blk.1.ffn_down_exps.weight"] == .float32 && types["blk.1.ffn_up_exps.weight"] == .q4_0)
    }

    @Test("a file that holds more, or other, than its model is refused by name")
    func clashes() throws {
        let gguf = scratch("x.gguf")
        try GGUFConverter(checkpoint("llm-linear"), run: run).write(gguf)
        let file = try GGUF.open(gguf)
        let pairs = file.pairs.map { (key: $0.key, value: GGUFWriter.Value.copy(file, $0)) }
        func refusal(_ tensors: [OutgoingTensor], _ words: String) {
            let error = #expect(throws: (any Error).self) {
                try GGUFWriter.write(scratch("y.gguf"), metadata: pairs, tensors: tensors)
                try CheckpointRestorer(scratch("y.gguf"), run: run).write(scratch("folder"))
            }
            #expect(String(describing: error).contains(words) == true, "\(String(describing: error))")
            #expect((try? scratch.names.contains("folder")) == false)
        }
        let all = file.tensors
        refusal(all.map { OutgoingTensor($0) } + [OutgoingTensor(all[0])], "found it twice")
        refusal(
            all.map { OutgoingTensor($0) } + [OutgoingTensor(all[0], name: "blk.0.other.weight")],
            "other"
        )
        refusal(all.dropLast().map { OutgoingTensor($0) }, all[all.count - 1].name)
        let name = "blk.0.ffn_up.weight"
        let other = all.map { tensor in
            guard tensor.name == name else { return OutgoingTensor(tensor) }
            return OutgoingTensor(
                name: name,
                dtype: tensor.dtype,
                shape: Array(tensor.shape.reversed()),
                bytes: Array(tensor.bytes)
            )
        }
        refusal(other, "expected")
    }

    @Test(
        "patterns that are none, that match no matrix, or types that are none are refused before anything is read"
    )
    func patterns() throws {
        try matrix(64, 1)
        for (text, status, words) in [
            ("attn_(q=q8_0", Int32(2), "--tensor-type"), ("nowhere=q8_0", 1, "'nowhere'"),
            ("attn_q=q9_9", 2, "q9_9"), ("=q8_0", 2, "expected"),
        ] {
            let done = try program([
                "quantize", scratch("x.gguf"), scratch("y.gguf"), "q4_0", "--tensor-type", text,
            ])
            #expect(done.status == status && done.errors.contains(words), "\(text): \(done.errors)")
        }
        #expect(try scratch.names == ["x.gguf"])
        let done = try program([
            "quantize", scratch("x.gguf"), scratch("y.gguf"), "q4_0", "--tensor-type",
            "attn_[qk]\\.(?=w)=q8_0",
        ])
        #expect(done.status == 0)
        #expect(try GGUF.open(scratch("y.gguf")).entries.first?.dtype == .q8_0)
    }

    @Test("head and embedding take the types that are asked for")
    func headTypes() throws {
        let gguf = scratch("x.gguf")
        try GGUFConverter(checkpoint("llm-linear"), run: run).write(gguf)
        let done = try program([
            "quantize", gguf, scratch("y.gguf"), "q4_0", "--output-type", "q8_0", "--token-embedding-type",
            "f16",
        ])
        #expect(done.status == 0)
        let types = Dictionary(
            uniqueKeysWithValues: try GGUF.open(scratch("y.gguf")).entries.map { ($0.name, $0.dtype) }
        )
        #expect(types["output.weight"] == .q8_0 && types["token_embd.weight"] == .float16)
        #expect(types["blk.0.ffn_down.weight"] == .q4_0)
    }

    @Test("calibration without a usable line is refused, and no matrix is written")
    func calibration() throws {
        try "\n   \n\n".write(toFile: scratch("empty.txt"), atomically: true, encoding: .utf8)
        let done = try program([
            "imatrix", "--model", checkpoint("llm-linear"), "--file", scratch("empty.txt"), "--outfile",
            scratch("m.gguf"),
        ])
        #expect(done.status == 1 && done.errors.contains("empty.txt"))
        #expect(try scratch.names == ["empty.txt"])
    }
}
