#if Network
import Crypto
import VLHub

/// What the bytes of a file are checked against: the hash by which the hub names them.
enum ContentName: Equatable, Sendable {
    /// Large files: SHA-256 of the bytes.
    case sha256(String)
    /// Files that lie in git: SHA-1 of git's header and the bytes.
    case gitBlob(String)
    /// Another name, from which nothing follows: only the size is checked.
    case opaque(String)

    /// What an entity tag says; nil for one that is no plain file name.
    init?(etag: String) {
        let bytes = etag.utf8
        let isHex = bytes.allSatisfy(ModelReference.isLowerHex)
        switch bytes.count {
        case 64 where isHex: self = .sha256(etag)
        case 40 where isHex: self = .gitBlob(etag)
        case 1...128:
            // Without dots: no name that another file of the cache has.
            let isPlain = bytes.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2D || $0 == 0x5F
            }
            guard isPlain else { return nil }
            self = .opaque(etag)
        default: return nil
        }
    }

    /// The name itself, which is that of the blob in the cache.
    var text: String {
        switch self {
        case .sha256(let text), .gitBlob(let text), .opaque(let text): text
        }
    }

    /// What is checked, for messages and reports.
    var kind: String {
        switch self {
        case .sha256: "sha256"
        case .gitBlob: "git-sha1"
        case .opaque: "size"
        }
    }

    /// An entity tag as the header holds it, without its quotes.
    static func unquoted(_ header: String) -> String {
        var text = header[...]
        if text.hasPrefix("W/") { text = text.dropFirst(2) }
        if text.count >= 2, text.hasPrefix("\""), text.hasSuffix("\"") { text = text.dropFirst().dropLast() }
        return String(text)
    }
}

/// A hash that is computed while bytes arrive.
struct ContentCheck {
    private enum State {
        case sha256(SHA256)
        case gitBlob(Insecure.SHA1)
        case none
    }

    private let name: ContentName
    private var state: State

    /// - Parameter size: the whole file's bytes, which git's header holds.
    init(_ name: ContentName, size: Int) {
        self.name = name
        switch name {
        case .sha256: state = .sha256(SHA256())
        case .gitBlob:
            var hash = Insecure.SHA1()
            Array("blob \(size)\u{0}".utf8).withUnsafeBytes { hash.update(bufferPointer: $0) }
            state = .gitBlob(hash)
        case .opaque: state = .none
        }
    }

    /// Takes the next bytes.
    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        switch state {
        case .sha256(var hash):
            // Without a second owner nothing is copied.
            state = .none
            hash.update(bufferPointer: bytes)
            state = .sha256(hash)
        case .gitBlob(var hash):
            state = .none
            hash.update(bufferPointer: bytes)
            state = .gitBlob(hash)
        case .none: break
        }
    }

    /// Checks all bytes that were taken.
    ///
    /// - Throws: `PullError.hash`.
    func finish(file: String) throws(PullError) {
        let found: String
        switch state {
        case .sha256(let hash): found = Self.hexadecimal(hash.finalize())
        case .gitBlob(let hash): found = Self.hexadecimal(hash.finalize())
        case .none: return
        }
        guard found == name.text else {
            throw .hash(file: file, kind: name.kind, expected: name.text, found: found)
        }
    }

    private static func hexadecimal(_ digest: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        let bytes = digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return String(decoding: bytes, as: UTF8.self)
    }
}
#endif
