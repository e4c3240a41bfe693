import Testing
import VLFormats
import VLTestSupport

@Suite struct SafetensorsTests {
    /// A file of three tensors, one a scalar and one empty, with metadata.
    private static func sample() throws -> [UInt8] {
        let folder = try ScratchFolder()
        try SafetensorsWriter.write(
            folder("sample.safetensors"),
            metadata: [("format", "pt"), ("é", "\"\n")],
            tensors: [
                .init(name: "a.weight", dtype: .bfloat16, shape: [2, 3], bytes: Array(1...12)),
                .init(name: "b", dtype: .float32, shape: [], bytes: Array(1...4)),
                .init(name: "c", dtype: .int64, shape: [0, 7], bytes: []),
            ]
        )
        return try contents(folder("sample.safetensors"))
    }

    @Test("names, types, shapes, places and metadata are read")
    func reads() throws {
        let folder = try ScratchFolder()
        let file = try Safetensors.open(folder.write("x.safetensors", Self.sample()))
        #expect(file.entries.map(\.name) == ["c", "b", "a.weight"])
        #expect(file["a.weight"]?.shape == [2, 3] && file["a.weight"]?.dtype == .bfloat16)
        #expect(file["b"]?.shape == [] && file["c"]?.shape == [0, 7] && file["d"] == nil)
        #expect(file.metadata.map(\.key) == ["format", "é"] && file.metadata.map(\.value) == ["pt", "\"\n"])
        let range = try #require(file["a.weight"]?.range)
        #expect(Array(file.file.bytes[range]) == Array(1...12))
        #expect(file.file.span[range.lowerBound] == 1)
    }

    @Test("names that look the same and differ in bytes are two tensors")
    func keepsNamesApart() throws {
        let folder = try ScratchFolder()
        try SafetensorsWriter.write(
            folder("x.safetensors"),
            tensors: [
                .init(name: "\u{E9}", dtype: .uint8, shape: [1], bytes: [1]),
                .init(name: "e\u{301}", dtype: .uint8, shape: [1], bytes: [2]),
            ]
        )
        let store = try WeightStore.open(folder("x.safetensors"))
        #expect(store.count == 2)
        #expect(
            try store.tensor(named: "\u{E9}").bytes[0] == 1 && store.tensor(named: "e\u{301}").bytes[0] == 2
        )
    }

    @Test("no prefix of a file is accepted")
    func refusesPrefixes() throws {
        let bytes = try Self.sample()
        for length in 0..<bytes.count {
            #expect(throws: FormatError.self) {
                try Safetensors.parse(bytes.span.extracting(..<length), file: "x")
            }
        }
        #expect(throws: FormatError.self) { try Safetensors.parse((bytes + [0]).span, file: "x") }
    }

    @Test("a changed byte never leads outside the file")
    func survivesFlips() throws {
        let bytes = try Self.sample()
        var generator = SeededGenerator(state: 20_261_122)
        var accepted = 0
        for round in 0..<12_000 {
            var damaged = bytes
            // The length and the header, where a change matters.
            for _ in 0...(round % 3) {
                damaged[Int.random(in: 0..<bytes.count - 16, using: &generator)] = .random(
                    in: 0...255,
                    using: &generator
                )
            }
            do throws(FormatError) {
                let header = try Safetensors.parse(damaged.span, file: "x")
                accepted += 1
                for entry in header.entries {
                    #expect(entry.range.lowerBound >= 8 && entry.range.upperBound <= bytes.count)
                    #expect(entry.dtype.byteCount(shape: entry.shape) == entry.range.count)
                }
            } catch {
                #expect(error.description.hasPrefix("x: "))
            }
        }
        #expect(accepted > 0)
    }

    @Test("time grows with the number of tensors")
    func isLinear() throws {
        func bytes(_ count: Int) -> [UInt8] {
            var text = "{"
            for index in 0..<count {
                text += "\"model.layers.\(index).weight\":{\"dtype\":\"U8\",\"shape\":[1,1],"
                text += "\"data_offsets\":[\(index),\(index + 1)]}\(index + 1 < count ? "," : "}")"
            }
            let length = text.utf8.count
            return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + Array(text.utf8)
                + [UInt8](repeating: 0, count: count)
        }
        func seconds(_ file: [UInt8]) throws -> Double {
            try ContinuousClock().measure { _ = try Safetensors.parse(file.span, file: "x") } / .seconds(1)
        }
        let (small, big) = (bytes(10_000), bytes(100_000))
        _ = try seconds(small)
        let ratio = try seconds(big) / min(seconds(small), seconds(small))
        #expect(ratio < 30, "ten times the tensors took \(ratio) times the time")
    }

    @Test(
        "a rank, a shape and an end that lie are refused before anything is reserved"
    )
    func refusesLies() {
        func file(_ header: String, data: Int = 0) -> [UInt8] {
            (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) } + Array(header.utf8)
                + [UInt8](repeating: 0, count: data)
        }
        func refused(_ header: String, data: Int = 0) -> FormatError? {
            #expect(throws: FormatError.self) {
                try Safetensors.parse(file(header, data: data).span, file: "x")
            }
        }
        let ones = Array(repeating: "1", count: 65).joined(separator: ",")
        let rank = refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[\(ones)],\"data_offsets\":[0,1]}}", data: 1)
        #expect(rank == .tensor("a", file: "x", .rank(limit: 64)))
        let shape = refused(
            "{\"a\":{\"dtype\":\"F64\",\"shape\":[9223372036854775807],\"data_offsets\":[0,8]}}",
            data: 8
        )
        #expect(shape == .tensor("a", file: "x", .sizeOverflow(shape: [.max])))
        let many = "9000000000000000000"
        let end = refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[\(many)],\"data_offsets\":[0,\(many)]}}")
        #expect(end == .tensor("a", file: "x", .pastEnd(end: 9_000_000_000_000_000_000, dataBytes: 0)))
    }
}
