/// Merges the bytes of a piece into tokens: byte-pair encoding over ids, never over texts.
struct BytePairEncoder: Sendable {
    /// Token of each byte, or -1 where the vocabulary has none.
    let byteTokens: [Int32]
    private let merges: MergeTable
    /// Whole pieces that are tokens without merging (`ignore_merges`).
    private let whole: [ByteKey: Int32]?
    /// Pieces up to this length are merged by looking for the best pair again and again, longer ones with a heap.
    private static let shortPiece = 48

    init(byteTokens: [Int32], merges: MergeTable, whole: [ByteKey: Int32]?) {
        self.byteTokens = byteTokens
        self.merges = merges
        self.whole = whole
    }

    /// Number of merges.
    var mergeCount: Int { merges.count }

    /// Appends the tokens of a piece.
    func encode(_ piece: UnsafeBufferPointer<UInt8>, into ids: inout [Int32], _ scratch: inout Scratch) {
        if let whole, let id = whole[ByteKey(Array(piece))] {
            ids.append(id)
            return
        }
        scratch.symbols.removeAll(keepingCapacity: true)
        for byte in piece where byteTokens[Int(byte)] >= 0 { scratch.symbols.append(byteTokens[Int(byte)]) }
        merge(into: &ids, &scratch)
    }

    /// Appends the tokens of a piece whose symbols are given.
    func encode(symbols: [Int32], into ids: inout [Int32], _ scratch: inout Scratch) {
        scratch.symbols = symbols
        merge(into: &ids, &scratch)
    }

    private func merge(into ids: inout [Int32], _ scratch: inout Scratch) {
        if scratch.symbols.count <= Self.shortPiece {
            mergeShort(&scratch)
            ids.append(contentsOf: scratch.symbols)
        } else {
            mergeLong(&scratch, into: &ids)
        }
    }

    /// Buffers that are reused from piece to piece.
    struct Scratch {
        var symbols: [Int32] = []
        fileprivate var ranks: [UInt64] = []
        fileprivate var heap = Heap()
        fileprivate var next: [Int32] = []
        fileprivate var previous: [Int32] = []
    }

    /// Merges the leftmost pair of the best rank until none is left.
    private func mergeShort(_ scratch: inout Scratch) {
        var count = scratch.symbols.count
        guard count > 1 else { return }
        scratch.ranks.removeAll(keepingCapacity: true)
        scratch.symbols.withUnsafeMutableBufferPointer { symbols in
            for index in 0..<count - 1 {
                scratch.ranks.append(merges.find(symbols[index], symbols[index + 1]))
            }
            scratch.ranks.withUnsafeMutableBufferPointer { ranks in
                while count > 1 {
                    var best = UInt64.max
                    var place = 0
                    for index in 0..<count - 1 where ranks[index] < best {
                        best = ranks[index]
                        place = index
                    }
                    if best == UInt64.max { break }
                    symbols[place] = Int32(truncatingIfNeeded: best & 0xffff_ffff)
                    for index in place + 1..<count - 1 {
                        symbols[index] = symbols[index + 1]
                        ranks[index - 1] = ranks[index]
                    }
                    count -= 1
                    if place > 0 { ranks[place - 1] = merges.find(symbols[place - 1], symbols[place]) }
                    ranks[place] = place + 1 < count ? merges.find(symbols[place], symbols[place + 1]) : .max
                }
            }
        }
        scratch.symbols.removeLast(scratch.symbols.count - count)
    }

