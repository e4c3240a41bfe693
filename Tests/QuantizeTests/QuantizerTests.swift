import CVLKernels
import Foundation
import Testing
import VLFormats
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport
import VLText

@Suite struct QuantizerTests {
    private let scratch: ScratchFolder
    private let source: String
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    init() throws {
        scratch = try ScratchFolder()
        source = scratch("source.gguf")
        try GGUFConverter(checkpoint("shapes-vl2"), type: .float32, run: run).write(source)
    }

    private func types(_ path: String) throws -> [String: String] {
        let file = try GGUF.open(path)
        return Dictionary(uniqueKeysWithValues: file.entries.map { ($0.name, $0.dtype.rawValue) })
    }

    @Test("a quantized file answers, holds the blocks that the encoder makes, and says what it is")
    func blocks() throws {
        let path = scratch("small.gguf")
        try Quantizer(source, to: .q8_0, run: run).write(path)
        let before = try GGUF.open(source)
        let after = try GGUF.open(path)
        #expect(after["general.file_type"]?.asInt == 7)
        #expect(after["general.quantization_version"]?.asInt == 2)
        #expect(after.pairs.count >= before.pairs.count)
        let name = "blk.0.attn_q.weight"
        let was = try #require(before.entries.first { $0.name == name })
        let entry = try #require(after.entries.first { $0.name == name })
        #expect(was.dtype.rawValue == "F32" && entry.dtype.rawValue == "Q8_0" && entry.shape == was.shape)
        let values = [Float](unsafeUninitializedCapacity: was.range.count / 4) { buffer, count in
            UnsafeMutableRawBufferPointer(buffer).copyBytes(from: before.file.bytes[was.range])
            count = was.range.count / 4
        }
        var expected = [UInt8](repeating: 0, count: entry.range.count)
        vl_encode(VL_TYPE_Q8_0, values, nil, &expected, Int64(values.count))
        #expect(Array(after.file.bytes[entry.range]) == expected)
        #expect(try Reply(path).tokens == Reply(source).tokens)
        #expect(try scratch.names == ["small.gguf", "source.gguf"])
    }

    @Test("the bytes do not depend on the threads", arguments: [QuantizationTarget.q4_0, .q4_k_m, .bf16])
    func threads(_ target: QuantizationTarget) throws {
        for threads in [1, 2, 3] {
            let run = Run(pool: ThreadPool(threads: threads), compute: .float32)
            try Quantizer(source, to: target, run: run).write(scratch("\(threads).gguf"))
        }
        let one = try FileManager.default.contents(atPath: scratch("1.gguf")) ?? #require(nil)
        for threads in [2, 3] {
            #expect(FileManager.default.contents(atPath: scratch("\(threads).gguf")) == one)
        }
    }

    @Test("norms, gates and towers stay, the head keeps six bits, and what fits no block falls back")
    func rules() throws {
        let quantizer = try Quantizer(source, to: .q4_k_s, run: run)
        try quantizer.write(scratch("small.gguf"))
        let types = try types(scratch("small.gguf"))
        for (name, type) in types where name.hasSuffix("norm.weight") || name.hasSuffix("gate_inp.weight") {
            #expect(type == "F32", "\(name)")
        }
        for (name, type) in types where name.hasPrefix("vision.") || name.hasPrefix("projector.") {
            #expect(type == "F32", "\(name)")
        }
        #expect(types["output.weight"] == "Q6_K" || types["output.weight"] == "Q8_0")
        for fallback in quantizer.fallbacks {
            #expect(types[fallback.tensor]?.lowercased() == fallback.type.rawValue)
            #expect(fallback.type != fallback.wanted && fallback.reason.contains("no whole blocks"))
        }
        #expect(!quantizer.fallbacks.isEmpty)
    }

    @Test("a type for some tensors, and one for the tower")
    func overrides() throws {
        var options = Quantizer.Options()
        options.overrides = [
            (try SearchPattern("^blk\\.0\\.attn_q\\.", place: ""), .q5_1),
            (try SearchPattern("attn_(q|nothing)", place: ""), .float16),
        ]
        options.vision = .q8_0
        try Quantizer(source, to: .q4_0, options, run: run).write(scratch("small.gguf"))
        let types = try types(scratch("small.gguf"))
        #expect(types["blk.0.attn_q.weight"] == "Q5_1")
        #expect(types["blk.1.attn_q.weight"] == "F16")
        #expect(types["blk.1.ffn_up_exps.weight"] == "Q4_0")
        #expect(types.contains { $0.key.hasPrefix("vision.") && $0.value == "Q8_0" })
        #expect(try Reply(scratch("small.gguf")).tokens.count > 1)
    }

