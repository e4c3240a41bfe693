import Foundation
import Testing
import VLFormats
import VLTestSupport

@Suite struct WeightStoreTests {
    @Test("a folder of shards is opened through its index, and a tensor counts as read when somebody took it")
    func opensShards() throws {
        for path in ["index_ok", "index_ok/", "index_ok/model.safetensors.index.json"] {
            let store = try WeightStore.open(fixture("badfiles/safetensors/\(path)"))
            #expect(store.files == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"])
            #expect(store.names == ["mdokjdfj", "giasmlpz"] && store.unread == store.names)
            #expect(store.peek("giasmlpz")?.file == "model-00002-of-00002.safetensors")
            let tensor = try store.tensor(named: "giasmlpz")
            tensor.advise(.willNeed)
            #expect(tensor.bytes.count == 4 && store.unread == ["mdokjdfj"])
            #expect(throws: FormatError.unreadTensors(["mdokjdfj"], checkpoint: store.path)) {
                try store.requireAllRead()
            }
            try store.requireAllRead { $0 == "mdokjdfj" }
            #expect(throws: FormatError.noTensor("x", checkpoint: store.path)) {
                try store.tensor(named: "x")
            }
        }
    }

    @Test("a folder with one file is opened, and the index goes before it")
    func opensSingle() throws {
        let folder = try ScratchFolder()
        let tensor = SafetensorsWriter.Tensor(name: "t", dtype: .uint8, shape: [2], bytes: [1, 2])
        try SafetensorsWriter.write(folder("model.safetensors"), tensors: [tensor])
        #expect(try WeightStore.open(folder.path).files == ["model.safetensors"])
        try SafetensorsWriter.write(folder("part.safetensors"), tensors: [tensor])
        let index = "{\"weight_map\":{\"t\":\"part.safetensors\"}}"
        try AtomicFile.write(folder("model.safetensors.index.json"), Array(index.utf8))
        #expect(try WeightStore.open(folder.path).files == ["part.safetensors"])
    }

    @Test("a folder with one safetensors file of another name is opened, with two it is not")
    func opensOtherName() throws {
        let folder = try ScratchFolder()
        let tensor = SafetensorsWriter.Tensor(name: "t", dtype: .uint8, shape: [2], bytes: [1, 2])
        let name = "gptq_model-4bit-128g.safetensors"
        try SafetensorsWriter.write(folder(name), tensors: [tensor])
        #expect(try WeightStore.open(folder.path).files == [name])
        try SafetensorsWriter.write(folder("other.safetensors"), tensors: [tensor])
        let wanted = ["model.safetensors.index.json", "model.safetensors"]
        #expect(throws: FormatError.noCheckpoint(folder: folder.path, wanted: wanted)) {
            try WeightStore.open(folder.path)
        }
    }

    @Test("bytes stay valid after the store is gone")
    func keepsMapping() throws {
        let folder = try ScratchFolder()
        let bytes = [UInt8](repeating: 9, count: 100_000)
        try SafetensorsWriter.write(
            folder("x.safetensors"),
            tensors: [.init(name: "t", dtype: .uint8, shape: [100_000], bytes: bytes)]
        )
        let tensor = try WeightStore.open(folder("x.safetensors")).tensor(named: "t")
        #expect(tensor.bytes.elementsEqual(bytes))
    }

    @Test("a folder without a checkpoint is one error that says what was looked for")
    func refusesEmptyFolder() throws {
        let folder = try ScratchFolder()
        let error = #expect(throws: FormatError.self) { try WeightStore.open(folder.path) }
        #expect(
            error?.description
                == "\(folder.path): expected 'model.safetensors.index.json' or 'model.safetensors', "
                + "found none of them"
        )
        let missing = #expect(throws: FormatError.self) { try WeightStore.open(folder("none")) }
        #expect(missing?.description == "\(folder("none")): open: no such file or directory")
    }

    @Test("a shard that holds more than the index lists is refused")
    func refusesUnlisted() throws {
        let folder = try ScratchFolder()
        try SafetensorsWriter.write(
            folder("a.safetensors"),
            tensors: ["t", "u"].map { .init(name: $0, dtype: .uint8, shape: [1], bytes: [1]) }
        )
        let index = "{\"weight_map\":{\"t\":\"a.safetensors\"}}"
        try AtomicFile.write(folder("model.safetensors.index.json"), Array(index.utf8))
        #expect(throws: FormatError.wrongShard(tensor: "u", expected: nil, found: folder("a.safetensors"))) {
            try WeightStore.open(folder.path)
        }
    }

    @Test(
        "a shard's name that is no plain file name is refused before anything is opened",
        arguments: [
            "", ".safetensors", "..safetensors", "/etc/x.safetensors", "a/b.safetensors",
            "..\\\\b.safetensors", "a.bin",
            "a.safetensors\\n", "model.safetensors.index.json", "\\u0000.safetensors",
            "https://h/a.safetensors",
            String(repeating: "a", count: 250) + ".safetensors",
        ]
    )
    func refusesNames(_ name: String) throws {
        let folder = try ScratchFolder()
        let index = "{\"weight_map\":{\"t\":\"\(name)\"}}"
        try AtomicFile.write(folder("model.safetensors.index.json"), Array(index.utf8))
        let error = #expect(throws: FormatError.self) { try WeightStore.open(folder.path) }
        guard case .shardName? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("many threads may read at once")
    func isShared() async throws {
        let folder = try ScratchFolder()
        let tensors = (0..<200).map {
            SafetensorsWriter.Tensor(name: "t\($0)", dtype: .uint8, shape: [1], bytes: [UInt8($0)])
        }
        try SafetensorsWriter.write(folder("x.safetensors"), tensors: tensors)
        let store = try WeightStore.open(folder("x.safetensors"))
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<200 { group.addTask { Int(try store.tensor(named: "t\(index)").bytes[0]) } }
            return try await group.reduce(0, +)
        }
        #expect(sum == 199 * 100 && store.unread.isEmpty)
    }
}
