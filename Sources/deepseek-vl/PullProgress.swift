#if Network
import Synchronization
import VLJSON
import VLPull

/// What people see of a download: a bar for each file that is under way, and one for all of them.
///
/// On a terminal the bars are drawn anew ten times a second; elsewhere each finished file gives one line.
final class PullProgress: Sendable {
    private struct File {
        let name: String
        var bytes: Int
        var note: String?
    }

    private struct State {
        var files: [File] = []
        var total = 0
        var done = 0
        var count = 0
        var finished = 0
        /// Bytes that arrived in this run, by the time at which they did.
        var arrivals: [(time: ContinuousClock.Instant, bytes: Int)] = []
        var received = 0
        var drawn = 0
        var lastDrawing: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private let isTerminal = Terminal.showsProgress
    private let isQuiet: Bool
    private let clock = ContinuousClock()

    private static let pause = Duration.milliseconds(100)
    private static let window = Duration.seconds(8)

    /// - Parameter isQuiet: nothing is printed where standard error is no terminal.
    init(isQuiet: Bool) { self.isQuiet = isQuiet }

    /// Takes note of something, from any thread.
    func take(_ event: PullEvent) {
        state.withLock { state in
            apply(event, &state)
            draw(&state)
        }
    }

    /// Removes the bars.
    func end() {
        state.withLock { state in
            if isTerminal { Terminal.replaceLines(state.drawn, with: []) }
            state.drawn = 0
        }
    }

    private func apply(_ event: PullEvent, _ state: inout State) {
        func change(_ name: String, _ body: (inout File) -> Void) {
            guard let place = state.files.firstIndex(where: { $0.name == name }) else { return }
            body(&state.files[place])
        }
        switch event {
        case .listed(_, let files, let bytes, let present):
            (state.count, state.total, state.done) = (files, bytes, present)
        case .began(let name, let start): state.files.append(File(name: name, bytes: start))
        case .received(let name, let bytes):
            state.done += bytes
            state.received += bytes
            change(name) {
                $0.bytes += bytes
                $0.note = nil
            }
            let now = clock.now
            if let last = state.arrivals.last, now - last.time < Self.pause { break }
            state.arrivals.append((now, state.received))
            while state.arrivals.count > 2, let first = state.arrivals.first, now - first.time > Self.window {
                state.arrivals.removeFirst()
            }
        case .restarted(let name):
            change(name) { file in
                state.done -= file.bytes
                file.bytes = 0
                file.note = "from the beginning"
            }
        case .waiting(let name, let reason, let seconds):
            let wait = seconds.map { ", next try in \(Int($0.rounded(.up))) s" } ?? ""
            change(name) { $0.note = reason + wait }
            if !isTerminal && !isQuiet {
                Terminal.note("\(name.excerpt(limit: 100)): waits: \(reason)\(wait)")
            }
        case .finished(let name, let wasCached):
            state.finished += 1
            state.files.removeAll { $0.name == name }
            if !isTerminal && !isQuiet && !wasCached { Terminal.note("\(name.excerpt(limit: 100)): done") }
        }
    }

    private func draw(_ state: inout State) {
        guard isTerminal else { return }
        let now = clock.now
        if let last = state.lastDrawing, now - last < Self.pause { return }
        state.lastDrawing = now
        var lines = state.files.map { file in
            let name = file.name.excerpt(limit: 44)
            return "  \(name): \(file.note.map { $0.excerpt(limit: 90) } ?? ByteCount.text(file.bytes))"
        }
        lines.append(summary(state, now))
        Terminal.replaceLines(state.drawn, with: lines)
        state.drawn = lines.count
    }

    private func summary(_ state: State, _ now: ContinuousClock.Instant) -> String {
        guard state.total > 0 else { return "asking the hub" }
        let width = 24
        let filled = Int(Double(width) * Double(min(state.done, state.total)) / Double(state.total))
        let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled)
        var text =
            "[\(bar)] \(ByteCount.text(state.done)) of \(ByteCount.text(state.total)), \(state.finished)/\(state.count) files"
        if let first = state.arrivals.first {
            let seconds = (now - first.time) / .seconds(1)
            let bytes = Double(state.received - first.bytes)
            if seconds > 0.5, bytes > 0 {
                let rate = bytes / seconds
                text +=
                    ", \(ByteCount.text(Int(rate)))/s, \(Self.time(Double(state.total - state.done) / rate)) left"
            }
        }
        return text
    }

    /// Seconds as people say them.
    private static func time(_ seconds: Double) -> String {
        let whole = Int(min(max(seconds, 0), 1e7).rounded(.up))
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60):\(two(whole % 60)) min" }
        return "\(whole / 3600):\(two(whole / 60 % 60)) h"
    }
}

/// Numbers of bytes as people say them, in powers of ten.
enum ByteCount {
    /// Such as `6.7 GB`.
    static func text(_ bytes: Int) -> String {
        guard bytes >= 1000 else { return "\(bytes) B" }
        var value = Double(bytes)
        var unit = "B"
        for next in ["kB", "MB", "GB", "TB"] where value >= 999.95 { (value, unit) = (value / 1000, next) }
        return "\((value * 10).rounded() / 10) \(unit)"
    }

    /// The text in a column.
    static func padded(_ bytes: Int) -> String {
        let text = text(bytes)
        return String(repeating: " ", count: max(10 - text.count, 0)) + text
    }
}
#endif
