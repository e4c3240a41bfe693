import VLFormats
import VLJSON

/// Why a model's name was refused, or why the cache has no such model.
package enum HubError: Error, Equatable, Sendable {
    /// A text that names no repository.
    case repository(found: String)
    /// A text that is no branch, tag or commit.
    case revision(found: String)
    /// A file's name that could lead out of its folder, or that no file system takes.
    case fileName(found: String, repository: String)
    /// An environment variable with a value that cannot be used; the value itself may be secret.
    case variable(String, expected: String)
    /// The cache holds nothing of this name and revision.
    case notCached(ModelReference, cache: String)
    /// The cache holds a part of the repository.
    case incomplete(ModelReference, folder: String, missing: String)
    /// A folder with several GGUF files, of which one must be named.
    case severalFiles(folder: String, [String])
    /// The cache's own files are damaged.
    case reference(file: String, found: String)
    /// A file of the cache cannot be read.
    case file(FormatError)
}

extension HubError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .repository(let found):
            "model: expected a short name (\(ShortName.all.map(\.name).joined(separator: ", "))) or ORG/NAME, "
                + "found '\(found.excerpt(limit: 120))'"
        case .revision(let found):
            "revision: expected a branch, a tag or a commit, found '\(found.excerpt(limit: 120))'"
        case .fileName(let found, let repository):
            "\(repository): expected names of files within the repository, found '\(found.excerpt(limit: 120))'"
        case .variable(let name, let expected): "\(name): expected \(expected), found something else"
        case .notCached(let reference, let cache):
            "model '\(reference)': expected a path, or a model in the cache '\(cache)', found neither; "
                + "'deepseek-vl pull \(reference)' downloads it"
        case .incomplete(let reference, let folder, let missing):
            "\(folder): expected \(missing), found none; 'deepseek-vl pull \(reference)' completes it"
        case .severalFiles(let folder, let names):
            "\(folder): expected one GGUF file, found \(names.count); name one by its path: "
                + names.prefix(8).map { $0.excerpt(limit: 80) }.joined(separator: ", ")
                + (names.count > 8 ? "…" : "")
        case .reference(let file, let found):
            "\(file): expected a commit of 40 hexadecimal digits, found '\(found.excerpt())'"
        case .file(let error): error.description
        }
    }
}
