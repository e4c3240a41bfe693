/// A progress bar that says how long the rest will take.
struct TimedProgress {
    private let what: String
    private let total: Int
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant

    /// - Parameter total: steps in all.
    init(_ what: String, of total: Int) {
        self.what = what
        self.total = total
        start = clock.now
    }

    /// Shows that so many steps are done.
    func show(_ done: Int) { show(done, of: total) }

    /// Shows that so many steps are done, of a number that was not known at the start.
    func show(_ done: Int, of total: Int) {
        let seconds = (clock.now - start) / .seconds(1)
        let isTold = done > 0 && done < total && seconds > 1
        let left = isTold ? ", \(Self.time(seconds / Double(done) * Double(total - done))) left" : ""
        Terminal.progress(what, done, of: total, note: left)
    }

    /// Removes the bar.
    func end() { Terminal.clearProgress() }

    /// Seconds as people say them.
    private static func time(_ seconds: Double) -> String {
        let whole = Int(min(max(seconds, 0), 1e7).rounded(.up))
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60):\(two(whole % 60)) min" }
        return "\(whole / 3600):\(two(whole / 60 % 60)) h"
    }
}
