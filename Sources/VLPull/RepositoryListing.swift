#if Network
import VLFormats
import VLHub
import VLJSON

/// What the hub says of a repository at a revision: its commit and its files.
struct RepositoryListing: Sendable {
    /// A file of the repository.
    struct File: Equatable, Sendable {
        let name: String
        /// Bytes, if the hub says so.
        let size: Int?
        /// The contents' name, if the hub says so.
        let content: ContentName?
    }

    let commit: String
    let files: [File]

    private static let sizeLimit = 64_000_000
    private static let fileLimit = 200_000

    /// Asks the hub.
    ///
    /// - Throws: `PullError`.
    static func fetch(
        _ reference: ModelReference,
        _ connection: HubConnection,
        _ rule: RetryRule
    ) async throws(PullError) -> RepositoryListing {
        let url = connection.listing(reference)
        var state = RetryState(rule)
        while true {
            do throws(PullError) {
                let bytes = try await connection.read(url, limit: sizeLimit)
                return try RepositoryListing(bytes, reference, place: url.place)
            } catch {
                let error = explained(error, reference, hasToken: connection.token != nil)
                try await state.wait(after: error)
            }
        }
    }

    /// Reads the hub's answer.
    init(_ bytes: [UInt8], _ reference: ModelReference, place: String) throws(PullError) {
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw .answer(place: place, expected: "JSON", found: "\(error)")
        }
        guard let commit = value["sha"]?.asString, ModelReference.isCommit(commit) else {
            throw .answer(
                place: place,
                expected: "a commit as 'sha'",
                found: value["sha"]?.summary ?? "none"
            )
        }
        guard let siblings = value["siblings"]?.asArray, siblings.count <= Self.fileLimit else {
            throw .answer(
                place: place,
                expected: "a list of at most \(Self.fileLimit) files as 'siblings'",
                found: value["siblings"]?.summary ?? "none"
            )
        }
        if reference.isCommit, commit != reference.revision {
            throw .answer(place: place, expected: "the commit \(reference.revision)", found: commit)
        }
        self.commit = commit
        var files: [File] = []
        var names: Set<[UInt8]> = []
        for sibling in siblings {
            let file = try Self.file(sibling, reference, place)
            guard names.insert(Array(file.name.utf8)).inserted else {
                throw .answer(
                    place: place,
                    expected: "each file once",
                    found: "'\(file.name.excerpt())' twice"
                )
            }
            files.append(file)
        }
        self.files = files
    }

    private static func file(
        _ value: JSONValue,
        _ reference: ModelReference,
        _ place: String
    ) throws(PullError) -> File {
        guard let name = value["rfilename"]?.asString else {
            throw .answer(place: place, expected: "an 'rfilename' for each file", found: value.summary)
        }
        do throws(HubError) {
            try RepositoryFileName.check(name, repository: reference.repository)
        } catch {
            throw .hub(error)
        }
        let large = value["lfs"].flatMap { $0.isNull ? nil : $0 }
        let size = large?["size"] ?? value["size"]
        let tag = large?["sha256"] ?? (large == nil ? value["blobId"] : nil)
        var bytes: Int?
        if let size, !size.isNull {
            guard let count = size.asInt, count >= 0 else {
                throw .answer(place: place, expected: "a size for '\(name.excerpt())'", found: size.summary)
            }
            bytes = count
        }
        var content: ContentName?
        if let tag, !tag.isNull {
            guard let text = tag.asString, let parsed = ContentName(etag: text) else {
                throw .answer(place: place, expected: "a hash for '\(name.excerpt())'", found: tag.summary)
            }
            content = parsed
        }
        return File(name: name, size: bytes, content: content)
    }

    /// A status, in the words of what was asked for.
    private static func explained(
        _ error: PullError,
        _ reference: ModelReference,
        hasToken: Bool
    ) -> PullError {
        guard case .status(_, let code, let message, _) = error else { return error }
        let repository = reference.repository
        switch code {
        case _ where message.hasPrefix("RevisionNotFound"):
            return .noRevision(reference.revision, repository: repository)
        case 401 where !message.hasPrefix("GatedRepo"), 404:
            return .noRepository(repository, code: code, message: message, hasToken: hasToken)
        case 401, 403: return .gated(repository, message: message, hasToken: hasToken)
        default: return error
        }
    }
}
#endif
