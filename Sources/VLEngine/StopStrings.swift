/// Finds stop strings in text that arrives piece by piece; text that may be the beginning of one is held back.
package struct StopStrings: Sendable {
    private let stops: [[UInt8]]
    private let longest: Int
    private var pending: [UInt8] = []
    /// Whether a stop string was found.
    package private(set) var isFound = false

    package init(_ stops: [String]) {
        self.stops = stops.map { Array($0.utf8) }.filter { !$0.isEmpty }
        longest = self.stops.map(\.count).max() ?? 0
    }

    /// Takes more text and gives what certainly comes before any stop string.
    package mutating func push(_ text: String) -> String {
        if isFound { return "" }
        if longest == 0 { return text }
        pending.append(contentsOf: text.utf8)
        var place = 0
        while place < pending.count {
            var mayBegin = false
            for stop in stops {
                let length = min(stop.count, pending.count - place)
                guard stop[..<length].elementsEqual(pending[place..<place + length]) else { continue }
                if length == stop.count {
                    isFound = true
                    defer { pending.removeAll() }
                    return String(decoding: pending[..<place], as: UTF8.self)
                }
                mayBegin = true
            }
            if mayBegin { break }
            place += 1
        }
        let certain = String(decoding: pending[..<place], as: UTF8.self)
        pending.removeFirst(place)
        return certain
    }

    /// What was held back, when no more text comes.
    package mutating func finish() -> String {
        defer { pending.removeAll() }
        return isFound ? "" : String(decoding: pending, as: UTF8.self)
    }
}
