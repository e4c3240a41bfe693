import Testing
import VLFormats
import VLQuantize
import VLTestSupport

@Suite("Importance matrices in files")
struct ImportanceMatrixTests {
    typealias Entry = ImportanceMatrix.Entry

    static let sample = ImportanceMatrix(
        entries: [
            "blk.0.attn_q.weight": Entry(sums: [8, 0, 2, 4], counts: [2]),
            "blk.1.ffn_up_exps.weight": Entry(sums: [3, 6, 0, 0, 1, 2, 10, 20], counts: [3, 0, 1, 10]),
            "blk.0.attn_k_b.weight": Entry(sums: [1, 2, 3, 4, 5, 6], counts: [1]),
        ],
        chunkCount: 2,
        chunkSize: 16,
        datasets: ["a.txt", "b.jsonl"]
    )

    @Test("a GGUF file has the keys, names, types and shapes of llama.cpp's, sorted by name")
    func layout() throws {
        let scratch = try ScratchFolder()
        try Self.sample.writeGGUF(scratch("m.gguf"))
        let gguf = try GGUF.open(scratch("m.gguf"))
        #expect(gguf.version == 3 && gguf.alignment == 32)
        #expect(
            gguf.pairs.map(\.key) == [
                "general.type", "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size",
            ]
        )
        #expect(gguf.pairs.map(\.type) == [.string, .array, .uint32, .uint32])
        #expect(gguf["general.type"]?.asText == "imatrix")
        #expect(gguf["imatrix.chunk_count"]?.asInt == 2 && gguf["imatrix.chunk_size"]?.asInt == 16)
        #expect(
            gguf.entries.map(\.name) == [
                "blk.0.attn_k_b.weight.in_sum2", "blk.0.attn_k_b.weight.counts",
                "blk.0.attn_q.weight.in_sum2",
                "blk.0.attn_q.weight.counts", "blk.1.ffn_up_exps.weight.in_sum2",
                "blk.1.ffn_up_exps.weight.counts",
            ]
        )
        #expect(gguf.entries.map(\.shape) == [[6], [1], [4], [1], [4, 2], [4, 1]])
        #expect(gguf.entries.allSatisfy { $0.dtype == .float32 })
        #expect(try scratch.names == ["m.gguf"])
    }

    @Test("what is written is read again, and written anew has the same bytes")
    func roundTrip() throws {
        let scratch = try ScratchFolder()
        try Self.sample.writeGGUF(scratch("m.gguf"))
        let read = try ImportanceMatrix.read(scratch("m.gguf"))
        #expect(read == Self.sample)
        try read.writeGGUF(scratch("n.gguf"))
        #expect(try contents(scratch("m.gguf")) == contents(scratch("n.gguf")))
    }

    @Test("the former format keeps the means, with ones for experts that were never reached")
    func legacy() throws {
        let scratch = try ScratchFolder()
        try Self.sample.writeLegacy(scratch("m.dat"))
        let read = try ImportanceMatrix.read(scratch("m.dat"))
        #expect(read.names == Self.sample.names)
        #expect(read.weights(of: "blk.0.attn_q.weight") == [4, 0, 1, 2])
        #expect(read.weights(of: "blk.1.ffn_up_exps.weight") == [1, 2, 1, 1, 1, 2, 1, 2])
        #expect(read.chunkCount == 2 && read.chunkSize == 0 && read.datasets == ["b.jsonl"])
    }

    @Test("the former format's bytes are those of its definition")
    func legacyBytes() throws {
        let scratch = try ScratchFolder()
        let matrix = ImportanceMatrix(
            entries: ["w": Entry(sums: [8, 2], counts: [20])],
            chunkCount: 1,
            chunkSize: 16,
            datasets: ["t"]
        )
        try matrix.writeLegacy(scratch("m.dat"))
        // 20 rows are two calls of 16; the values are 0.4 and 0.1 times two.
        let wanted: [UInt8] =
            [1, 0, 0, 0, 1, 0, 0, 0, 0x77, 2, 0, 0, 0, 2, 0, 0, 0]
            + [0.8, 0.2].flatMap { (value: Float) in
                withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
            } + [1, 0, 0, 0, 1, 0, 0, 0, 0x74]
        #expect(try contents(scratch("m.dat")) == wanted)
    }

    @Test("means are sums by counts, of each expert its own; 1 where nothing was counted")
    func means() {
        #expect(Self.sample.weights(of: "blk.0.attn_q.weight") == [4, 0, 1, 2])
        #expect(Self.sample.weights(of: "blk.1.ffn_up_exps.weight") == [1, 2, 1, 1, 1, 2, 1, 2])
        #expect(Self.sample.weights(of: "blk.9.attn_q.weight") == nil)
        let unreached = Self.sample.unreached
        #expect(
            unreached.map(\.layer) == [1] && unreached.map(\.experts) == [[1]]
                && unreached.map(\.count) == [4]
        )
    }

    @Test("a file that ends anywhere is an error that names it, in both formats")
    func truncated() throws {
        let scratch = try ScratchFolder()
        try Self.sample.writeGGUF(scratch("m.gguf"))
        try Self.sample.writeLegacy(scratch("m.dat"))
        for name in ["m.gguf", "m.dat"] {
            let whole = try contents(scratch(name))
            // The former format may end without its last fields; the new one with padding.
            let end = name == "m.dat" ? whole.count - 17 : whole.count - 32
            for count in 0..<end {
                let path = try scratch.write("cut", Array(whole.prefix(count)))
                let error = #expect(throws: MeasureError.self, "\(count) bytes") {
                    try ImportanceMatrix.read(path)
                }
                #expect(error?.description.contains(path) == true)
            }
        }
    }

    @Test("a file with any bytes changed is read or refused, and what is read can be asked")
    func changed() throws {
        let scratch = try ScratchFolder()
        try Self.sample.writeGGUF(scratch("m.gguf"))
        try Self.sample.writeLegacy(scratch("m.dat"))
        var state: UInt64 = 1
        func random(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(limit))
        }
        var (read, refused) = (0, 0)
        for name in ["m.gguf", "m.dat"] {
            let whole = try contents(scratch(name))
            for _ in 0..<600 {
                var bytes = whole
                for _ in 0...random(3) { bytes[random(bytes.count)] = [0, 1, 0x7f, 0x80, 0xff][random(5)] }
                let path = try scratch.write("x", bytes)
                do throws(MeasureError) {
                    let matrix = try ImportanceMatrix.read(path)
                    let means = matrix.names.flatMap { matrix.weights(of: $0) ?? [.nan] }
                    #expect(means.allSatisfy { $0 >= 0 })
                    var sum = matrix
                    try? sum.add(matrix, file: "x")
                    read += 1
                } catch {
                    refused += 1
                }
            }
        }
        #expect(read > 0 && refused > 0)
    }

    @Test("what is no number, no count or no pair is refused by name", arguments: 0..<8)
    func damaged(_ index: Int) throws {
        let scratch = try ScratchFolder()
        func tensor(_ name: String, _ values: [Float], _ type: StoredDType = .float32) -> OutgoingTensor {
            OutgoingTensor(
                name: name,
                dtype: type,
                shape: [values.count],
                bytes: values.flatMap { value in
                    withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
                }
            )
        }
        let good = [tensor("w.in_sum2", [1, 2]), tensor("w.counts", [1])]
        let (tensors, type, expected): ([OutgoingTensor], String, String) =
            [
                ([tensor("w.in_sum2", [1, .nan]), good[1]], "imatrix", "finite"),
                ([tensor("w.in_sum2", [1, -2]), good[1]], "imatrix", "from 0"),
                ([good[0], tensor("w.counts", [1.5])], "imatrix", "whole numbers"),
                ([good[0]], "imatrix", "w.counts"),
                ([good[1]], "imatrix", "w.in_sum2"),
                ([good[0], tensor("w.counts", [1, 1, 1])], "imatrix", "each of 3"),
                (good, "model", "general.type"),
                ([], "imatrix", "tensors"),
            ][index]
        try GGUFWriter.write(
            scratch("m.gguf"),
            metadata: [
                ("general.type", .text(type)), ("imatrix.datasets", .texts([])),
                ("imatrix.chunk_count", .uint32(1)), ("imatrix.chunk_size", .uint32(1)),
            ],
            tensors: tensors
        )
        let error = #expect(throws: MeasureError.self) { try ImportanceMatrix.read(scratch("m.gguf")) }
        #expect(error?.description.contains(expected) == true, "\(error?.description ?? "")")
    }

    @Test("a model's own file, and what is no file of numbers, are no importance matrices")
    func others() throws {
        let scratch = try ScratchFolder()
        for bytes in [
            Array("a text, not numbers at all".utf8), [], [1, 0, 0, 0], [255, 255, 255, 255, 0, 0, 0, 0],
        ] {
            let path = try scratch.write("x", bytes)
            #expect(throws: MeasureError.self) { try ImportanceMatrix.read(path) }
        }
        #expect(throws: MeasureError.self) { try ImportanceMatrix.read(scratch("none")) }
    }

    @Test("a matrix of another model is told by a width, by a layer, or by every name")
    func otherModel() throws {
        let model = [
            (name: "blk.0.attn_q.weight", shape: [8, 4]),
            (name: "blk.1.ffn_up_exps.weight", shape: [4, 3, 2]),
            (name: "blk.0.attn_k_b.weight", shape: [3, 5, 2]), (name: "output.weight", shape: [9, 4]),
        ]
        try Self.sample.check(model, file: "m")
        func error(_ change: (inout [(name: String, shape: [Int])]) -> Void) -> String? {
            var model = model
            change(&model)
            let error = #expect(throws: MeasureError.self) { try Self.sample.check(model, file: "m") }
            return error?.description
        }
        #expect(
            error { $0[0].shape = [8, 6] }?.contains("'blk.0.attn_q.weight': expected 6 columns") == true
        )
        #expect(
            error { $0[1].shape = [8, 3, 2] }?.contains("8 matrices of 2 columns, found 8 values") == true
        )
        #expect(error { $0.remove(at: 1) }?.contains("'blk.1.ffn_up_exps.weight'") == true)
        #expect(error { $0 = [$0[3]] }?.contains("none of its 1 tensors") == true)
    }

    @Test("matrices of one model add up, those of the former format by rows")
    func sums() throws {
        var sum = Self.sample
        try sum.add(Self.sample, file: "again")
        #expect(sum.entries["blk.1.ffn_up_exps.weight"]?.counts == [6, 0, 2, 20])
        #expect(sum.weights(of: "blk.0.attn_q.weight") == Self.sample.weights(of: "blk.0.attn_q.weight"))
        #expect(sum.chunkCount == 4 && sum.datasets.count == 4)
        let old = ImportanceMatrix(entries: ["blk.0.attn_q.weight": Entry(sums: [1, 1, 1, 1], counts: [1])])
        try sum.add(old, file: "old")
        // One call of 16 rows with a mean of 1, beside four rows.
        #expect(sum.entries["blk.0.attn_q.weight"] == Entry(sums: [32, 16, 20, 24], counts: [20]))
        let wide = ImportanceMatrix(
            entries: ["blk.0.attn_q.weight": Entry(sums: [1], counts: [1])],
            chunkSize: 16
        )
        #expect(throws: MeasureError.self) { try sum.add(wide, file: "wide") }
    }
}
