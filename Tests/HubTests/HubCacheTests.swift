#if Network
import Testing
import VLHub
import VLTestSupport

@Suite struct HubCacheTests {
    private let folder: ScratchFolder
    private let cache: HubCache
    private let commit = FakeRepository.commit
    private let reference: ModelReference

    init() throws {
        folder = try ScratchFolder()
        cache = HubCache(folder.path)
        reference = try ModelReference("org/name")
    }

    private func write(_ files: [String], revision: String = "main") throws {
        for file in files { try folder.write("models--org--name/snapshots/\(commit)/\(file)", []) }
        try folder.write("models--org--name/refs/\(revision)", Array(commit.utf8))
    }

    @Test("a model is found by branch, by tag with a slash, and by commit")
    func found() throws {
        try write(["config.json", "model.safetensors"])
        try write([], revision: "refs/pr/1")
        for name in ["org/name", "org/name@refs/pr/1", "org/name@\(commit)"] {
            let found = try cache.find(try ModelReference(name), needsWeights: true)
            #expect(found == folder("models--org--name/snapshots/\(commit)"))
            #expect(HubCache.repository(ofSnapshot: found) == "org/name")
        }
    }

    @Test("what was never downloaded is not found, and the error says how to get it")
    func notFound() throws {
        let error = #expect(throws: HubError.notCached(reference, cache: folder.path)) {
            try cache.find(reference, needsWeights: true)
        }
        #expect(error?.description.contains("deepseek-vl pull org/name") == true)
    }

    @Test("a snapshot without weights serves the commands that need none")
    func withoutWeights() throws {
        try write(["config.json", "tokenizer.json"])
        _ = try cache.find(reference, needsWeights: false)
        #expect(throws: HubError.self) { try cache.find(reference, needsWeights: true) }
    }

    @Test("a repository of one GGUF file is that file; of several, one must be named")
    func quantized() throws {
        try write(["a.gguf", "README.md"])
        #expect(try cache.find(reference, needsWeights: true).hasSuffix("/\(commit)/a.gguf"))
        try write(["b.gguf"])
        #expect(throws: HubError.self) { try cache.find(reference, needsWeights: true) }
    }

    @Test("a reference that is no commit leads nowhere", arguments: ["", "../../etc", "main", "0123"])
    func damaged(text: String) throws {
        try write(["config.json"])
        try folder.write("models--org--name/refs/main", Array(text.utf8))
        #expect(throws: HubError.self) { try cache.find(reference, needsWeights: false) }
    }

    @Test("links lead from a file to its blob, however deep the file lies")
    func links() {
        #expect(HubCache.link(file: "a", etag: "e") == "../../blobs/e")
        #expect(HubCache.link(file: "a/b/c", etag: "e") == "../../../../blobs/e")
    }

    @Test(
        "a folder that is no snapshot belongs to no repository",
        arguments: ["/a/b", "/models/x", "snapshots/1", ""]
    )
    func otherFolders(path: String) {
        #expect(HubCache.repository(ofSnapshot: path) == nil)
    }
}
#endif
