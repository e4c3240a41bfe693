#if Network
import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import VLFormats
import VLHub
import VLJSON

/// Downloads one file of a commit into the cache: locked, resumed, checked, renamed.
struct BlobDownload: Sendable {
    let reference: ModelReference
    let commit: String
    let cache: HubCache
    let connection: HubConnection
    let rule: RetryRule

    /// A file whose size and contents' name are known.
    struct Target: Equatable, Sendable {
        let name: String
        let size: Int
        let content: ContentName
    }

    /// Tells what happens to a file.
    typealias Observer = @Sendable (PullEvent) -> Void

    /// The path of a file's blob.
    func blob(_ target: Target) -> String { "\(cache.blobs(reference.repository))/\(target.content.text)" }

    /// Whether the cache has a file's contents whole.
    func isPresent(_ target: Target) -> Bool { Disk.fileSize(blob(target)) == target.size }

    /// Bytes of a file's contents that an earlier run left.
    func partialSize(_ target: Target) -> Int { Disk.fileSize(blob(target) + ".incomplete") ?? 0 }

    // MARK: What the hub says of a file

    /// Completes what the listing says of a file, with a request only if something is missing.
    func target(_ file: RepositoryListing.File) async throws(PullError) -> Target {
        if let size = file.size, let content = file.content {
            return Target(name: file.name, size: size, content: content)
        }
        let url = connection.file(file.name, repository: reference.repository, commit: commit)
        var state = RetryState(rule)
        while true {
            do throws(PullError) {
                let headers = try await connection.send(.HEAD, url, reach: .hub).hubHeaders
                return try target(file, headers, place: url.place)
            } catch {
                try await state.wait(after: error)
            }
        }
    }

    private func target(
        _ file: RepositoryListing.File,
        _ headers: HTTPHeaders,
        place: String
    ) throws(PullError) -> Target {
        try checkCommit(headers, place)
        let tag = headers.first(name: "X-Linked-Etag") ?? headers.first(name: "ETag")
        let length = headers.first(name: "X-Linked-Size") ?? headers.first(name: "Content-Length")
        guard let content = file.content ?? tag.flatMap({ ContentName(etag: ContentName.unquoted($0)) })
        else {
            throw .answer(
                place: place,
                expected: "an entity tag",
                found: tag.map { "'\($0.excerpt())'" } ?? "none"
            )
        }
        guard let size = file.size ?? length.flatMap(Int.init), size >= 0 else {
            throw .answer(
                place: place,
                expected: "a size",
                found: length.map { "'\($0.excerpt())'" } ?? "none"
            )
        }
        return Target(name: file.name, size: size, content: content)
    }

    private func checkCommit(_ headers: HTTPHeaders, _ place: String) throws(PullError) {
        if let found = headers.first(name: "X-Repo-Commit"), found != commit {
            throw .answer(place: place, expected: "the commit \(commit)", found: "'\(found.excerpt())'")
        }
    }

    // MARK: Download

    /// Makes sure that the cache has a file's contents, and links the file to them.
    ///
    /// - Returns: the bytes that were received for it; nil if the cache had it.
    func fetch(_ target: Target, _ observer: Observer) async throws(PullError) -> Int? {
        let link = "\(cache.snapshot(reference.repository, commit: commit))/\(target.name)"
        let text = HubCache.link(file: target.name, etag: target.content.text)
        // Where there are no links, the file stands in place of its link.
        if Disk.fileSize(link) == target.size && (isPresent(target) || !Disk.isLink(link)) {
            observer(.finished(target.name, wasCached: true))
            return nil
        }
        let lock = try await FileLock.take(
            cache.lock(reference.repository, etag: target.content.text),
            onWait: { observer(.waiting(target.name, reason: "another download of it", seconds: nil)) }
        )
        let received = isPresent(target) ? nil : try await download(target, observer)
        try Disk.link(link, to: text, blob: blob(target))
        lock.release()
        observer(.finished(target.name, wasCached: received == nil))
        return received
    }

