#if Network
/// An address of HTTP, taken apart and put together by the same hands.
///
/// Whoever decides whether a host may see the token must read an address exactly as the one who connects does; so
/// only plain addresses are taken, and what is sent is built from the parts that were checked.
struct HubURL: Equatable, Sendable, CustomStringConvertible {
    /// `http` or `https`.
    let scheme: String
    /// The host in lower case, with brackets if it is an address of IPv6.
    let host: String
    let port: Int
    /// Path and query, from the slash on.
    let path: String

    private static let longest = 16_384

    /// Reads an absolute address; nil for anything unusual: names of users, unusual letters, other schemes.
    init?(_ text: String) {
        guard let (scheme, rest) = Self.splitScheme(text) else { return nil }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
        guard let (host, port) = Self.hostAndPort(rest[..<end], scheme) else { return nil }
        guard let path = Self.cleanPath(rest[end...]) else { return nil }
        (self.scheme, self.host, self.port, self.path) = (scheme, host, port, path)
    }

    private init(_ base: HubURL, path: String) {
        (scheme, host, port) = (base.scheme, base.host, base.port)
        self.path = path
    }

    /// The address as it is sent.
    var description: String { origin + path }

    /// Scheme, host and port.
    var origin: String {
        port == Self.defaultPort(scheme) ? "\(scheme)://\(host)" : "\(scheme)://\(host):\(port)"
    }

    /// The address without its query, which may hold a signature, for messages.
    var place: String { origin + (path.split(separator: "?", maxSplits: 1).first ?? "/") }

    /// This address with more behind its path; `suffix` begins with a slash.
    func appending(_ suffix: String) -> HubURL {
        HubURL(self, path: (path.hasSuffix("/") ? String(path.dropLast()) : path) + suffix)
    }

    /// Where a `Location` header leads from here; nil for an address that is not followed.
    func following(_ location: String) -> HubURL? {
        if Self.splitScheme(location) != nil { return HubURL(location) }
        if location.hasPrefix("//") { return HubURL("\(scheme):\(location)") }
        guard !location.isEmpty, !location.utf8.prefix(while: { $0 != UInt8(ascii: "/") }).contains(0x3A)
        else {
            return nil
        }
        if location.hasPrefix("/") { return Self.cleanPath(location[...]).map { HubURL(self, path: $0) } }
        let folder = path.prefix { $0 != "?" }.reversed().drop { $0 != "/" }.reversed()
        return Self.cleanPath((String(folder) + location)[...]).map { HubURL(self, path: $0) }
    }

    /// A text as one part of a path, or several with their slashes: what is not a plain letter is escaped.
    static func escaped(_ text: String, keepsSlashes: Bool) -> String {
        var result: [UInt8] = []
        let hexadecimal = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"):
                result.append(byte)
            case UInt8(ascii: "/") where keepsSlashes: result.append(byte)
            default: result += [UInt8(ascii: "%"), hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func defaultPort(_ scheme: String) -> Int { scheme == "https" ? 443 : 80 }

    private static func splitScheme(_ text: String) -> (String, Substring)? {
        for scheme in ["https", "http"] where text.lowercased().hasPrefix(scheme + "://") {
            return (scheme, text.dropFirst(scheme.count + 3))
        }
        return nil
    }

    private static func hostAndPort(_ text: Substring, _ scheme: String) -> (String, Int)? {
        var host = text
        var port = defaultPort(scheme)
        let isBracketed = text.hasPrefix("[")
        if let colon = text.lastIndex(of: ":"), !isBracketed || text[..<colon].hasSuffix("]") {
            let digits = text[text.index(after: colon)...]
            guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits),
                (1...65535).contains(number)
            else { return nil }
            (host, port) = (text[..<colon], number)
        }
        if isBracketed {
            let inner = host.dropFirst().dropLast()
            guard host.hasSuffix("]"), !inner.isEmpty,
                inner.utf8.allSatisfy({ $0 == 0x3A || $0 == 0x2E || isHexadecimal($0) })
            else { return nil }
        } else {
            guard !host.isEmpty, host.utf8.count <= 253,
                host.utf8.allSatisfy({ isLetter($0) || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F })
            else { return nil }
        }
        return (host.lowercased(), port)
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20)
    }

    /// A path and a query without fragment; nil for bytes that no address holds.
    private static func cleanPath(_ text: Substring) -> String? {
        let path = text.prefix { $0 != "#" }
        guard path.utf8.count <= longest,
            path.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\\") })
        else { return nil }
        return path.hasPrefix("/") ? String(path) : "/" + path
    }
}
#endif
