import Testing
import VLFormats
import VLTestSupport

@Suite struct GGUFTests {
    /// One pair of each type.
    private static let metadata: [(key: String, value: GGUFWriter.Value)] = [
        ("u8", .uint8(200)), ("i8", .int8(-100)), ("u16", .uint16(60000)), ("i16", .int16(-30000)),
        ("u32", .uint32(4_000_000_000)), ("i32", .int32(-2_000_000_000)), ("u64", .uint64(.max)),
        ("i64", .int64(.min)), ("f32", .float32(1.5)), ("f64", .float64(-0.1)), ("yes", .bool(true)),
        ("no", .bool(false)), ("text", .text("ø \u{301}\n")), ("empty", .text("")),
        ("u32s", .uint32s([1, 4_000_000_000])), ("i32s", .int32s([-1, 2])), ("f32s", .float32s([0.5, -2])),
        ("bools", .bools([true, false])), ("texts", .texts(["a", "", "ø"])), ("none", .texts([])),
    ]

    private static func tensors() -> [OutgoingTensor] {
        [
            OutgoingTensor(name: "scalar", dtype: .float32, shape: [], bytes: [0, 0, 128, 63]),
            OutgoingTensor(name: "half", dtype: .float16, shape: [2, 3], bytes: (0..<12).map { UInt8($0) }),
            OutgoingTensor(
                name: "brain",
                dtype: .bfloat16,
                shape: [1, 2, 2],
                bytes: Array(repeating: 7, count: 8)
            ),
            OutgoingTensor(name: "blocks", dtype: .q8_0, shape: [2, 64], bytes: (0..<136).map { UInt8($0) }),
            OutgoingTensor(name: "empty", dtype: .float32, shape: [0, 3], bytes: []),
            OutgoingTensor(name: "k", dtype: .q6_k, shape: [256], bytes: (0..<210).map { UInt8($0) }),
        ]
    }

    @Test(
        "metadata of each type and tensors survive a round trip, at any alignment",
        arguments: [32, 1, 4096]
    )
    func roundTrips(_ alignment: Int) throws {
        let folder = try ScratchFolder()
        let path = folder("x.gguf")
        try GGUFWriter.write(path, metadata: Self.metadata, tensors: Self.tensors(), alignment: alignment)
        let gguf = try GGUF.open(path)
        #expect(gguf.version == 3 && gguf.alignment == alignment)
        #expect(gguf["u8"]?.asInt == 200 && gguf["i8"]?.asInt == -100)
        #expect(gguf["u16"]?.asInt == 60000 && gguf["i16"]?.asInt == -30000)
        #expect(gguf["u32"]?.asInt == 4_000_000_000 && gguf["i32"]?.asInt == -2_000_000_000)
        #expect(gguf["u64"]?.asInt == nil && gguf["u64"]?.asDouble == Double(UInt64.max))
        #expect(gguf["i64"]?.asInt == .min)
        #expect(gguf["f32"]?.asDouble == 1.5 && gguf["f64"]?.asDouble == -0.1)
        #expect(gguf["yes"]?.asBool == true && gguf["no"]?.asBool == false)
        #expect(gguf["text"]?.asText.map { Array($0.utf8) } == Array("ø \u{301}\n".utf8))
        #expect(gguf["empty"]?.asText == "" && gguf["missing"] == nil)
        #expect(gguf["u32s"]?.asArray?.integers == [1, 4_000_000_000])
        #expect(gguf["i32s"]?.asArray?.integers == [-1, 2])
        #expect(gguf["f32s"]?.asArray?.prefix(9).compactMap(\.asDouble) == [0.5, -2])
        #expect(gguf["bools"]?.asArray?.prefix(1).first?.asBool == true)
        #expect(gguf["texts"]?.asArray?.prefix(9).compactMap(\.asText) == ["a", "", "ø"])
        #expect(gguf["texts"]?.asArray?.textByteCount == 3 && gguf["texts"]?.asArray?.integers == nil)
        #expect(gguf["none"]?.asArray?.count == 0)
        let store = try WeightStore.open(path)
        for tensor in Self.tensors() {
            let found = try store.tensor(named: tensor.name)
            #expect(found.dtype == tensor.dtype && found.shape == tensor.shape, "\(tensor.name)")
            #expect(found.byteCount == tensor.dtype.byteCount(shape: tensor.shape))
        }
        #expect(Array(try store.tensor(named: "blocks").bytes) == (0..<136).map { UInt8($0) })
        #expect(try store.tensor(named: "blocks").elementCount == 128)
        #expect(store.unread.isEmpty)
    }

    @Test("what was read is written again byte for byte")
    func copies() throws {
        let folder = try ScratchFolder()
        try GGUFWriter.write(folder("a"), metadata: Self.metadata, tensors: Self.tensors())
        let gguf = try GGUF.open(folder("a"))
        try GGUFWriter.write(
            folder("b"),
            metadata: gguf.pairs.map { ($0.key, .copy(gguf, $0)) },
            tensors: WeightStore(gguf).all.map { OutgoingTensor($0) }
        )
        #expect(try contents(folder("a")) == contents(folder("b")))
    }

