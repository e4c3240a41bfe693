import CVLTerminal

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Reads lines at a terminal: cursor keys, history, search, file names by Tab, pasted texts of several lines, UTF-8.
///
/// One at a time, on standard input and output.
package final class LineEditor {
    /// What a reading ended with.
    package enum Input: Equatable {
        case line(String)
        /// Ctrl-C; whether anything had been typed.
        case interrupted(wasEmpty: Bool)
        /// Ctrl-D in an empty line.
        case end
    }

    private let editor: OpaquePointer
    private let historyFile: String?

    /// - Parameters:
    ///   - name: what the user's `~/.editrc` calls the program.
    ///   - historyFile: where entered lines are kept for the next time; its folder is made if it is missing.
    /// - Returns: nil if standard input or output is no terminal.
    package init?(name: String, historyFile: String?) {
        guard isatty(0) == 1, isatty(1) == 1, let editor = vl_editor_open(name, 1000) else { return nil }
        self.editor = editor
        self.historyFile = historyFile
        if let historyFile, access(historyFile, R_OK) == 0 { vl_editor_load_history(editor, historyFile) }
    }

    deinit {
        if let historyFile, Self.makeFolder(of: historyFile) {
            // Nothing is lost but a convenience when this fails, and nobody could do anything about it.
            vl_editor_save_history(editor, historyFile)
        }
        vl_editor_close(editor)
    }

    /// Reads a line.
    package func read(_ prompt: String) -> Input {
        var line: UnsafePointer<CChar>?
        var length = 0
        let outcome = vl_editor_read(editor, prompt, &line, &length)
        let bytes = UnsafeRawBufferPointer(start: line, count: length)
        switch outcome {
        case VL_EDITOR_LINE: return .line(String(decoding: bytes, as: UTF8.self))
        case VL_EDITOR_INTERRUPTED: return .interrupted(wasEmpty: bytes.isEmpty)
        default: return .end
        }
    }

    /// Keeps a line for the keys that go back to it.
    package func remember(_ line: String) { vl_editor_remember(editor, line) }

    /// The program's file of entered lines, where the XDG conventions have it; nil without a home folder.
    package static func historyFile(for program: String) -> String? {
        func folder(_ name: String) -> String? {
            guard let value = getenv(name).map({ String(cString: $0) }), value.hasPrefix("/") else {
                return nil
            }
            return value
        }
        guard let state = folder("XDG_STATE_HOME") ?? folder("HOME").map({ $0 + "/.local/state" }) else {
            return nil
        }
        return state + "/" + program + "/history"
    }

    /// Makes the folders above a file, for its owner only; false if there is no such folder afterwards.
    private static func makeFolder(of file: String) -> Bool {
        var end = file.utf8.index(after: file.startIndex)
        while let slash = file.utf8[end...].firstIndex(of: UInt8(ascii: "/")) {
            if mkdir(String(file[..<slash]), 0o700) != 0 && errno != EEXIST { return false }
            end = file.utf8.index(after: slash)
        }
        return true
    }
}

/// Ctrl-C while the program works.
package enum Interrupts {
    /// From now on it ends nothing, but is counted.
    package static func watch() { vl_interrupts_watch() }
    /// Whether it was pressed since the last `reset`.
    package static var isPending: Bool { vl_interrupts_count() > 0 }
    package static func reset() { vl_interrupts_reset() }
}
