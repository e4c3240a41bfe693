/// A string compared and hashed by its UTF-8 bytes.
///
/// `String ==` is canonical equivalence, so a dictionary keyed by `String` merges two names that differ in
/// their bytes ("\u{e9}" and "e\u{301}"). Names that come from files are keyed by this type.
package struct ExactString: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The string itself.
    package let text: String

    /// A key for `text`.
    package init(_ text: String) { self.text = text }

    package init(stringLiteral value: String) { text = value }

    package static func == (left: ExactString, right: ExactString) -> Bool {
        left.text.utf8.count == right.text.utf8.count && left.text.utf8.elementsEqual(right.text.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(UInt8(0xFF))
    }

    package var description: String { text }
}
