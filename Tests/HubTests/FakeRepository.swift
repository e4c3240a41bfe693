#if Network
import Crypto
import Foundation
import Synchronization
import VLHub
import VLPull
import VLTestSupport

/// A repository as the hub would serve it.
struct FakeRepository: Sendable {
    struct File: Sendable {
        var name: String
        var bytes: [UInt8]
        var isLarge: Bool

        var sha256: String { hexadecimal(SHA256.hash(data: bytes)) }
        var blob: String {
            hexadecimal(Insecure.SHA1.hash(data: Array("blob \(bytes.count)\0".utf8) + bytes))
        }
        var etag: String { isLarge ? sha256 : blob }
    }

    static let name = "org/model"
    static let commit = "0123456789abcdef0123456789abcdef01234567"

    var files: [File]
    var hasSizes = true

    /// A checkpoint in one file, with what belongs to it and what nobody needs.
    static let single = FakeRepository([
        ("config.json", #"{"model_type": "x"}"#), ("tokenizer.json", "{}"), ("README.md", "# model"),
        ("LICENSE-MODEL", "licence"), ("training.log", "not needed"), ("onnx/model.onnx", "not needed"),
        ("model.safetensors", String(repeating: "0123456789", count: 30_000)),
    ])

    /// A checkpoint in two parts.
    static let parts = FakeRepository([
        ("config.json", "{}"),
        (
            "model.safetensors.index.json",
            #"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#
        ),
        ("model-1.safetensors", "one"), ("model-2.safetensors", "two"), ("model-3.safetensors", "not listed"),
        ("pytorch_model.bin", "not needed"),
    ])

    init(_ files: [(String, String)]) {
        self.files = files.map { name, text in
            let isLarge = [".safetensors", ".bin", ".gguf"].contains { name.hasSuffix($0) }
            return File(name: name, bytes: Array(text.utf8), isLarge: isLarge)
        }
    }

    /// The files of the model that ships with the package.
    static func bundled() throws -> FakeRepository {
        let folder = packageFolder("Models/shapes-vl2")
        var repository = FakeRepository([])
        for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted() {
            let isLarge = name.hasSuffix(".safetensors")
            repository.files.append(
                File(name: name, bytes: try contents("\(folder)/\(name)"), isLarge: isLarge)
            )
        }
        return repository
    }

    subscript(_ name: String) -> File { files.first { $0.name == name } ?? files[0] }

    /// The hub's answer to a request.
    func reply(_ request: LoopbackHub.Request) -> LoopbackHub.Reply {
        let path = request.path.split(separator: "?")[0].removingPercentEncoding ?? ""
        let prefix = "/\(Self.name)/resolve/\(Self.commit)/"
        if path.hasPrefix("/api/models/\(Self.name)/revision/") {
            return LoopbackHub.Reply(body: Array(listing.utf8))
        }
        guard path.hasPrefix(prefix), let file = files.first(where: { prefix + $0.name == path }) else {
            return LoopbackHub.Reply(status: 404, headers: ["X-Error-Code": "RepoNotFound"])
        }
        return Self.content(file, request, ["X-Repo-Commit": Self.commit, "ETag": "\"\(file.etag)\""])
    }

    /// A file's bytes, or the part that is asked for.
    static func content(
        _ file: File,
        _ request: LoopbackHub.Request,
        _ headers: [String: String] = [:]
    ) -> LoopbackHub.Reply {
        var reply = LoopbackHub.Reply(headers: headers, body: file.bytes)
        if let range = request.headers["range"], let start = Int(range.dropFirst(6).dropLast()) {
            reply.status = 206
            reply.headers["Content-Range"] = "bytes \(start)-\(file.bytes.count - 1)/\(file.bytes.count)"
            reply.body = Array(file.bytes[start...])
        }
        return reply
    }

    private var listing: String {
        let siblings = files.map { file -> String in
            let name = #""rfilename": "\#(file.name)""#
            guard hasSizes else { return "{\(name)}" }
            let large =
                file.isLarge ? #", "lfs": {"sha256": "\#(file.sha256)", "size": \#(file.bytes.count)}"# : ""
            return #"{\#(name), "size": \#(file.bytes.count), "blobId": "\#(file.blob)"\#(large)}"#
        }
        return
            #"{"id": "\#(Self.name)", "sha": "\#(Self.commit)", "siblings": [\#(siblings.joined(separator: ", "))]}"#
    }
}

/// A path below the package's folder.
func packageFolder(_ path: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent(path).path
}

private func hexadecimal(_ digest: some Sequence<UInt8>) -> String {
    digest.map { String(format: "%02x", $0) }.joined()
}

/// A hub, an empty cache, and a record of the waits, which take no time.
final class PullFixture {
    let hub: LoopbackHub
    let folder: ScratchFolder
    let waits = Waits()
    var puller: Puller
    var settings: HubSettings

    final class Waits: Sendable {
        private let list = Mutex<[Duration]>([])
        var all: [Duration] { list.withLock { $0 } }
        func add(_ wait: Duration) { list.withLock { $0.append(wait) } }
    }

    /// - Parameter fault: an answer in place of the repository's; gets the request and how many like it came before.
    init(
        _ repository: FakeRepository = .single,
        token: String? = nil,
        fault: @escaping @Sendable (LoopbackHub.Request, Int) -> LoopbackHub.Reply? = { _, _ in nil }
    ) throws {
        hub = try LoopbackHub { request, earlier in fault(request, earlier) ?? repository.reply(request) }
        folder = try ScratchFolder()
        settings = HubSettings(cache: folder("hub"), endpoint: hub.endpoint, token: token)
        puller = Puller(settings)
        puller.idle = .seconds(5)
        puller.rule.sleep = { [waits] in waits.add($0) }
        puller.rule.jitter = { 0 }
    }

    deinit { hub.stop() }

    var cache: HubCache { HubCache(settings.cache) }
    var snapshot: String { cache.snapshot(FakeRepository.name, commit: FakeRepository.commit) }
    var blobs: String { cache.blobs(FakeRepository.name) }

    func pull(
        _ name: String = FakeRepository.name,
        isDry: Bool = false,
        observer: @escaping @Sendable (PullEvent) -> Void = { _ in }
    ) async throws -> PullReport {
        try await puller.pull(try ModelReference(name), isDry: isDry, observer: observer)
    }

    /// The requests for files' contents.
    var downloads: [LoopbackHub.Request] { hub.requests.filter { $0.path.contains("/resolve/") } }
}
#endif
