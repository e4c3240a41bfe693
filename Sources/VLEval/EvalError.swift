/// Why a line of a questions file or a reference file was refused.
package struct EvalError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file's name as the caller gave it.
    package let file: String
    /// The line, from 1.
    package let line: Int
    /// What the line should hold.
    package let expected: String
    /// What it holds.
    package let found: String

    package var description: String { "\(file): line \(line): expected \(expected), found \(found)" }
}
