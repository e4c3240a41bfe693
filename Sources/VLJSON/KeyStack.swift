/// The keys of all open objects, to find duplicates.
///
/// A small object is searched key by key, a big one by a hash table; hashes are seeded by process, so no file
/// can be built to make them collide.
struct KeyStack {
    /// A key's place in the text.
    private struct Key {
        let start: UInt32
        /// The length in bytes, times two, plus one if there are escapes.
        let lengthAndEscapes: UInt32
        let hash: UInt32

        var text: JSONText {
            let start = Int(start)
            return JSONText(
                range: start..<start + Int(lengthAndEscapes >> 1),
                hasEscapes: lengthAndEscapes & 1 == 1
            )
        }
    }

    /// An open object.
    private struct Scope {
        /// The index of its first key.
        let first: Int
        /// Open addressing: indices of keys from `first`, plus one; empty for a small object.
        var slots: [UInt32] = []
    }

    /// Objects of up to this many keys have no table.
    private static let tableFrom = 8

    private var keys: [Key] = []
    private var scopes: [Scope] = []

    mutating func beginObject() { scopes.append(Scope(first: keys.count)) }

    mutating func endObject() {
        guard let scope = scopes.popLast() else { return }
        keys.removeLast(keys.count - scope.first)
    }

    /// The newest key of the `index`-th open object, from the outermost.
    func lastKey(ofObject index: Int) -> JSONText? {
        guard index < scopes.count else { return nil }
        let end = index + 1 < scopes.count ? scopes[index + 1].first : keys.count
        return end > scopes[index].first ? keys[end - 1].text : nil
    }

    /// Adds a key to the innermost object; false if the object has it already (it is then not added).
    mutating func insert(_ text: JSONText, of bytes: Span<UInt8>) -> Bool {
        let current = scopes.count - 1
        let first = scopes[current].first
        let count = keys.count - first
        if count < Self.tableFrom {
            for key in keys[first...] where Self.isEqual(key.text, text, bytes) { return false }
            append(text, hash: 0)
            return true
        }
        if count == Self.tableFrom {
            // The first keys were not hashed; do it now that a table is worth its while.
            let small = keys[first...].map(\.text)
            keys.removeLast(count)
            for text in small { append(text, hash: Self.hash(text, bytes)) }
        }
        if scopes[current].slots.count < 2 * (count + 1) { grow(current, count) }
        let hash = Self.hash(text, bytes)
        let mask = scopes[current].slots.count - 1
        var slot = Int(hash) & mask
        while scopes[current].slots[slot] != 0 {
            let key = keys[first + Int(scopes[current].slots[slot]) - 1]
            if key.hash == hash, Self.isEqual(key.text, text, bytes) { return false }
            slot = (slot + 1) & mask
        }
        append(text, hash: hash)
        scopes[current].slots[slot] = UInt32(count + 1)
        return true
    }

    private mutating func append(_ text: JSONText, hash: UInt32) {
        keys.append(
            Key(
                start: UInt32(text.range.lowerBound),
                lengthAndEscapes: UInt32(text.range.count) << 1 | (text.hasEscapes ? 1 : 0),
                hash: hash
            )
        )
    }

    /// Gives the table four slots a key and enters all keys anew.
    private mutating func grow(_ current: Int, _ count: Int) {
        var size = 64
        while size < 4 * (count + 1) { size *= 2 }
        var slots = [UInt32](repeating: 0, count: size)
        let first = scopes[current].first
        for index in 0..<count {
            var slot = Int(keys[first + index].hash) & (size - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = UInt32(index + 1)
        }
        scopes[current].slots = slots
    }

    private static func hash(_ text: JSONText, _ bytes: Span<UInt8>) -> UInt32 {
        var hasher = Hasher()
        if text.hasEscapes {
            var decoded: [UInt8] = []
            text.append(of: bytes, to: &decoded)
            decoded.withUnsafeBytes { hasher.combine(bytes: $0) }
        } else {
            bytes.extracting(text.range).withUnsafeBytes { hasher.combine(bytes: $0) }
        }
        return UInt32(truncatingIfNeeded: hasher.finalize())
    }

    private static func isEqual(_ left: JSONText, _ right: JSONText, _ bytes: Span<UInt8>) -> Bool {
        if !left.hasEscapes, !right.hasEscapes {
            guard left.range.count == right.range.count else { return false }
            var index = right.range.lowerBound
            for byte in left.range {
                guard bytes[byte] == bytes[index] else { return false }
                index += 1
            }
            return true
        }
        var decoded: ([UInt8], [UInt8]) = ([], [])
        left.append(of: bytes, to: &decoded.0)
        right.append(of: bytes, to: &decoded.1)
        return decoded.0 == decoded.1
    }
}
