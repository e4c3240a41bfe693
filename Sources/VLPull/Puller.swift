#if Network
import VLFormats
import VLHub

/// Downloads a repository of the hub into the cache of `huggingface_hub`.
package struct Puller: Sendable {
    private let settings: HubSettings
    private let cache: HubCache

    /// Files that are fetched at the same time.
    package var jobs = 4
    /// Patterns of files to fetch in place of the safetensors weights.
    package var patterns: [String] = []
    /// When something that failed is tried again.
    package var rule = RetryRule()
    /// How long nothing may arrive until a connection counts as broken.
    package var idle = Duration.seconds(30)
    /// Bytes that the disk of a folder has left; nil if that is not known.
    package var freeSpace: @Sendable (String) -> Int? = { Disk.freeSpace($0) }

    /// The biggest repository whose sizes can be added up.
    private static let largest = 1 << 50
    private static let tag = """
        Signature: 8a477f597d28d172789f06886806bc55
        # This folder holds copies of what can be downloaded again.

        """

    /// A puller that has not begun.
    package init(_ settings: HubSettings) {
        self.settings = settings
        cache = HubCache(settings.cache)
    }

    /// Downloads what a model needs.
    ///
    /// The revision is recorded, and `config.json` linked, when everything else is in its place; so whoever finds
    /// the model finds it whole.
    ///
    /// - Parameters:
    ///   - isDry: only lists what there is; nothing is written.
    ///   - observer: called from several threads.
    /// - Throws: `PullError`.
    package func pull(
        _ reference: ModelReference,
        isDry: Bool = false,
        observer: @escaping @Sendable (PullEvent) -> Void = { _ in }
    ) async throws(PullError) -> PullReport {
        if settings.isOffline { return try offline(reference) }
        let connection = try HubConnection(settings, idle: idle)
        let result: Result<PullReport, PullError>
        do throws(PullError) {
            result = .success(try await pull(reference, connection, isDry: isDry, observer))
        } catch {
            result = .failure(error)
        }
        await connection.close()
        return try result.get()
    }

    private func pull(
        _ reference: ModelReference,
        _ connection: HubConnection,
        isDry: Bool,
        _ observer: @escaping BlobDownload.Observer
    ) async throws(PullError) -> PullReport {
        let listing = try await RepositoryListing.fetch(reference, connection, rule)
        let download = BlobDownload(
            reference: reference,
            commit: listing.commit,
            cache: cache,
            connection: connection,
            rule: rule
        )
        // The index is fetched first of all, since it says what else is needed.
        let index = try await fetchIndex(listing, download, isDry: isDry)
        let targets = try await select(listing, index?.parts, reference, download)
        var present = 0
        var total = 0
        for target in targets {
            guard target.size <= Self.largest - total else {
                throw .answer(
                    place: reference.repository,
                    expected: "at most \(Self.largest) bytes in all",
                    found: "more"
                )
            }
            total += target.size
            present +=
                download.isPresent(target) ? target.size : min(download.partialSize(target), target.size)
        }
        observer(.listed(commit: listing.commit, files: targets.count, bytes: total, present: present))
        let counts: [Int?]
        if isDry {
            counts = targets.map { download.isPresent($0) ? nil : 0 }
        } else {
            try checkSpace(total - present)
            counts = try await fetch(targets, download, observer)
            try record(reference, listing)
        }
        func received(_ place: Int) -> Int? {
            targets[place].name == FileSelection.index ? index?.received ?? counts[place] : counts[place]
        }
        return PullReport(
            repository: reference.repository,
            revision: reference.revision,
            commit: listing.commit,
            folder: cache.snapshot(reference.repository, commit: listing.commit),
            files: targets.enumerated().map { place, target in
                PullReport.File(
                    name: target.name,
                    bytes: target.size,
                    etag: target.content.text,
                    check: target.content.kind,
                    wasCached: received(place) == nil,
                    received: received(place) ?? 0
                )
            }
        )
    }

    // MARK: Selection

    /// The files that are needed, with their sizes, in the order of the repository.
    private func select(
        _ listing: RepositoryListing,
        _ parts: [String]?,
        _ reference: ModelReference,
        _ download: BlobDownload
    ) async throws(PullError) -> [BlobDownload.Target] {
        let names = listing.files.map(\.name)
        var wanted = Set(FileSelection.small(names))
        if let parts {
            wanted.formUnion(parts + [FileSelection.index])
        } else if patterns.isEmpty {
            wanted.insert(try FileSelection.single(names, repository: reference.repository))
        } else {
            wanted.formUnion(try FileSelection.matching(patterns, names, repository: reference.repository))
        }
        var targets: [BlobDownload.Target] = []
        for file in listing.files where wanted.contains(file.name) {
            targets.append(try await download.target(file))
        }
        return targets
    }

    /// The parts that the repository's index lists; the index is downloaded for it, unless nothing is to be written.
    ///
    /// - Returns: the parts, and the bytes that were received for the index, nil if the cache had it; nil if no index
    ///   is needed.
    private func fetchIndex(
        _ listing: RepositoryListing,
        _ download: BlobDownload,
        isDry: Bool
    ) async throws(PullError) -> (parts: [String], received: Int?)? {
        guard patterns.isEmpty, let index = listing.files.first(where: { $0.name == FileSelection.index })
        else {
            return nil
        }
        let target = try await download.target(index)
        guard target.size <= FileSelection.indexLimit else {
            throw .size(file: index.name, expected: FileSelection.indexLimit, found: target.size)
        }
        var received: Int?
        let bytes: [UInt8]
        if isDry && !download.isPresent(target) {
            let (repository, commit) = (download.reference.repository, download.commit)
            let url = download.connection.file(index.name, repository: repository, commit: commit)
            bytes = try await download.connection.read(url, limit: FileSelection.indexLimit)
        } else {
            if !isDry {
                try checkSpace(target.size)
                received = try await download.fetch(target) { _ in }
            }
            bytes = try Self.contents(download.blob(target))
        }
        let place = "\(download.reference.repository): \(index.name)"
        return (try FileSelection.parts(index: bytes, listing.files.map(\.name), place: place), received)
    }

    private static func contents(_ path: String) throws(PullError) -> [UInt8] {
        do throws(FormatError) {
            return try FileContents.read(path, limit: FileSelection.indexLimit)
        } catch {
            throw .file(error)
        }
    }

    private func checkSpace(_ needed: Int) throws(PullError) {
        if needed > 0, let free = freeSpace(cache.folder), free < needed {
            throw .space(folder: cache.folder, needed: needed, free: free)
        }
    }

    // MARK: Downloads

    /// Fetches files, several at once; the first failure ends the others.
    ///
    /// - Returns: for each file the bytes received; nil if the cache had it.
    private func fetch(
        _ targets: [BlobDownload.Target],
        _ download: BlobDownload,
        _ observer: @escaping BlobDownload.Observer
    ) async throws(PullError) -> [Int?] {
        let isLast: (BlobDownload.Target) -> Bool = { $0.name == "config.json" }
        var received = try await fetchAll(targets.filter { !isLast($0) }, download, observer)
        received.merge(try await fetchAll(targets.filter(isLast), download, observer)) { first, _ in first }
        return targets.map { received[$0.name] ?? nil }
    }

    private func fetchAll(
        _ targets: [BlobDownload.Target],
        _ download: BlobDownload,
        _ observer: @escaping BlobDownload.Observer
    ) async throws(PullError) -> [String: Int?] {
        typealias Outcome = Result<(String, Int?), PullError>
        let outcome: Result<[String: Int?], PullError> = await withTaskGroup(of: Outcome.self) { group in
            var rest = targets[...]
            var received: [String: Int?] = [:]
            var failure: PullError?
            func addNext() {
                guard failure == nil, let target = rest.popFirst() else { return }
                group.addTask {
                    do throws(PullError) {
                        return .success((target.name, try await download.fetch(target, observer)))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            for _ in 0..<max(jobs, 1) { addNext() }
            while let result = await group.next() {
                switch result {
                case .success(let (name, bytes)): received.updateValue(bytes, forKey: name)
                case .failure(let error):
                    if failure == nil || failure == .cancelled { failure = error }
                    group.cancelAll()
                }
                addNext()
            }
            return failure.map { .failure($0) } ?? .success(received)
        }
        return try outcome.get()
    }

    /// Writes down what the revision stands for, and which files it does not have.
    private func record(_ reference: ModelReference, _ listing: RepositoryListing) throws(PullError) {
        do throws(FormatError) {
            let mark = cache.folder + "/CACHEDIR.TAG"
            if !FileContents.exists(mark) { try AtomicFile.write(mark, Array(Self.tag.utf8)) }
            let names = Set(listing.files.map(\.name))
            for name in FileSelection.always where !names.contains(name) && name.hasSuffix(".json") {
                let file = cache.absence(reference.repository, commit: listing.commit, file: name)
                if FileContents.exists(file) { continue }
                try Disk.makeFolder(Disk.folder(file))
                try AtomicFile.write(file, [])
            }
            guard !reference.isCommit else { return }
            let file = cache.reference(reference)
            let commit = Array(listing.commit.utf8)
            if (try? FileContents.read(file, limit: 1024)) == commit { return }
            try Disk.makeFolder(Disk.folder(file))
            try AtomicFile.write(file, commit)
        } catch {
            throw .file(error)
        }
    }

    // MARK: Without the network

    /// What the cache has, where no request may be made.
    private func offline(_ reference: ModelReference) throws(PullError) -> PullReport {
        do throws(HubError) {
            let found = try cache.find(reference, needsWeights: true)
            let commit = try cache.commit(reference) ?? reference.revision
            let folder = cache.snapshot(reference.repository, commit: commit)
            let names = HubCache.names(folder) ?? [found]
            let files = names.sorted().compactMap { name -> PullReport.File? in
                let path = "\(folder)/\(name)"
                guard let size = Disk.fileSize(path) else { return nil }
                let etag = Disk.readLink(path)?.split(separator: "/").last.map(String.init) ?? ""
                return PullReport.File(
                    name: name,
                    bytes: size,
                    etag: etag,
                    check: "size",
                    wasCached: true,
                    received: 0
                )
            }
            return PullReport(
                repository: reference.repository,
                revision: reference.revision,
                commit: commit,
                folder: folder,
                files: files
            )
        } catch {
            throw .hub(error)
        }
    }
}
#endif
