/// Tokens by their bytes and by their id: an open hash table over one block of memory.
struct Vocabulary: Sendable {
    private var arena: [UInt8] = []
    private var entries: [(start: Int32, count: Int32, id: Int32)] = []
    private var table: [Int32]
    private var mask: Int

    init() {
        table = [Int32](repeating: -1, count: 1024)
        mask = 1023
    }

    /// Number of tokens.
    var count: Int { entries.count }

    private static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        return Int(truncatingIfNeeded: hash ^ hash >> 29)
    }

    private func place(_ bytes: UnsafeBufferPointer<UInt8>) -> Int {
        var index = Self.hash(bytes) & mask
        while table[index] >= 0 {
            let entry = entries[Int(table[index])]
            if Int(entry.count) == bytes.count {
                let isEqual = arena.withUnsafeBufferPointer { arena in
                    bytes.indices.allSatisfy { arena[Int(entry.start) + $0] == bytes[$0] }
                }
                if isEqual { break }
            }
            index = (index + 1) & mask
        }
        return index
    }

    /// Adds a token; false if its text is there already.
    mutating func add(_ bytes: UnsafeBufferPointer<UInt8>, id: Int32) -> Bool {
        if (entries.count + 1) * 2 > table.count { grow() }
        let index = place(bytes)
        guard table[index] < 0 else { return false }
        table[index] = Int32(entries.count)
        entries.append((Int32(arena.count), Int32(bytes.count), id))
        arena.append(contentsOf: bytes)
        return true
    }

    private mutating func grow() {
        mask = table.count * 2 - 1
        table = [Int32](repeating: -1, count: mask + 1)
        for (number, entry) in entries.enumerated() {
            let range = Int(entry.start)..<Int(entry.start + entry.count)
            let index = arena.withUnsafeBufferPointer { arena -> Int in
                var index = Self.hash(UnsafeBufferPointer(rebasing: arena[range])) & mask
                while table[index] >= 0 { index = (index + 1) & mask }
                return index
            }
            table[index] = Int32(number)
        }
    }

    /// The id of a token's text.
    func id(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32? {
        let found = table[place(bytes)]
        return found < 0 ? nil : entries[Int(found)].id
    }

    func id(_ bytes: [UInt8]) -> Int32? { bytes.withUnsafeBufferPointer { id($0) } }

    /// Hands every token's text and id to `body`.
    func visit(_ body: (ArraySlice<UInt8>, Int32) -> Void) {
        for entry in entries { body(arena[Int(entry.start)..<Int(entry.start + entry.count)], entry.id) }
    }
}
