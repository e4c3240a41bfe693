import VLEngine

/// The keys that open a server, kept as digests and compared in constant time.
package struct APIKeys: Sendable {
    private let digests: [[UInt8]]

    package init(_ keys: [String]) { digests = keys.map { SHA256.digest($0.utf8).bytes } }

    /// Whether everybody may come in.
    package var isOpen: Bool { digests.isEmpty }

    /// The number of the key that a client shows; nil for a wrong one.
    ///
    /// Every key is compared with every bit, whatever the outcome; lengths show nothing, since digests are compared.
    package func number(_ shown: String) -> Int? {
        let digest = SHA256.digest(shown.utf8).bytes
        var found = -1
        for (index, known) in digests.enumerated() {
            var difference: UInt8 = 0
            for place in 0..<32 { difference |= known[place] ^ digest[place] }
            let isEqual = Int(truncatingIfNeeded: (UInt32(difference) &- 1) &>> 31)
            found = found &* (1 &- isEqual) &+ index &* isEqual
        }
        return found < 0 ? nil : found
    }

    /// Whose prefixes a key's requests share.
    package func salt(_ number: Int?) -> SHA256.Digest {
        guard let number else { return SHA256.digest([]) }
        return SHA256.digest("prefix".utf8 + digests[number])
    }
}

/// How many requests a key may still make: as many as in a minute at once, then one after the other.
package struct RateLimit: Sendable {
    private let perMinute: Double
    private var left: [Int: (tokens: Double, time: ContinuousClock.Instant)] = [:]

    package init(perMinute: Int) { self.perMinute = Double(perMinute) }

    /// Takes a request.
    ///
    /// - Returns: seconds to wait if there have been too many; nil if it may go on.
    package mutating func take(_ key: Int, _ now: ContinuousClock.Instant) -> Int? {
        var (tokens, time) = left[key] ?? (perMinute, now)
        let passed = now - time
        let seconds = Double(passed.components.seconds) + Double(passed.components.attoseconds) / 1e18
        tokens = min(perMinute, tokens + seconds * perMinute / 60)
        guard tokens >= 1 else {
            left[key] = (tokens, now)
            return max(1, Int((1 - tokens) * 60 / perMinute) + 1)
        }
        left[key] = (tokens - 1, now)
        return nil
    }
}
