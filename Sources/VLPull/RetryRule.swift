#if Network
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// When and how often something that failed is tried again: ever longer waits, each partly random.
package struct RetryRule: Sendable {
    /// Tries in a row that may fail without a new byte.
    package var attempts = 6
    /// Tries of one file in all, whatever they bring.
    package var attemptsInAll = 200
    /// The longest wait before the second try.
    package var firstWait = Duration.milliseconds(500)
    /// The longest wait that is chosen here.
    package var longestWait = Duration.seconds(30)
    /// The longest wait that a server may ask for.
    package var longestAsked = Duration.seconds(300)
    /// Waits.
    package var sleep: @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    /// A number from 0 to 1, so that many clients do not come back together.
    package var jitter: @Sendable () -> Double = { Double.random(in: 0...1) }

    /// The usual rule.
    package init() {}

    /// The wait before the next try; nil if there is to be none.
    ///
    /// - Parameters:
    ///   - failures: tries in a row that brought nothing.
    ///   - asked: what the server asks for, which is never undercut.
    func wait(failures: Int, asked: Duration?) -> Duration? {
        guard failures < attempts else { return nil }
        if let asked {
            guard asked <= longestAsked else { return nil }
            return asked + .milliseconds(Int64(1000 * jitter()))
        }
        let doubled = firstWait * (1 << min(max(failures - 1, 0), 16))
        return min(doubled, longestWait) * (0.5 + jitter() / 2)
    }
}

/// What one request has gone through so far.
struct RetryState {
    private let rule: RetryRule
    private var failures = 0
    private var total = 0

    init(_ rule: RetryRule) { self.rule = rule }

    /// Waits before the next try.
    ///
    /// - Throws: `error` itself if there is to be no other try.
    mutating func wait(
        after error: PullError,
        hasProgress: Bool = false,
        onWait: (Duration) -> Void = { _ in }
    ) async throws(PullError) {
        total += 1
        failures = hasProgress ? 1 : failures + 1
        guard error.isPassing, total < rule.attemptsInAll,
            let wait = rule.wait(failures: failures, asked: error.retryAfter)
        else { throw error }
        onWait(wait)
        do {
            try await rule.sleep(wait)
        } catch {
            throw .cancelled
        }
    }
}

/// The header `Retry-After`: seconds, or a date.
enum RetryAfter {
    /// What a header's value asks for; nil if it cannot be read.
    static func parse(_ text: String, now: Int) -> Duration? {
        if let seconds = Int(text), seconds >= 0 { return .seconds(min(seconds, 1_000_000)) }
        return date(text).map { .seconds(min(max($0 - now, 0), 1_000_000)) }
    }

    /// This moment in seconds since 1970.
    static var now: Int { Int(time(nil)) }

    /// `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since 1970.
    private static func date(_ text: String) -> Int? {
        let parts = text.split { $0 == " " || $0 == "," || $0 == ":" }
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard parts.count == 8, parts[7] == "GMT", let day = Int(parts[1]), (1...31).contains(day),
            let month = months.firstIndex(of: String(parts[2])), let year = Int(parts[3]),
            (1970...9999).contains(year), let hour = Int(parts[4]), (0...23).contains(hour),
            let minute = Int(parts[5]), (0...59).contains(minute), let second = Int(parts[6]),
            (0...60).contains(second)
        else { return nil }
        // Years that begin in March put the leap day last.
        let shifted = month < 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * ((month + 10) % 12) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        return days * 86_400 + hour * 3600 + minute * 60 + second
    }
}
#endif
