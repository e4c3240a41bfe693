import CVLTestSupport
import Foundation
import Testing

/// A program at a terminal of its own, driven as a person would: types, and waits for what appears.
final class PseudoTerminal {
    /// What went wrong while waiting.
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    private let master: Int32
    private let process: pid_t
    private var screen: [UInt8] = []
    /// How much of the screen earlier expectations have used up.
    private var seen = 0
    private var isReaped = false

    /// The built program, beside the test runner.
    static func program() throws -> String {
        let runner = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var folder = URL(fileURLWithPath: runner).deletingLastPathComponent()
        // On some systems the runner lies some folders below the build's.
        for _ in 0..<4 {
            let path = folder.appendingPathComponent("deepseek-vl").path
            if access(path, X_OK) == 0 { return path }
            folder.deleteLastPathComponent()
        }
        throw Failure(description: "no program 'deepseek-vl' beside \(runner)")
    }

    /// Starts the program.
    ///
    /// - Parameter environment: added to what the test has.
    init(_ arguments: [String], environment: [String: String]) throws {
        let program = try Self.program()
        var variables = ProcessInfo.processInfo.environment
        variables.merge(environment) { $1 }
        let argv = ([program] + arguments).map { strdup($0) } + [nil]
        let envp = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argv + envp { free(text) } }
        var started: Int32 = 0
        master = vl_test_start_at_terminal(program, argv, envp, &started)
        guard master >= 0 else {
            throw Failure(description: "cannot start: \(String(cString: strerror(errno)))")
        }
        process = started
    }

    deinit {
        if !isReaped {
            kill(process, SIGKILL)
            var status: Int32 = 0
            waitpid(process, &status, 0)
        }
        close(master)
    }

    /// Types bytes: `\r` is Enter, `\u{3}` is Ctrl-C.
    func type(_ text: String) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { write(master, $0.baseAddress, $0.count) }
    }

    /// What appeared since the last expectation.
    private var unseen: String { String(decoding: screen[seen...], as: UTF8.self) }

    /// Waits until a text appears, and gives what stands before it.
    @discardableResult
    func expect(_ text: String, seconds: Double = 60) throws -> String {
        let end = ContinuousClock.now + .seconds(seconds)
        while true {
            let all = unseen
            if let range = all.range(of: text) {
                let before = String(all[..<range.lowerBound])
                seen += before.utf8.count + text.utf8.count
                return before
            }
            guard ContinuousClock.now < end, readSome() else {
                throw Failure(description: "expected '\(text)', found '\(all)'")
            }
        }
    }

    /// Waits for the program's end, and gives its exit status; -1 if a signal ended it.
    func exitStatus(seconds: Double = 60) throws -> Int32 {
        let end = ContinuousClock.now + .seconds(seconds)
        while readSome() {
            guard ContinuousClock.now < end else { throw Failure(description: "still running: '\(unseen)'") }
        }
        var status: Int32 = 0
        waitpid(process, &status, 0)
        isReaped = true
        return status & 0x7f == 0 ? status >> 8 & 0xff : -1
    }

    /// Takes in what the program wrote, waiting for a tenth of a second; false when it has gone.
    private func readSome() -> Bool {
        var events = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
        guard poll(&events, 1, 100) > 0 else { return true }
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = read(master, &buffer, buffer.count)
        guard count > 0 else { return false }
        screen += buffer[..<count]
        return true
    }
}
