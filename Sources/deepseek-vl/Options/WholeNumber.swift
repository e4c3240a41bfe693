import ArgumentParser

/// Whole numbers that options give.
enum WholeNumber {
    /// Refuses a number outside of what an option allows.
    ///
    /// - Parameter name: of the option, without its dashes.
    /// - Throws: `ValidationError`.
    static func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
        guard !range.contains(value) else { return }
        throw ValidationError(
            "--\(name): expected a whole number from \(range.lowerBound) to \(range.upperBound), found \(value)"
        )
    }

    /// Refuses a number of threads that no pool has.
    ///
    /// - Throws: `ValidationError`.
    static func check(threads: Int?) throws { if let threads { try check("threads", threads, 1...256) } }
}