    @Test("an importance matrix changes codes, and one of other widths is refused")
    func importance() throws {
        let name = "blk.0.attn_q.weight"
        let columns = 256
        let source = scratch("matrix.gguf")
        let values = (0..<4 * columns).map { Float($0 * 7919 % 1009) / 1009 - 0.5 }
        try GGUFWriter.write(
            source,
            metadata: [("general.architecture", .text("llama"))],
            tensors: [
                OutgoingTensor(
                    name: name,
                    dtype: try #require(StoredDType(rawValue: "F32")),
                    shape: [4, columns],
                    bytes: values.withUnsafeBytes { Array($0) }
                )
            ]
        )
        var options = Quantizer.Options()
        func matrix(_ count: Int) -> ImportanceMatrix {
            let sums = (0..<count).map { $0 == 0 ? Float(1000) : 0.01 }
            return ImportanceMatrix(
                entries: [name: ImportanceMatrix.Entry(sums: sums, counts: [1])],
                chunkCount: 1,
                chunkSize: 1,
                datasets: []
            )
        }
        try Quantizer(source, to: .q4_k_s, run: run).write(scratch("plain.gguf"))
        options.importance = matrix(columns)
        try Quantizer(source, to: .q4_k_s, options, run: run).write(scratch("weighted.gguf"))
        func bytes(_ file: String) throws -> [UInt8] {
            let file = try GGUF.open(scratch(file))
            let entry = try #require(file.entries.first { $0.name == name })
            return Array(file.file.bytes[entry.range])
        }
        #expect(try bytes("plain.gguf") != bytes("weighted.gguf"))
        options.importance = matrix(columns + 32)
        let error = #expect(throws: ConvertError.self) {
            try Quantizer(source, to: .q4_k_s, options, run: run)
        }
        #expect(error?.description.contains("another model") == true)
        let other = #expect(throws: ConvertError.self) {
            try Quantizer(self.source, to: .q4_0, self.options(named: "blk.77.attn_q.weight"), run: run)
        }
        #expect(other?.description.contains("another model") == true)
        var unmatched = Quantizer.Options()
        unmatched.overrides = [(try SearchPattern("nowhere", place: ""), .q8_0)]
        let nothing = #expect(throws: ConvertError.self) {
            try Quantizer(self.source, to: .q4_0, unmatched, run: run)
        }
        #expect(nothing?.description.contains("'nowhere'") == true)
    }

    private func options(named name: String) -> Quantizer.Options {
        var options = Quantizer.Options()
        options.importance = ImportanceMatrix(
            entries: [name: ImportanceMatrix.Entry(sums: [1], counts: [1])],
            chunkCount: 1,
            chunkSize: 1,
            datasets: []
        )
        return options
    }

    @Test("codes are quantized again only if that is wanted, and no file is replaced unless that is")
    func refusals() throws {
        let small = scratch("small.gguf")
        try Quantizer(source, to: .q8_0, run: run).write(small)
        let error = #expect(throws: ConvertError.self) { try Quantizer(small, to: .q4_0, run: run) }
        #expect(error?.description.contains("--allow-requantize") == true)
        var options = Quantizer.Options()
        options.requantizes = true
        let again = try Quantizer(small, to: .q4_0, options, run: run)
        #expect(throws: ConvertError.self) { try again.write(small) }
        try again.write(scratch("smaller.gguf"))
        #expect(try types(scratch("smaller.gguf"))["blk.0.attn_q.weight"] == "Q4_0")
        #expect(throws: ConvertError.self) { try Quantizer(scratch("none.gguf"), to: .q4_0, run: run) }
    }

    @Test("the command quantizes, lists, and refuses what it does not know")
    func command() throws {
        let done = try program(["quantize", source, scratch("out.gguf"), "Q4_K", "--format", "json"])
        #expect(done.status == 0 && done.output.contains("\"written\":true"))
        let dry = try program(["quantize", source, scratch("dry.gguf"), "q8_0", "--dry-run"])
        #expect(
            dry.status == 0 && dry.output.contains("blk.0.attn_q.weight")
                && dry.output.contains("f32 -> q8_0")
        )
        #expect(try !scratch.names.contains("dry.gguf"))
        #expect(try program(["quantize", source, scratch("x.gguf"), "q3_k"]).status == 2)
        #expect(
            try program(["quantize", source, scratch("x.gguf"), "q4_0", "--tensor-type", "a"]).status == 2
        )
        #expect(try program(["quantize", source, scratch("out.gguf"), "q4_0"]).status == 1)
    }
}