    /// The same with a heap of candidate pairs: n log n, so that a piece of a million bytes takes no longer than its
    /// length is worth.
    private func mergeLong(_ scratch: inout Scratch, into ids: inout [Int32]) {
        let count = scratch.symbols.count
        scratch.next = (0..<Int32(count)).map { $0 + 1 }
        scratch.previous = (0..<Int32(count)).map { $0 - 1 }
        scratch.heap.removeAll()
        for index in 0..<count - 1 {
            let found = merges.find(scratch.symbols[index], scratch.symbols[index + 1])
            if found != .max { scratch.heap.push(rank: found, place: Int32(index)) }
        }
        while let (found, place) = scratch.heap.pop() {
            let left = Int(place)
            guard scratch.symbols[left] >= 0, scratch.next[left] < Int32(count) else { continue }
            let right = Int(scratch.next[left])
            // A candidate whose pair has changed meanwhile is stale.
            guard merges.find(scratch.symbols[left], scratch.symbols[right]) == found else { continue }
            scratch.symbols[left] = Int32(truncatingIfNeeded: found & 0xffff_ffff)
            scratch.symbols[right] = -1
            scratch.next[left] = scratch.next[right]
            if scratch.next[left] < Int32(count) { scratch.previous[Int(scratch.next[left])] = place }
            if scratch.previous[left] >= 0 {
                let before = scratch.previous[left]
                let found = merges.find(scratch.symbols[Int(before)], scratch.symbols[left])
                if found != .max { scratch.heap.push(rank: found, place: before) }
            }
            if scratch.next[left] < Int32(count) {
                let found = merges.find(scratch.symbols[left], scratch.symbols[Int(scratch.next[left])])
                if found != .max { scratch.heap.push(rank: found, place: place) }
            }
        }
        for symbol in scratch.symbols where symbol >= 0 { ids.append(symbol) }
    }

    /// A binary heap of (rank and result, place), smallest rank first, then leftmost.
    fileprivate struct Heap {
        private var items: [(rank: UInt64, place: Int32)] = []

        mutating func removeAll() { items.removeAll(keepingCapacity: true) }

        private static func isBefore(
            _ a: (rank: UInt64, place: Int32),
            _ b: (rank: UInt64, place: Int32)
        ) -> Bool {
            a.rank != b.rank ? a.rank < b.rank : a.place < b.place
        }

        mutating func push(rank: UInt64, place: Int32) {
            items.append((rank, place))
            var index = items.count - 1
            while index > 0, Self.isBefore(items[index], items[(index - 1) / 2]) {
                items.swapAt(index, (index - 1) / 2)
                index = (index - 1) / 2
            }
        }

        mutating func pop() -> (UInt64, Int32)? {
            guard let first = items.first else { return nil }
            let last = items.removeLast()
            if !items.isEmpty {
                items[0] = last
                var index = 0
                while true {
                    var smallest = index
                    for child in [2 * index + 1, 2 * index + 2]
                    where child < items.count && Self.isBefore(items[child], items[smallest]) {
                        smallest = child
                    }
                    if smallest == index { break }
                    items.swapAt(index, smallest)
                    index = smallest
                }
            }
            return (first.rank, first.place)
        }
    }
}

/// Bytes as a dictionary key: Swift's strings would equate different spellings of one character.
struct ByteKey: Hashable, Sendable {
    let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }
}

/// From a pair of tokens to the rank of its merge and the merged token: an open hash table.
struct MergeTable: Sendable {
    private var keys: [UInt64]
    /// Rank in the upper half, merged token in the lower.
    private var values: [UInt64]
    private let mask: Int
    private static let empty = UInt64.max
    /// Number of pairs.
    private(set) var count = 0

    /// - Parameter capacity: the most merges that will be added.
    init(capacity: Int) {
        var size = 16
        while size < capacity * 2 { size *= 2 }
        keys = [UInt64](repeating: Self.empty, count: size)
        values = [UInt64](repeating: .max, count: size)
        mask = size - 1
    }

    @inline(__always)
    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    @inline(__always)
    private func place(_ key: UInt64) -> Int {
        var index = Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
        while keys[index] != key && keys[index] != Self.empty { index = (index + 1) & mask }
        return index
    }

    /// Adds a merge; a later one of the same pair replaces an earlier one.
    mutating func add(_ left: Int32, _ right: Int32, rank: Int, result: Int32) {
        let key = Self.key(left, right)
        let index = place(key)
        if keys[index] == Self.empty { count += 1 }
        keys[index] = key
        values[index] = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: result))
    }

    /// Rank and merged token of a pair, or the largest number.
    @inline(__always)
    func find(_ left: Int32, _ right: Int32) -> UInt64 {
        values[place(Self.key(left, right))]
    }
}