    @Test("tensors of a safetensors file are the same in a GGUF file")
    func fromSafetensors() throws {
        let folder = try ScratchFolder()
        let source = try WeightStore.open(fixture("models/checkpoints/vl2-mla-full/model.safetensors"))
        let names = source.all.filter { $0.shape.count <= 4 && $0.name.utf8.count < 64 }
        try GGUFWriter.write(folder("x"), metadata: [], tensors: names.map { OutgoingTensor($0) })
        // No name ends in .gguf: the first bytes tell.
        let copy = try WeightStore.open(folder("x"))
        #expect(copy.count == names.count && copy.count > 50)
        for tensor in names {
            let found = try copy.tensor(named: tensor.name)
            #expect(found.shape == tensor.shape && found.dtype == tensor.dtype)
            #expect(found.bytes.elementsEqual(tensor.bytes), "\(tensor.name)")
        }
    }

    @Test("what a file may not hold is refused and leaves no file")
    func refusesToWrite() throws {
        let folder = try ScratchFolder()
        func fault(
            _ metadata: [(key: String, value: GGUFWriter.Value)],
            _ tensors: [OutgoingTensor],
            alignment: Int = 32
        ) -> String {
            do throws(FormatError) {
                try GGUFWriter.write(folder("x"), metadata: metadata, tensors: tensors, alignment: alignment)
                return "written"
            } catch {
                return error.description
            }
        }
        func tensor(_ name: String, _ dtype: StoredDType, _ shape: [Int], _ count: Int) -> OutgoingTensor {
            OutgoingTensor(name: name, dtype: dtype, shape: shape, bytes: [UInt8](repeating: 0, count: count))
        }
        #expect(fault([("a", .bool(true)), ("a", .bool(true))], []).contains("found it twice"))
        #expect(fault([("", .bool(true))], []).contains("found an empty one"))
        #expect(fault([], [tensor("t", .uint8, [1], 1)]).contains("element type of GGUF, found U8"))
        #expect(fault([], [tensor("t", .q4_0, [2, 16], 18)]).contains("whole Q4_0 blocks of 32"))
        #expect(fault([], [tensor("t", .int8, [1, 1, 1, 1, 1], 1)]).contains("at most 4 dimensions"))
        #expect(fault([], [tensor("t", .int8, [2], 1)]).contains("expected 2 bytes"))
        #expect(fault([], [tensor("t", .int8, [1], 2)]).contains("expected 1 bytes"))
        #expect(fault([], [tensor("t", .int8, [1], 1), tensor("t", .int8, [1], 1)]).contains("twice"))
        #expect(fault([], [tensor(String(repeating: "n", count: 64), .int8, [1], 1)]).contains("at most 63"))
        #expect(fault([], [], alignment: 24).contains("power of two"))
        #expect(try folder.names.isEmpty)
    }

    @Test("a file cut at any byte, or with any bit of it changed, is read or refused, and never crashes")
    func survives() throws {
        let folder = try ScratchFolder()
        try GGUFWriter.write(folder("x"), metadata: Self.metadata, tensors: Self.tensors())
        let good = try contents(folder("x"))
        var refused = 0
        func tryOpening(_ bytes: [UInt8]) throws {
            let path = try folder.write("y.gguf", bytes)
            do throws(FormatError) {
                let gguf = try GGUF.open(path)
                for pair in gguf.pairs {
                    if let array = gguf.value(of: pair).asArray { _ = array.prefix(3) }
                }
                for tensor in WeightStore(gguf).all { _ = tensor.bytes.reduce(0) { $0 &+ Int($1) } }
            } catch {
                refused += 1
                #expect(error.description.contains("expected"), "\(error)")
            }
        }
        for count in 0..<good.count { try tryOpening(Array(good.prefix(count))) }
        // Only the padding behind the last tensor may be missing.
        #expect(refused >= good.count - 32)
        let before = refused
        var generator = SeededGenerator(state: 1)
        for index in good.indices {
            var bytes = good
            bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            try tryOpening(bytes)
        }
        #expect(refused > before + 100)
    }

    @Test("an error says what was expected and found")
    func words() {
        for (name, words) in [
            ("empty_file", "expected at least 24 bytes, found 0"),
            ("bad_magic", "expected the four bytes 'GGUF' first"),
            ("version_1", "found version 1"), ("version_big_endian", "found a big-endian file"),
            ("n_kv_huge", "pairs of metadata in a file of this size, found"),
            ("key_duplicate", "'general.name': expected each key once"),
            ("array_nested_deep", "expected no array within an array"),
            ("array_str_len_huge", "elements in the rest of the file, found"),
            ("align_not_power", "expected a power of two"), ("align_type", "a value of type"),
            ("type_removed", "expected an element type of GGUF, found the number 4"),
            ("row_not_k_blocks", "whole Q4_K blocks of 256 elements, found rows of 128"),
            ("offset_overlap", "an overlap with"), ("offset_misaligned", "a multiple of 32"),
            ("dims_product_wrap", "whose bytes can be counted"), ("n_dims_bad", "at most 4 dimensions"),
            ("data_truncated", "expected an end within"), ("bytes_past_end", "expected an end within"),
        ] {
            let error = #expect(throws: FormatError.self) {
                try WeightStore.open(fixture("badfiles/gguf/\(name).gguf"))
            }
            #expect(error?.description.contains(words) == true, "\(String(describing: error))")
        }
    }
}
