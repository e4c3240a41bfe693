#if Network
import VLFormats
import VLHub
import VLJSON

/// Why a repository could not be downloaded.
package enum PullError: Error, Equatable, Sendable {
    /// A name that is refused, or a cache that cannot be used.
    case hub(HubError)
    /// A variable whose address is no plain one of HTTP; a proxy's must not be encrypted itself.
    case endpoint(variable: String, found: String)
    /// The server could not be reached, or the connection broke.
    case connection(place: String, reason: String)
    /// A status that says no, with the server's own words; `retryAfter` is what it asks for.
    case status(place: String, code: Int, message: String, retryAfter: Duration?)
    /// The hub knows no such repository, or shows it only to others.
    case noRepository(String, code: Int, message: String, hasToken: Bool)
    /// The repository is there, the revision is not.
    case noRevision(String, repository: String)
    /// The repository asks for consent to its terms first.
    case gated(String, message: String, hasToken: Bool)
    /// An answer that is not what the hub's interface promises.
    case answer(place: String, expected: String, found: String)
    /// A redirection that is not followed.
    case redirect(place: String, reason: String)
    /// Another number of bytes than the file has.
    case size(file: String, expected: Int, found: Int)
    /// Bytes whose hash is not that of the file.
    case hash(file: String, kind: String, expected: String, found: String)
    /// The server offers other contents than the ones that were listed.
    case changed(file: String, expected: String, found: String)
    /// A repository without weights that can be read.
    case noWeights(repository: String, found: String)
    /// A pattern that no file matches.
    case noMatch(pattern: String, repository: String)
    /// A disk without room for what is missing.
    case space(folder: String, needed: Int, free: Int)
    /// A file that cannot be read or written.
    case file(FormatError)
    /// Another file failed, and this one was given up.
    case cancelled
}

extension PullError {
    /// Whether another try may succeed.
    var isPassing: Bool {
        switch self {
        case .connection: true
        case .status(_, let code, _, _): [408, 425, 429, 500, 502, 503, 504].contains(code)
        default: false
        }
    }

    /// How long the server asks to wait.
    var retryAfter: Duration? {
        if case .status(_, _, _, let wait) = self { wait } else { nil }
    }

    /// Whether the request itself was wrong usage of the program.
    package var isUsage: Bool {
        switch self {
        case .hub(.repository), .hub(.revision), .hub(.variable), .endpoint: true
        default: false
        }
    }
}

extension PullError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .hub(let error): error.description
        case .endpoint(let variable, let found):
            "\(variable): expected an address such as https://huggingface.co or http://proxy:3128, found '\(found.excerpt(limit: 120))'"
        case .connection(let place, let reason): "\(place): \(reason.excerpt(limit: 300))"
        case .status(let place, let code, let message, _):
            "\(place): expected success, found status \(code)\(Self.words(message))"
        case .noRepository(let repository, let code, let message, let hasToken):
            "\(repository): expected a repository of the hub, found status \(code)\(Self.words(message)); "
                + (hasToken
                    ? "the name may be wrong, or the token may not read it"
                    : "the name may be wrong, or it is private and HF_TOKEN is not set")
        case .noRevision(let revision, let repository):
            "\(repository): expected the revision '\(revision)', found that the hub has none of this name"
        case .gated(let repository, let message, let hasToken):
            "\(repository): expected access, found that its owners must grant it first\(Self.words(message)); "
                + (hasToken ? "ask for it on the repository's page" : "set HF_TOKEN once it is granted")
        case .answer(let place, let expected, let found): "\(place): expected \(expected), found \(found)"
        case .redirect(let place, let reason): "\(place): \(reason)"
        case .size(let file, let expected, let found): "\(file): expected \(expected) bytes, found \(found)"
        case .hash(let file, let kind, let expected, let found):
            "\(file): \(kind): expected \(expected), found \(found); the download was thrown away"
        case .changed(let file, let expected, let found):
            "\(file): expected the contents '\(expected.excerpt())', as listed, found '\(found.excerpt())'"
        case .noWeights(let repository, let found):
            "\(repository): expected weights as safetensors, found \(found)"
        case .noMatch(let pattern, let repository):
            "\(repository): expected files that match '\(pattern.excerpt())', found none"
        case .space(let folder, let needed, let free):
            "\(folder): expected room for \(needed) bytes, found \(free)"
        case .file(let error): error.description
        case .cancelled: "download: expected to finish, found that another file failed"
        }
    }

    private static func words(_ message: String) -> String {
        message.isEmpty ? "" : " ('\(message.excerpt(limit: 160))')"
    }
}
#endif
