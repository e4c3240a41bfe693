import CPCRE2

/// A regular expression of a tokenizer file, run by PCRE2 with limits on its work.
///
/// The files are written for Oniguruma; what both read alike is accepted, back-references are refused.
final class CompiledPattern: @unchecked Sendable {
    // @unchecked Sendable: PCRE2 only reads a compiled pattern while matching.
    private let code: OpaquePointer
    let source: String
    private let file: String
    /// Backtracking steps of one match, over all places where it is tried.
    private static let matchLimit: UInt32 = 1_000_000
    private static let lengthLimit = 10_000

    /// - Throws: `TokenizerError.badPattern`.
    init(_ source: String, file: String) throws(TokenizerError) {
        self.source = source
        self.file = file
        guard source.utf8.count <= Self.lengthLimit else {
            throw .badPattern(file: file, pattern: source, reason: "longer than \(Self.lengthLimit) bytes")
        }
        var status: Int32 = 0
        var place = 0
        let options = UInt32(PCRE2_UTF) | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE
        let context = pcre2_compile_context_create_8(nil)
        defer { pcre2_compile_context_free_8(context) }
        pcre2_set_parens_nest_limit_8(context, 64)
        let compiled = Array(source.utf8).withUnsafeBufferPointer {
            pcre2_compile_8($0.baseAddress, $0.count, options, &status, &place, context)
        }
        guard let compiled else {
            throw .badPattern(file: file, pattern: source, reason: Self.message(status) + " at byte \(place)")
        }
        code = compiled
        var references: UInt32 = 0
        pcre2_pattern_info_8(compiled, UInt32(PCRE2_INFO_BACKREFMAX), &references)
        if references > 0 {
            throw .badPattern(file: file, pattern: source, reason: "a back-reference, which is not supported")
        }
    }

    deinit { pcre2_code_free_8(code) }

    private static func message(_ status: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 200)
        let length = pcre2_get_error_message_8(status, &buffer, buffer.count)
        return length > 0 ? String(decoding: buffer.prefix(Int(length)), as: UTF8.self) : "error \(status)"
    }

    /// Whether a text has a match anywhere.
    ///
    /// - Throws: `TokenizerError.patternLimit`.
    func matches(_ text: String) throws(TokenizerError) -> Bool {
        let match = pcre2_match_data_create_8(1, nil)
        let context = pcre2_match_context_create_8(nil)
        defer {
            pcre2_match_data_free_8(match)
            pcre2_match_context_free_8(context)
        }
        pcre2_set_match_limit_8(context, Self.matchLimit)
        pcre2_set_depth_limit_8(context, 10_000)
        let status = Array(text.utf8).withUnsafeBufferPointer {
            pcre2_match_8(code, $0.baseAddress, $0.count, 0, 0, match, context)
        }
        if status == PCRE2_ERROR_NOMATCH { return false }
        guard status >= 0 else {
            throw .patternLimit(file: file, pattern: source, reason: Self.message(status))
        }
        return true
    }

    /// Hands matches and the gaps between them to `body`.
    ///
    /// - Throws: `TokenizerError.patternLimit`.
    func split(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ piece: Range<Int>,
        _ body: (Range<Int>) throws(TokenizerError) -> Void
    ) throws(TokenizerError) {
        let match = pcre2_match_data_create_8(1, nil)
        let context = pcre2_match_context_create_8(nil)
        defer {
            pcre2_match_data_free_8(match)
            pcre2_match_context_free_8(context)
        }
        pcre2_set_match_limit_8(context, Self.matchLimit)
        pcre2_set_depth_limit_8(context, 10_000)
        let text = UnsafeBufferPointer(rebasing: bytes[piece])
        var gap = 0
        var start = 0
        while start < text.count {
            let status = pcre2_match_8(
                code,
                text.baseAddress,
                text.count,
                start,
                UInt32(PCRE2_NO_UTF_CHECK),
                match,
                context
            )
            if status == PCRE2_ERROR_NOMATCH { break }
            guard status >= 0, let places = pcre2_get_ovector_pointer_8(match) else {
                throw .patternLimit(file: file, pattern: source, reason: Self.message(status))
            }
            let found = places[0]..<max(places[0], places[1])
            if found.isEmpty {
                // An empty match makes no piece; the next one is looked for behind the character.
                start = found.upperBound
                guard start < text.count else { break }
                start += UTF8Scan.decode(text, start).length
                continue
            }
            if gap < found.lowerBound {
                try body(piece.lowerBound + gap..<piece.lowerBound + found.lowerBound)
            }
            try body(piece.lowerBound + found.lowerBound..<piece.lowerBound + found.upperBound)
            start = found.upperBound
            gap = start
        }
        if gap < text.count { try body(piece.lowerBound + gap..<piece.upperBound) }
    }
}

/// A regular expression (PCRE2's, without back-references) that a user gives, run with limits on its work.
package struct SearchPattern: Sendable {
    private let compiled: CompiledPattern

    package var source: String { compiled.source }

    /// - Parameter place: where it was given, for messages.
    /// - Throws: `TokenizerError.badPattern`.
    package init(_ source: String, place: String) throws(TokenizerError) {
        compiled = try CompiledPattern(source, file: place)
    }

    /// Whether a text has a match anywhere.
    ///
    /// - Throws: `TokenizerError.patternLimit`.
    package func matches(_ text: String) throws(TokenizerError) -> Bool { try compiled.matches(text) }
}
