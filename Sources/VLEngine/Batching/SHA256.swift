/// SHA-256 (FIPS 180-4), fed piece by piece: what tells prefixes and pictures of different requests apart.
///
/// Of our own because the engine stands below every library that has it, and a build without networking has none.
package struct SHA256 {
    /// 256 bits.
    package struct Digest: Hashable, Sendable {
        package let words: [UInt32]

        /// The 32 bytes, as the standard orders them.
        package var bytes: [UInt8] {
            words.flatMap { word in
                stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> $0) }
            }
        }
    }

    private static let constants: [UInt32] = primes(64).map { prime in
        fraction { root in root * root * root < UInt128(prime) << 96 }
    }
    private static let start: [UInt32] = primes(8).map { prime in
        fraction { root in root * root < UInt128(prime) << 64 }
    }

    private var state = SHA256.start
    private var pending: [UInt8] = []
    private var byteCount: UInt64 = 0
    private var schedule = [UInt32](repeating: 0, count: 64)

    package init() {}

    /// The digest of one text or file.
    package static func digest(_ bytes: some Collection<UInt8>) -> Digest {
        var hash = SHA256()
        hash.update(Array(bytes))
        return hash.finish()
    }

    /// Takes more bytes.
    package mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// Takes more bytes.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        byteCount += UInt64(bytes.count)
        var offset = 0
        if !pending.isEmpty {
            let taken = min(64 - pending.count, bytes.count)
            pending.append(contentsOf: bytes[..<taken])
            offset = taken
            guard pending.count == 64 else { return }
            let block = pending
            pending.removeAll(keepingCapacity: true)
            block.withUnsafeBytes { compress($0, 0) }
        }
        while offset + 64 <= bytes.count {
            compress(bytes, offset)
            offset += 64
        }
        pending.append(contentsOf: bytes[offset...])
    }

    /// Takes whole numbers, each as eight bytes.
    package mutating func update(_ numbers: Int...) {
        for number in numbers { withUnsafeBytes(of: Int64(number).littleEndian) { update($0) } }
    }

    /// The digest of all that was taken.
    package mutating func finish() -> Digest {
        let bits = byteCount &* 8
        var padding: [UInt8] = [0x80]
        while (pending.count + padding.count) % 64 != 56 { padding.append(0) }
        for shift in stride(from: 56, through: 0, by: -8) {
            padding.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
        }
        update(padding)
        return Digest(words: state)
    }

    private mutating func compress(_ bytes: UnsafeRawBufferPointer, _ offset: Int) {
        func rotated(_ word: UInt32, _ by: UInt32) -> UInt32 { word &>> by | word &<< (32 &- by) }
        schedule.withUnsafeMutableBufferPointer { w in
            Self.constants.withUnsafeBufferPointer { k in
                for index in 0..<16 {
                    let word = bytes.loadUnaligned(fromByteOffset: offset + 4 * index, as: UInt32.self)
                    w[index] = UInt32(bigEndian: word)
                }
                for index in 16..<64 {
                    let early = w[index - 15]
                    let late = w[index - 2]
                    let first = rotated(early, 7) ^ rotated(early, 18) ^ early &>> 3
                    let second = rotated(late, 17) ^ rotated(late, 19) ^ late &>> 10
                    w[index] = w[index - 16] &+ first &+ w[index - 7] &+ second
                }
                var (a, b, c, d) = (state[0], state[1], state[2], state[3])
                var (e, f, g, h) = (state[4], state[5], state[6], state[7])
                for index in 0..<64 {
                    let mixed = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
                    let first = h &+ mixed &+ (e & f ^ ~e & g) &+ k[index] &+ w[index]
                    let second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) &+ (a & b ^ a & c ^ b & c)
                    (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ second)
                }
                let added = [a, b, c, d, e, f, g, h]
                for index in 0..<8 { state[index] = state[index] &+ added[index] }
            }
        }
    }

    // MARK: Constants

    private static func primes(_ count: Int) -> [Int] {
        var found: [Int] = []
        var candidate = 2
        while found.count < count {
            if found.allSatisfy({ !candidate.isMultiple(of: $0) }) { found.append(candidate) }
            candidate += 1
        }
        return found
    }

    /// The first 32 bits behind the point of a prime's root, which is searched in whole numbers.
    private static func fraction(_ isBelow: (UInt128) -> Bool) -> UInt32 {
        var root: UInt128 = 0
        for bit in (0..<37).reversed() where isBelow(root | 1 << bit) { root |= 1 << bit }
        return UInt32(truncatingIfNeeded: root)
    }
}
