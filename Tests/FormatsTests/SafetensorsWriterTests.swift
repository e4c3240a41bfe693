import Testing
import VLFormats
import VLTestSupport

@Suite struct SafetensorsWriterTests {
    @Test("every element type survives a round trip, aligned to its size")
    func roundTrips() throws {
        let folder = try ScratchFolder()
        let tensors = StoredDType.allCases.filter(\.isSafetensors).map { dtype in
            SafetensorsWriter.Tensor(
                name: "t.\(dtype.rawValue)",
                dtype: dtype,
                shape: [3, 1],
                bytes: (0..<3 * dtype.blockBytes).map { UInt8($0 + dtype.blockBytes) }
            )
        }
        try SafetensorsWriter.write(folder("x.safetensors"), metadata: [("k", "v")], tensors: tensors)
        let store = try WeightStore.open(folder("x.safetensors"))
        let base = try Safetensors.open(folder("x.safetensors"))
        for dtype in StoredDType.allCases.filter(\.isSafetensors) {
            let tensor = try store.tensor(named: "t.\(dtype.rawValue)")
            #expect(tensor.dtype == dtype && tensor.shape == [3, 1] && tensor.elementCount == 3)
            #expect(Array(tensor.bytes) == (0..<3 * dtype.blockBytes).map { UInt8($0 + dtype.blockBytes) })
            #expect((base[tensor.name]?.range.lowerBound ?? 1) % dtype.blockBytes == 0)
        }
        #expect(try folder.names == ["x.safetensors"])
    }

    @Test("the same tensors give the same bytes: a known file")
    func isDeterministic() throws {
        let folder = try ScratchFolder()
        try SafetensorsWriter.write(
            folder("x"),
            metadata: [("b", "1"), ("a", "2")],
            tensors: [
                .init(name: "u", dtype: .uint8, shape: [1], bytes: [7]),
                .init(name: "f", dtype: .float32, shape: [], bytes: [0, 0, 128, 63]),
            ]
        )
        let header =
            #"{"__metadata__":{"b":"1","a":"2"},"f":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"#
            + #""u":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}"#
        let padded = header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
        let expected =
            [UInt8(padded.utf8.count), 0, 0, 0, 0, 0, 0, 0] + Array(padded.utf8) + [0, 0, 128, 63, 7]
        #expect(try contents(folder("x")) == expected)
    }

    @Test("no tensors at all make a file that reads back")
    func writesNothing() throws {
        let folder = try ScratchFolder()
        try SafetensorsWriter.write(folder("x"), tensors: [])
        #expect(try Safetensors.open(folder("x")).entries.isEmpty)
    }

    @Test("pieces of any size make up a tensor, and another number of bytes is refused without a file")
    func countsBytes() throws {
        let folder = try ScratchFolder()
        func write(_ pieces: [Int]) throws(FormatError) {
            let tensor = SafetensorsWriter.Tensor(name: "t", dtype: .uint8, shape: [1_000_000]) {
                (output) throws(FormatError) in
                for piece in pieces { try output.write([UInt8](repeating: 1, count: piece)) }
            }
            try SafetensorsWriter.write(folder("x"), tensors: [tensor])
        }
        try write([1, 0, 199_999, 300_000, 500_000])
        #expect(try contents(folder("x")).count > 1_000_000)
        let before = try contents(folder("x"))
        for pieces in [[999_999], [1_000_001], [500_000, 500_001], []] {
            let error = #expect(throws: FormatError.self) { try write(pieces) }
            let total = pieces.reduce(0, +)
            #expect(
                error
                    == .tensor(
                        "t",
                        file: folder("x"),
                        .byteCount(expected: 1_000_000, found: total, shape: [1_000_000], dtype: .uint8)
                    )
            )
        }
        #expect(try contents(folder("x")) == before)
        #expect(try folder.names == ["x"])
    }

    @Test("a name twice, a reserved name and a shape beyond counting are refused without a file")
    func refuses() throws {
        let folder = try ScratchFolder()
        let tensor = SafetensorsWriter.Tensor(name: "t", dtype: .uint8, shape: [], bytes: [1])
        let reserved = SafetensorsWriter.Tensor(name: "__metadata__", dtype: .uint8, shape: [], bytes: [1])
        let huge = SafetensorsWriter.Tensor(name: "h", dtype: .float32, shape: [.max, 2], bytes: [])
        let negative = SafetensorsWriter.Tensor(name: "n", dtype: .uint8, shape: [-1], bytes: [])
        for tensors in [[tensor, tensor], [reserved], [huge], [negative]] {
            #expect(throws: FormatError.self) { try SafetensorsWriter.write(folder("x"), tensors: tensors) }
        }
        #expect(throws: FormatError.tensor("__metadata__", file: folder("x"), .duplicate)) {
            try SafetensorsWriter.write(folder("x"), metadata: [("k", "1"), ("k", "2")], tensors: [tensor])
        }
        #expect(try folder.names == [])
    }
}
