#if Network
import Foundation
import Synchronization
import Testing
import VLFormats
import VLHub
import VLPull
import VLTestSupport

/// A number that several threads see.
private final class Counter: Sendable {
    private let number = Mutex(0)
    var value: Int { number.withLock { $0 } }
    func add(_ count: Int) { number.withLock { $0 += count } }
}

@Suite(.timeLimit(.minutes(1))) struct PullFaultTests {
    private static let weights = FakeRepository.single["model.safetensors"]

    /// Whether a request is for the weights.
    private static func isWeights(_ request: LoopbackHub.Request) -> Bool {
        request.path.hasSuffix("/model.safetensors")
    }

    private func incomplete(_ test: PullFixture) -> [String] {
        let names = try? FileManager.default.contentsOfDirectory(atPath: test.blobs)
        return (names ?? []).filter { $0.hasSuffix(".incomplete") }
    }

    /// The error of a download that must fail.
    private func failure(_ puller: Puller, _ reference: ModelReference) async -> PullError? {
        do throws(PullError) {
            _ = try await puller.pull(reference)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Connections that break

    @Test("a connection that is cut is gone on with where it broke, and the bytes are the same")
    func cut() async throws {
        let taken = Counter()
        let test = try PullFixture { request, earlier in
            guard Self.isWeights(request), earlier < 3 else { return nil }
            var reply = FakeRepository.content(Self.weights, request)
            reply.claimedLength = reply.body.count
            reply.cutAfter = 50_000
            reply.cutWhen = { taken.value >= 50_000 * (earlier + 1) }
            return reply
        }
        let report = try await test.pull { event in
            if case .received("model.safetensors", let bytes) = event { taken.add(bytes) }
        }
        #expect(try contents("\(test.snapshot)/model.safetensors") == Self.weights.bytes)
        let ranges = test.downloads.filter(Self.isWeights).map { $0.headers["range"] }
        #expect(ranges == [nil, "bytes=50000-", "bytes=100000-", "bytes=150000-"])
        #expect(test.downloads.filter(Self.isWeights).last?.headers["if-match"] == "\"\(Self.weights.etag)\"")
        // Each try brought something, so no wait is longer than the first.
        #expect(test.waits.all == Array(repeating: .milliseconds(250), count: 3))
        #expect(report.receivedBytes == report.bytes)
    }

    @Test("a server that never gets anywhere is given up after ever longer waits")
    func neverAnything() async throws {
        let test = try PullFixture { request, _ in
            Self.isWeights(request) ? LoopbackHub.Reply(claimedLength: 300_000, cutAfter: 0) : nil
        }
        await #expect(throws: PullError.self) { try await test.pull() }
        #expect(test.waits.all == [250, 500, 1000, 2000, 4000].map { .milliseconds($0) })
        #expect(!FileManager.default.fileExists(atPath: test.snapshot + "/config.json"))
        #expect(
            !FileManager.default.fileExists(atPath: test.cache.reference(try ModelReference("org/model")))
        )
    }

    @Test("nobody listens: the error says so")
    func nobody() async throws {
        let test = try PullFixture()
        test.hub.stop()
        var settings = test.settings
        // A port of its own kind: nothing can listen there.
        settings.endpoint = "http://127.0.0.1:1"
        var puller = Puller(settings)
        puller.rule.attempts = 1
        let reference = try ModelReference("org/model")
        let error = await failure(puller, reference)
        guard case .connection? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("what a killed run left is gone on with")
    func leftover() async throws {
        let test = try PullFixture()
        let path = "hub/models--org--model/blobs/\(Self.weights.etag).incomplete"
        try test.folder.write(path, Array(Self.weights.bytes.prefix(123_456)))
        let report = try await test.pull()
        #expect(test.downloads.first(where: Self.isWeights)?.headers["range"] == "bytes=123456-")
        #expect(try contents("\(test.snapshot)/model.safetensors") == Self.weights.bytes)
        #expect(report.receivedBytes == report.bytes - 123_456)
        #expect(incomplete(test).isEmpty)
    }

    @Test("a whole file that lacks only its name is checked and named without a request")
    func wholeLeftover() async throws {
        let test = try PullFixture()
        let path = "hub/models--org--model/blobs/\(Self.weights.etag).incomplete"
        try test.folder.write(path, Self.weights.bytes)
        _ = try await test.pull()
        #expect(!test.downloads.contains(where: Self.isWeights))
        #expect(try contents("\(test.snapshot)/model.safetensors") == Self.weights.bytes)
    }

    @Test(
        "leftovers with other bytes, or too many, are thrown away and fetched anew",
        arguments: [100_000, 300_000, 400_000]
    )
    func wrongLeftover(count: Int) async throws {
        let test = try PullFixture()
        let path = "hub/models--org--model/blobs/\(Self.weights.etag).incomplete"
        try test.folder.write(path, [UInt8](repeating: 7, count: count))
        _ = try await test.pull()
        #expect(try contents("\(test.snapshot)/model.safetensors") == Self.weights.bytes)
    }

    @Test("a server that does not know ranges starts the file anew")
    func ignoresRange() async throws {
        let test = try PullFixture { request, _ in
            Self.isWeights(request) ? LoopbackHub.Reply(body: Self.weights.bytes) : nil
        }
        try test.folder.write(
            "hub/models--org--model/blobs/\(Self.weights.etag).incomplete",
            Array(Self.weights.bytes.prefix(1000))
        )
        _ = try await test.pull()
        #expect(try contents("\(test.snapshot)/model.safetensors") == Self.weights.bytes)
    }

    @Test("a server that finds what is there out of date starts the file anew", arguments: [412, 416])
    func preconditionFailed(status: Int) async throws {
        let test = try PullFixture { request, _ in
            let isResumed = Self.isWeights(request) && request.headers["range"] != nil
            return isResumed ? LoopbackHub.Reply(status: status) : nil
        }
        try test.folder.write(
            "hub/models--org--model/blobs/\(Self.weights.etag).incomplete",
            Array(Self.weights.bytes.prefix(1000))
        )
        _ = try await test.pull()
        #expect(try contents("\(test.snapshot)/model.safetensors") == Self.weights.bytes)
    }

    @Test("another range than the one asked for is refused")
    func wrongRange() async throws {
        let test = try PullFixture { request, _ in
            guard Self.isWeights(request) else { return nil }
            let headers = ["Content-Range": "bytes 0-299999/300000"]
            return LoopbackHub.Reply(status: 206, headers: headers, body: Self.weights.bytes)
        }
        let path = "hub/models--org--model/blobs/\(Self.weights.etag).incomplete"
        try test.folder.write(path, Array(Self.weights.bytes.prefix(1000)))
        await #expect(throws: PullError.self) { try await test.pull() }
    }

    // MARK: Contents that are not what they should be

    @Test("more or fewer bytes than listed are refused", arguments: [299_999, 300_001, 0])
    func wrongLength(count: Int) async throws {
        let test = try PullFixture { request, _ in
            guard Self.isWeights(request) else { return nil }
            return LoopbackHub.Reply(body: [UInt8](repeating: 1, count: count))
        }
        await #expect(throws: PullError.size(file: "model.safetensors", expected: 300_000, found: count)) {
            try await test.pull()
        }
        #expect(!FileManager.default.fileExists(atPath: "\(test.snapshot)/model.safetensors"))
    }

    @Test("a body without end is cut off at the listed size")
    func endless() async throws {
        let test = try PullFixture { request, _ in
            guard Self.isWeights(request) else { return nil }
            // In chunks, no length is told beforehand.
            let chunk =
                Array("493E1\r\n".utf8) + [UInt8](repeating: 1, count: 300_001) + Array("\r\n0\r\n\r\n".utf8)
            return LoopbackHub.Reply(headers: ["Transfer-Encoding": "chunked"], body: chunk)
        }
        await #expect(throws: PullError.self) { try await test.pull() }
        #expect(!FileManager.default.fileExists(atPath: "\(test.snapshot)/model.safetensors"))
    }

    @Test("bytes with another hash are thrown away", arguments: ["model.safetensors", "tokenizer.json"])
    func wrongHash(name: String) async throws {
        let file = FakeRepository.single[name]
        let test = try PullFixture { request, _ in
            guard request.path.hasSuffix("/" + name) else { return nil }
            return LoopbackHub.Reply(body: file.bytes.map { $0 ^ 1 })
        }
        let error = await #expect(throws: PullError.self) { try await test.pull() }
        guard case .hash(let found, _, let expected, _)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(found == name && expected == file.etag)
        #expect(!FileManager.default.fileExists(atPath: "\(test.snapshot)/\(name)"))
        #expect(!FileManager.default.fileExists(atPath: "\(test.blobs)/\(file.etag).incomplete"))
        // Nobody finds a model that is not whole.
        #expect(throws: HubError.self) {
            try test.cache.find(try ModelReference("org/model"), needsWeights: false)
        }
    }

    @Test("a hub that offers other contents than it listed is refused")
    func changed() async throws {
        let other = String(repeating: "a", count: 64)
        let test = try PullFixture { request, _ in
            guard Self.isWeights(request) else { return nil }
            return LoopbackHub.Reply(headers: ["X-Linked-Etag": "\"\(other)\""], body: Self.weights.bytes)
        }
        await #expect(
            throws: PullError.changed(file: "model.safetensors", expected: Self.weights.etag, found: other)
        ) { try await test.pull() }
    }

    // MARK: Statuses

    @Test(
        "refusals come at once and say what to do",
        arguments: [
            (401, "", "HF_TOKEN"), (403, "GatedRepo", "grant"), (404, "RepoNotFound", "name may be wrong"),
            (404, "RevisionNotFound", "the revision 'main'"), (401, "GatedRepo", "grant"),
        ]
    )
    func refusals(status: Int, code: String, words: String) async throws {
        let test = try PullFixture { _, _ in
            LoopbackHub.Reply(status: status, headers: code.isEmpty ? [:] : ["X-Error-Code": code])
        }
        let error = await #expect(throws: PullError.self) { try await test.pull() }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        #expect(test.hub.requests.count == 1 && test.waits.all.isEmpty)
    }

    @Test("too many requests: the wait that the hub asks for is kept")
    func retryAfter() async throws {
        let test = try PullFixture { request, earlier in
            guard earlier == 0 else { return nil }
            return LoopbackHub.Reply(status: 429, headers: ["Retry-After": "17"])
        }
        _ = try await test.pull()
        #expect(test.waits.all.count == 6 && test.waits.all.allSatisfy { $0 == .seconds(17) })
    }

    @Test("a wait of a day is not waited for")
    func endlessWait() async throws {
        let test = try PullFixture { _, _ in
            LoopbackHub.Reply(status: 503, headers: ["Retry-After": "86400"])
        }
        await #expect(throws: PullError.self) { try await test.pull() }
        #expect(test.hub.requests.count == 1)
    }

    @Test(
        "errors of the server are tried again, and given up in the end",
        arguments: [500, 502, 503, 504, 408]
    )
    func serverErrors(status: Int) async throws {
        let passing = try PullFixture { request, earlier in
            Self.isWeights(request) && earlier < 2 ? LoopbackHub.Reply(status: status) : nil
        }
        _ = try await passing.pull()
        #expect(passing.waits.all == [.milliseconds(250), .milliseconds(500)])
        let lasting = try PullFixture { request, _ in
            Self.isWeights(request) ? LoopbackHub.Reply(status: status) : nil
        }
        await #expect(throws: PullError.self) { try await lasting.pull() }
        #expect(lasting.waits.all.count == 5)
    }

    @Test(
        "a listing that is no listing is refused",
        arguments: [
            "", "[]", "{", #"{"sha": "main", "siblings": []}"#, #"{"sha": "\#(FakeRepository.commit)"}"#,
            #"{"sha": "\#(FakeRepository.commit)", "siblings": [{}]}"#,
            #"{"sha": "\#(FakeRepository.commit)", "siblings": [{"rfilename": "model.safetensors", "size": -1}]}"#,
            #"{"sha": "\#(FakeRepository.commit)", "siblings": [{"rfilename": "a", "blobId": "../../x"}]}"#,
            #"{"sha": "\#(FakeRepository.commit)", "siblings": [{"rfilename": "a"}, {"rfilename": "a"}]}"#,
            #"{"sha": "\#(FakeRepository.commit)", "siblings": []}"#,
        ]
    )
    func badListing(text: String) async throws {
        let test = try PullFixture { _, _ in LoopbackHub.Reply(body: Array(text.utf8)) }
        await #expect(throws: PullError.self) { try await test.pull() }
        #expect(test.hub.requests.count == 1)
        #expect(try test.folder.names == [])
    }

    // MARK: Names that lead elsewhere

    @Test(
        "a repository whose files' names lead out of their folder is refused",
        arguments: [
            "../model.safetensors", "/etc/config.json", "a/../../x", #"a\\b"#, #"a\u0000"#, "a//b",
        ]
    )
    func traversal(name: String) async throws {
        let sibling =
            #"{"rfilename": "\#(name)", "size": 1, "blobId": "\#(String(repeating: "a", count: 40))"}"#
        let listing =
            #"{"sha": "\#(FakeRepository.commit)", "siblings": [{"rfilename": "model.safetensors"}, \#(sibling)]}"#
        let test = try PullFixture { _, _ in LoopbackHub.Reply(body: Array(listing.utf8)) }
        let error = await #expect(throws: PullError.self) { try await test.pull() }
        guard case .hub(.fileName)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try test.folder.names == [])
    }

    @Test(
        "an index whose parts are no files of the repository is refused",
        arguments: [
            "../model.safetensors", "other.safetensors", "config.json", "sub/x.safetensors",
        ]
    )
    func indexTraversal(part: String) async throws {
        let index = #"{"weight_map": {"a": "\#(part)"}}"#
        let files = [
            ("config.json", "{}"), ("sub/x.safetensors", "x"), ("model.safetensors.index.json", index),
        ]
        let test = try PullFixture(FakeRepository(files))
        await #expect(throws: PullError.self) { try await test.pull() }
    }

    // MARK: Redirections

    @Test("the token goes to the hub, and to no other host that the hub points to")
    func otherHost() async throws {
        let test = try PullFixture(token: "hf_secret") { request, _ in
            if request.path == "/cdn?signature=1" { return FakeRepository.content(Self.weights, request) }
            guard Self.isWeights(request), let port = request.headers["host"]?.split(separator: ":").last
            else {
                return nil
            }
            return LoopbackHub.Reply(
                status: 302,
                headers: ["Location": "http://localhost:\(port)/cdn?signature=1"]
            )
        }
        _ = try await test.pull()
        for request in test.hub.requests {
            let isHub = request.headers["host"]?.hasPrefix("127.0.0.1") == true
            #expect(request.headers["authorization"] == (isHub ? "Bearer hf_secret" : nil))
        }
        #expect(test.hub.requests.contains { $0.headers["host"]?.hasPrefix("localhost") == true })
    }

    @Test(
        "a redirection within the hub keeps the token",
        arguments: ["/moved", "moved", "//127.0.0.1:PORT/moved"]
    )
    func sameHost(location: String) async throws {
        let test = try PullFixture(token: "hf_secret") { request, _ in
            if request.path.hasSuffix("/moved") { return FakeRepository.content(Self.weights, request) }
            guard Self.isWeights(request), let port = request.headers["host"]?.split(separator: ":").last
            else {
                return nil
            }
            return LoopbackHub.Reply(
                status: 307,
                headers: ["Location": location.replacingOccurrences(of: "PORT", with: port)]
            )
        }
        _ = try await test.pull()
        #expect(test.hub.requests.allSatisfy { $0.headers["authorization"] == "Bearer hf_secret" })
    }

    @Test(
        "redirections that go round, or nowhere plain, are refused",
        arguments: [
            "", "/org/model/resolve/\(FakeRepository.commit)/model.safetensors", "file:///etc/passwd",
            "ftp://127.0.0.1/x", "http://user@127.0.0.1/x", "http://127.0.0.1:0/x", "http://ho st/",
            "javascript:1",
            "http://127.0.0.1\\@evil/x",
        ]
    )
    func badRedirections(location: String) async throws {
        let test = try PullFixture { request, _ in
            Self.isWeights(request) ? LoopbackHub.Reply(status: 302, headers: ["Location": location]) : nil
        }
        let error = await #expect(throws: PullError.self) { try await test.pull() }
        guard case .redirect? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(test.downloads.filter(Self.isWeights).count <= 11)
    }

    // MARK: Disks

    @Test("a disk without room is told before anything is downloaded")
    func noRoom() async throws {
        let test = try PullFixture()
        test.puller.freeSpace = { _ in 1000 }
        let error = await #expect(throws: PullError.self) { try await test.pull() }
        guard case .space(_, let needed, 1000)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(needed > 300_000)
        #expect(test.downloads.isEmpty)
    }

    @Test(
        "a disk that is full in the middle is an error, and the run after it goes on",
        .enabled(if: SmallDisk.isPossible)
    )
    func fullDisk() async throws {
        let test = try PullFixture()
        let disk = try SmallDisk(bytes: 128 * 1024)
        var settings = test.settings
        settings.cache = disk.path
        var puller = Puller(settings)
        puller.freeSpace = { _ in nil }
        puller.jobs = 1
        let reference = try ModelReference("org/model")
        let error = await failure(puller, reference)
        guard case .file(.system(_, .write, ENOSPC))? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        try disk.grow(bytes: 4 << 20)
        let report = try await puller.pull(reference)
        #expect(try contents(report.folder + "/model.safetensors") == Self.weights.bytes)
        #expect(report.files.first { $0.name == "model.safetensors" }.map { $0.received < $0.bytes } == true)
    }

    @Test("a folder that cannot be written is an error")
    func noFolder() async throws {
        let test = try PullFixture()
        try test.folder.write("hub", [])
        let error = await #expect(throws: PullError.self) { try await test.pull() }
        guard case .file? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }
}
#endif
