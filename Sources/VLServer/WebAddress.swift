/// A web address as pictures may have it: read strictly, so that nobody else can read it differently.
package struct WebAddress: Sendable, Equatable {
    /// Whether it is one of https.
    package let isSecure: Bool
    /// A name in lower case, or an address of IPv4 or IPv6 (without brackets).
    let host: String
    let port: Int
    /// Path and query.
    let target: String

    /// Reads an address.
    ///
    /// - Returns: nil for what is no plain address of http or https.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        // Printable ASCII without what parsers disagree about.
        guard bytes.count <= 8192, bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") })
        else { return nil }
        let rest: Substring
        if text.lowercased().hasPrefix("https://") {
            isSecure = true
            rest = text.dropFirst(8)
        } else if text.lowercased().hasPrefix("http://") {
            isSecure = false
            rest = text.dropFirst(7)
        } else {
            return nil
        }
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let behind = rest[authority.endIndex...].prefix { $0 != "#" }
        target = behind.hasPrefix("/") ? String(behind) : "/" + behind
        guard !authority.contains("@"), let (name, port) = Self.split(authority) else { return nil }
        guard let number = port.isEmpty ? (isSecure ? 443 : 80) : Self.port(port) else { return nil }
        host = name.lowercased()
        self.port = number
        guard Self.isHost(host) else { return nil }
    }

    private static func split(_ authority: Substring) -> (host: Substring, port: Substring)? {
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            let port = authority[authority.index(after: end)...]
            guard port.isEmpty || port.hasPrefix(":") else { return nil }
            let host = authority[authority.index(after: authority.startIndex)..<end]
            guard host.contains(":"), host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." })
            else { return nil }
            return (host, port.dropFirst())
        }
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let host = parts.first else { return nil }
        return (host, parts.count == 2 ? parts[1] : "")
    }

    private static func port(_ text: Substring) -> Int? {
        guard text.count <= 5, text.allSatisfy(\.isNumber), let number = Int(text),
            (1...65535).contains(number)
        else { return nil }
        return number
    }

    private static func isHost(_ host: String) -> Bool {
        if host.contains(":") { return true }
        guard (1...253).contains(host.utf8.count) else { return false }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            (1...63).contains(label.utf8.count)
                && label.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
        }
    }

    /// The address that a redirection points to; nil for one that is no plain address.
    package func following(_ location: String) -> WebAddress? {
        if location.hasPrefix("//") { return WebAddress((isSecure ? "https:" : "http:") + location) }
        if location.hasPrefix("/") {
            return WebAddress(String(description.dropLast(target.count)) + location)
        }
        if location.lowercased().hasPrefix("http") { return WebAddress(location) }
        return nil
    }

    /// The whole address, with its port.
    package var description: String { description(host: host) }

    /// The same with another host.
    func description(host: String) -> String {
        "\(isSecure ? "https" : "http")://\(host.contains(":") ? "[\(host)]" : host):\(port)\(target)"
    }

    /// Whether a host is one of a list: `example.org` is that host, `*.example.org` any host below it.
    package static func allows(_ host: String, _ list: [String]) -> Bool {
        list.contains { entry in
            let entry = entry.lowercased()
            if entry.hasPrefix("*.") {
                let suffix = entry.dropFirst()
                return host.hasSuffix(suffix) && host.utf8.count > suffix.utf8.count
            }
            return host == entry
        }
    }
}

/// Addresses of the internet that are open to everybody, and all others.
package enum GlobalAddress {
    /// Whether four or sixteen bytes are such an address.
    package static func isGlobal(_ bytes: [UInt8]) -> Bool { isGlobal(v4: bytes) || isGlobal(v6: bytes) }

    /// Whether an IPv4 address, four bytes, is in none of the blocks that IANA lists as private, local or otherwise
    /// special (RFC 6890 and its registry).
    static func isGlobal(v4 bytes: [UInt8]) -> Bool {
        guard bytes.count == 4 else { return false }
        let number = bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let special: [(UInt32, UInt32)] = [
            (0x0000_0000, 8), (0x0A00_0000, 8), (0x6440_0000, 10), (0x7F00_0000, 8), (0xA9FE_0000, 16),
            (0xAC10_0000, 12), (0xC000_0000, 24), (0xC000_0200, 24), (0xC058_6300, 24), (0xC0A8_0000, 16),
            (0xC612_0000, 15), (0xC633_6400, 24), (0xCB00_7100, 24), (0xE000_0000, 4), (0xF000_0000, 4),
        ]
        return !special.contains { base, bits in (number ^ base) >> (32 - bits) == 0 }
    }

    /// Whether an IPv6 address, sixteen bytes, is global unicast (2000::/3) and in none of its special blocks.
    ///
    /// Addresses that carry one of IPv4 (mapped, NAT64, 6to4, Teredo) are none of them.
    static func isGlobal(v6 bytes: [UInt8]) -> Bool {
        guard bytes.count == 16, bytes[0] & 0xE0 == 0x20 else { return false }
        let head = bytes[..<4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        // 2001::/23 (protocols, Teredo), 2001:db8::/32, 2002::/16 (6to4), 3fff::/20 (documentation).
        let special: [(UInt32, UInt32)] = [
            (0x2001_0000, 23), (0x2001_0DB8, 32), (0x2002_0000, 16), (0x3FFF_0000, 20),
        ]
        return !special.contains { base, bits in (head ^ base) >> (32 - bits) == 0 }
    }
}
