#if Network
import Foundation
import Testing
import VLHub
import VLPull
import VLTestSupport

@Suite(.timeLimit(.minutes(1))) struct PullTests {
    @Test("the files that a model needs come into the cache as huggingface_hub would lay them")
    func layout() async throws {
        let test = try PullFixture()
        let report = try await test.pull()
        let needed = ["config.json", "tokenizer.json", "README.md", "LICENSE-MODEL", "model.safetensors"]
        #expect(report.files.map(\.name) == needed)
        #expect(report.commit == FakeRepository.commit)
        #expect(report.folder == test.snapshot)
        #expect(report.receivedBytes == report.bytes)
        for name in needed {
            let file = FakeRepository.single[name]
            #expect(try contents("\(test.snapshot)/\(name)") == file.bytes)
            let link = try FileManager.default.destinationOfSymbolicLink(atPath: "\(test.snapshot)/\(name)")
            #expect(link == "../../blobs/\(file.etag)")
        }
        let blobs = try FileManager.default.contentsOfDirectory(atPath: test.blobs)
        #expect(Set(blobs) == Set(needed.map { FakeRepository.single[$0].etag }))
        let main = test.cache.reference(try ModelReference(FakeRepository.name))
        #expect(try contents(main) == Array(FakeRepository.commit.utf8))
        #expect(
            FileManager.default.fileExists(
                atPath: test.cache.absence(
                    FakeRepository.name,
                    commit: FakeRepository.commit,
                    file: "generation_config.json"
                )
            )
        )
        #expect(
            try contents(test.settings.cache + "/CACHEDIR.TAG").starts(
                with: "Signature: 8a477f597d28d172".utf8
            )
        )
        #expect(
            try test.cache.find(try ModelReference(FakeRepository.name), needsWeights: true) == test.snapshot
        )
    }

    @Test("of a checkpoint in parts, the parts that the index lists are fetched")
    func parts() async throws {
        let test = try PullFixture(.parts)
        let report = try await test.pull()
        #expect(
            report.files.map(\.name)
                == [
                    "config.json", "model.safetensors.index.json", "model-1.safetensors",
                    "model-2.safetensors",
                ]
        )
        #expect(report.receivedBytes == report.bytes)
    }

    @Test("a second run asks the hub for its list alone")
    func again() async throws {
        let test = try PullFixture(.parts)
        _ = try await test.pull()
        let before = test.hub.requests.count
        let report = try await test.pull()
        #expect(test.hub.requests.count == before + 1)
        #expect(report.receivedBytes == 0 && report.files.allSatisfy(\.wasCached))
    }

    @Test("what another program downloaded is linked, not fetched again")
    func shared() async throws {
        let test = try PullFixture()
        let weights = FakeRepository.single["model.safetensors"]
        try test.folder.write("hub/models--org--model/blobs/\(weights.etag)", weights.bytes)
        let report = try await test.pull()
        #expect(!test.hub.requests.contains { $0.path.hasSuffix("model.safetensors") })
        #expect(report.files.first { $0.name == weights.name }?.wasCached == true)
        #expect(try contents("\(test.snapshot)/model.safetensors") == weights.bytes)
    }

    @Test("a blob of the wrong size is fetched anew")
    func damagedBlob() async throws {
        let test = try PullFixture()
        let weights = FakeRepository.single["model.safetensors"]
        try test.folder.write("hub/models--org--model/blobs/\(weights.etag)", [1, 2, 3])
        _ = try await test.pull()
        #expect(try contents("\(test.snapshot)/model.safetensors") == weights.bytes)
    }

    @Test("a dry run lists everything and writes nothing", arguments: [FakeRepository.single, .parts])
    func dry(repository: FakeRepository) async throws {
        let test = try PullFixture(repository)
        let report = try await test.pull(isDry: true)
        #expect(report.files.count >= 4 && report.missingBytes == report.bytes && report.receivedBytes == 0)
        #expect(try test.folder.names == [])
    }

    @Test("a hub that lists names alone is asked for the rest file by file")
    func namesAlone() async throws {
        var repository = FakeRepository.single
        repository.hasSizes = false
        let test = try PullFixture(repository)
        let report = try await test.pull()
        #expect(test.hub.requests.contains { $0.method == "HEAD" })
        #expect(report.files.allSatisfy { $0.etag == repository[$0.name].etag })
    }

    @Test("a pattern takes the files that it matches in place of the weights")
    func include() async throws {
        let repository = FakeRepository([("README.md", "r"), ("m-Q4.gguf", "four"), ("m-Q8.gguf", "eight")])
        let test = try PullFixture(repository)
        let error = await #expect(throws: PullError.self) { try await test.pull() }
        #expect(error?.description.contains("--include") == true)
        test.puller.patterns = ["*Q4*"]
        let report = try await test.pull()
        #expect(report.files.map(\.name) == ["README.md", "m-Q4.gguf"])
        test.puller.patterns = ["*Q5*"]
        await #expect(throws: PullError.noMatch(pattern: "*Q5*", repository: FakeRepository.name)) {
            try await test.pull()
        }
    }

    @Test("a repository of pickled weights is refused with the reason")
    func pickled() async throws {
        let test = try PullFixture(FakeRepository([("config.json", "{}"), ("pytorch_model-1.bin", "x")]))
        let error = await #expect(throws: PullError.self) { try await test.pull() }
        #expect(error?.description.contains("pickle") == true)
        #expect(test.downloads.isEmpty)
    }

    @Test("no more files are fetched at once than allowed")
    func jobs() async throws {
        let files = (0..<12).map { ("LICENSE-\($0)", "text \($0)") }
        let test = try PullFixture(FakeRepository(files + [("model.safetensors", "w")]))
        test.puller.jobs = 2
        _ = try await test.pull()
        #expect(test.downloads.count == 13)
        #expect(test.hub.mostOpen <= 2)
    }

    @Test("without the network the cache answers, or says what is missing")
    func offline() async throws {
        let test = try PullFixture()
        var settings = test.settings
        settings.isOffline = true
        let puller = Puller(settings)
        let reference = try ModelReference(FakeRepository.name)
        await #expect(throws: PullError.self) { try await puller.pull(reference) }
        _ = try await test.pull()
        let before = test.hub.requests.count
        let report = try await puller.pull(reference)
        #expect(report.folder == test.snapshot && report.files.count == 5)
        #expect(test.hub.requests.count == before)
    }

    @Test(
        "an address that is no plain one is refused before anything is asked",
        arguments: [
            "huggingface.co", "ftp://h", "https://user:word@h", "https://", "http://h:99999", "https://h\\@x",
            "https://h?x=1",
        ]
    )
    func endpoint(text: String) async throws {
        let puller = Puller(HubSettings(cache: "/nowhere", endpoint: text, token: "hf_secret"))
        let reference = try ModelReference("org/model")
        await #expect(throws: PullError.endpoint(variable: "HF_ENDPOINT", found: text)) {
            try await puller.pull(reference)
        }
    }

    @Test("a mirror may lie below a path")
    func mirror() async throws {
        let test = try PullFixture()
        var settings = test.settings
        settings.endpoint += "/mirror"
        let puller = Puller(settings)
        let reference = try ModelReference("org/model")
        await #expect(throws: PullError.self) { try await puller.pull(reference) }
        #expect(test.hub.requests.first?.path == "/mirror/api/models/org/model/revision/main?blobs=true")
    }

    @Test("a request goes through the proxy that the settings name")
    func proxy() async throws {
        let test = try PullFixture()
        var settings = test.settings
        settings.endpoint = "http://hub.invalid"
        settings.proxy = test.hub.endpoint
        var changed = Puller(settings)
        changed.rule.attempts = 1
        let puller = changed
        let reference = try ModelReference("org/model")
        await #expect(throws: PullError.self) { try await puller.pull(reference) }
        #expect(test.hub.requests.first?.method == "CONNECT")
        #expect(test.hub.requests.first?.path == "hub.invalid:80")
    }

    @Test("whoever holds a file's lock is waited for")
    func lock() async throws {
        let test = try PullFixture()
        let weights = FakeRepository.single["model.safetensors"]
        let path = try test.folder.write("hub/.locks/models--org--model/\(weights.etag).lock", [])
        let other = open(path, O_RDWR)
        defer { close(other) }
        #expect(flock(other, LOCK_EX) == 0)
        let report = try await test.pull { event in
            if case .waiting("model.safetensors", _, nil) = event { flock(other, LOCK_UN) }
        }
        #expect(report.receivedBytes == report.bytes)
    }
}
#endif
