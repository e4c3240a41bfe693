/// Finds stop strings in text that arrives piece by piece; text that may be the beginning of one is held back.
///
/// The stop string that is complete first counts; of those that are complete at the same place, the longest. So what
/// is given out does not depend on how the text was cut into pieces. Time is linear in the text.
package struct StopStrings: Sendable {
    /// One stop string, and how much of it the text ends with.
    private struct Pattern: Sendable {
        let bytes: [UInt8]
        /// For each length of a beginning, the longest shorter beginning that it ends with.
        let fallback: [Int]
        var matched = 0

        init(_ text: String) {
            bytes = Array(text.utf8)
            var fallback = [0]
            fallback.reserveCapacity(bytes.count)
            var length = 0
            for byte in bytes.dropFirst() {
                while length > 0, bytes[length] != byte { length = fallback[length - 1] }
                if bytes[length] == byte { length += 1 }
                fallback.append(length)
            }
            self.fallback = fallback
        }

        /// Takes a byte and says whether the text ends with the whole string now.
        mutating func advance(_ byte: UInt8) -> Bool {
            while matched > 0, bytes[matched] != byte { matched = fallback[matched - 1] }
            if bytes[matched] == byte { matched += 1 }
            return matched == bytes.count
        }
    }

    private var patterns: [Pattern]
    /// Text whose first `given` bytes have been given out already.
    private var pending: [UInt8] = []
    private var given = 0
    /// The stop string that was found.
    package private(set) var found: String?

    /// - Parameter stops: the strings; empty ones never match.
    package init(_ stops: [String]) {
        patterns = stops.filter { !$0.isEmpty }.map { Pattern($0) }
    }

    /// Whether a stop string was found.
    package var isFound: Bool { found != nil }

    /// Takes more text, in whole characters, and gives what certainly comes before any stop string.
    ///
    /// After a stop string was found, everything is swallowed.
    package mutating func push(_ text: String) -> String {
        if isFound { return "" }
        if patterns.isEmpty { return text }
        for byte in text.utf8 {
            pending.append(byte)
            var longest = -1
            for index in patterns.indices where patterns[index].advance(byte) {
                if longest < 0 || patterns[index].matched > patterns[longest].matched { longest = index }
            }
            if longest >= 0 {
                let stop = patterns[longest].bytes
                found = String(decoding: stop, as: UTF8.self)
                return give(pending.count - stop.count)
            }
        }
        return give(pending.count - patterns.reduce(0) { max($0, $1.matched) })
    }

    /// What was held back, when no more text comes.
    package mutating func finish() -> String { isFound ? "" : give(pending.count) }

    /// Gives out the pending text up to `end`.
    private mutating func give(_ end: Int) -> String {
        let text = String(decoding: pending[given..<end], as: UTF8.self)
        given = end
        // Bytes are moved only when at least as many were given out since, so that a byte is moved once on average.
        if given * 2 >= pending.count {
            pending.removeFirst(given)
            given = 0
        }
        return text
    }
}
