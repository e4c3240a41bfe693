/// SHA-256 of FIPS 180-4, for goldens that are kept as digests.
enum SHA256 {
    /// Fractional parts of the cube roots of the first 64 primes.
    private static let rounds: [UInt32] = primes(64).map { prime in
        // 32 bits of a fraction: floor(cbrt(prime) * 2^32), found in whole numbers.
        fraction { root in root * root * root < UInt128(prime) << 96 }
    }

    /// Fractional parts of the square roots of the first eight primes.
    private static let start: [UInt32] = primes(8).map { prime in
        fraction { root in root * root < UInt128(prime) << 64 }
    }

    private static func primes(_ count: Int) -> [Int] {
        var found: [Int] = []
        var candidate = 2
        while found.count < count {
            if found.allSatisfy({ candidate % $0 != 0 }) { found.append(candidate) }
            candidate += 1
        }
        return found
    }

    /// The low 32 bits of the largest number that is below a root scaled by 2^32.
    private static func fraction(_ isBelow: (UInt128) -> Bool) -> UInt32 {
        var root: UInt128 = 0
        for bit in (0..<37).reversed() where isBelow(root | 1 << bit) { root |= 1 << bit }
        return UInt32(truncatingIfNeeded: root)
    }

    /// The digest in hexadecimal.
    static func hex(_ bytes: [UInt8]) -> String {
        var message = bytes
        message.append(0x80)
        while message.count % 64 != 56 { message.append(0) }
        let bitCount = UInt64(bytes.count) * 8
        for shift in stride(from: 56, through: 0, by: -8) {
            message.append(UInt8(truncatingIfNeeded: bitCount >> shift))
        }
        var state = start
        let rounds = rounds
        var schedule = [UInt32](repeating: 0, count: 64)
        message.withUnsafeBufferPointer { message in
            for block in stride(from: 0, to: message.count, by: 64) {
                digest(message, block, &schedule, rounds, &state)
            }
        }
        return state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    private static func digest(
        _ message: UnsafeBufferPointer<UInt8>,
        _ block: Int,
        _ schedule: inout [UInt32],
        _ rounds: [UInt32],
        _ state: inout [UInt32]
    ) {
        func rotated(_ word: UInt32, _ by: UInt32) -> UInt32 { word >> by | word << (32 - by) }
        for index in 0..<16 {
            let at = block + 4 * index
            schedule[index] =
                UInt32(message[at]) << 24 | UInt32(message[at + 1]) << 16
                | UInt32(message[at + 2]) << 8 | UInt32(message[at + 3])
        }
        for index in 16..<64 {
            let early = schedule[index - 15]
            let late = schedule[index - 2]
            let first = rotated(early, 7) ^ rotated(early, 18) ^ early >> 3
            let second = rotated(late, 17) ^ rotated(late, 19) ^ late >> 10
            schedule[index] = schedule[index - 16] &+ first &+ schedule[index - 7] &+ second
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let choice = e & f ^ ~e & g
            let majority = a & b ^ a & c ^ b & c
            let high = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
            let low = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)
            let first = h &+ high &+ choice &+ rounds[index] &+ schedule[index]
            (h, g, f, e) = (g, f, e, d &+ first)
            (d, c, b, a) = (c, b, a, first &+ low &+ majority)
        }
        for (index, word) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= word }
    }
}