    /// - Returns: bytes received.
    private func download(_ target: Target, _ observer: Observer) async throws(PullError) -> Int {
        try Disk.createFolder(cache.blobs(reference.repository))
        var file = try PartialFile.open(
            blob(target) + ".incomplete",
            name: target.name,
            content: target.content,
            size: target.size
        )
        observer(.began(target.name, resumedAt: file.count))
        // What an earlier run left may be wrong: once, everything is fetched anew.
        var mayRestart = file.count > 0
        var state = RetryState(rule)
        while true {
            let before = file.count
            do throws(PullError) {
                if !file.isWhole { try await transfer(target, into: &file, observer) }
                try file.verify()
                break
            } catch {
                if mayRestart, Self.isAboutWhatIsThere(error) {
                    mayRestart = false
                    try file.restart()
                    observer(.restarted(target.name))
                    continue
                }
                if case .hash = error {
                    file.discard()
                    throw error
                }
                try await state.wait(after: error, hasProgress: file.count > before) { wait in
                    observer(.waiting(target.name, reason: "\(error)", seconds: wait.seconds))
                }
            }
        }
        let received = file.received
        try file.commit(as: blob(target))
        return received
    }

    /// Whether an error can come from the bytes that the download went on from.
    private static func isAboutWhatIsThere(_ error: PullError) -> Bool {
        switch error {
        case .hash, .status(_, 412, _, _), .status(_, 416, _, _): true
        default: false
        }
    }

    /// Fetches what is missing with one request.
    private func transfer(
        _ target: Target,
        into file: inout PartialFile,
        _ observer: Observer
    ) async throws(PullError) {
        let url = connection.file(target.name, repository: reference.repository, commit: commit)
        let start = file.count
        let answer = try await connection.send(
            .GET,
            url,
            headers: start > 0 ? [("Range", "bytes=\(start)-")] : [],
            // Other hosts have entity tags of their own; there, size and hash tell what has changed.
            hubHeaders: start > 0 ? [("If-Match", "\"\(target.content.text)\"")] : []
        )
        try checkCommit(answer.hubHeaders, url.place)
        try checkTag(answer.hubHeaders, target)
        let response = answer.response
        if response.status.code == 206 {
            try checkRange(response.headers, target, start: start, place: answer.url.place)
        } else {
            let length = response.headers.first(name: "Content-Length").flatMap(Int.init)
            if let length, length != target.size {
                throw .size(file: target.name, expected: target.size, found: length)
            }
            if start > 0 {
                try file.restart()
                observer(.restarted(target.name))
            }
        }
        do {
            for try await part in response.body {
                try part.withUnsafeReadableBytes { bytes in try file.write(bytes) }
                observer(.received(target.name, bytes: part.readableBytes))
            }
        } catch {
            throw HubConnection.broken(error, answer.url)
        }
        guard file.isWhole else {
            throw .connection(
                place: answer.url.place,
                reason: "expected \(target.size) bytes, found the end after \(file.count)"
            )
        }
    }

    /// Checks that the hub still means the contents that it listed.
    private func checkTag(_ headers: HTTPHeaders, _ target: Target) throws(PullError) {
        guard let tag = headers.first(name: "X-Linked-Etag") ?? headers.first(name: "ETag") else { return }
        let found = ContentName.unquoted(tag)
        // A mirror may have tags of its own, which say nothing.
        if case .opaque? = ContentName(etag: found), found != target.content.text { return }
        guard found == target.content.text else {
            throw .changed(file: target.name, expected: target.content.text, found: found)
        }
    }

    private func checkRange(
        _ headers: HTTPHeaders,
        _ target: Target,
        start: Int,
        place: String
    ) throws(PullError) {
        let found = headers.first(name: "Content-Range") ?? "none"
        let expected = "bytes \(start)-\(target.size - 1)/\(target.size)"
        guard found == expected else {
            throw .answer(place: place, expected: "the range '\(expected)'", found: "'\(found.excerpt())'")
        }
    }
}

extension Duration {
    /// Seconds and their fraction.
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
#endif
