/// Random numbers that are the same on every machine: Philox4x32-10 (Salmon et al., SC 2011), keyed by a seed.
package struct Philox: Sendable {
    private var counter: UInt64 = 0
    private let key: (UInt32, UInt32)

    package init(seed: UInt64) {
        key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    }

    /// The next four words.
    package mutating func block() -> (UInt32, UInt32, UInt32, UInt32) {
        var x = (UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32), UInt32(0), UInt32(0))
        counter &+= 1
        var (first, second) = key
        for round in 0..<10 {
            if round > 0 {
                first = first &+ 0x9e37_79b9
                second = second &+ 0xbb67_ae85
            }
            let low = UInt64(x.0) * 0xd251_1f53
            let high = UInt64(x.2) * 0xcd9e_8d57
            x = (
                UInt32(truncatingIfNeeded: high >> 32) ^ x.1 ^ first, UInt32(truncatingIfNeeded: high),
                UInt32(truncatingIfNeeded: low >> 32) ^ x.3 ^ second, UInt32(truncatingIfNeeded: low)
            )
        }
        return x
    }

    /// A number from 0 up to but not including 1, with 53 random bits.
    package mutating func unit() -> Double {
        let words = block()
        return Double((UInt64(words.0) << 32 | UInt64(words.1)) >> 11) * 0x1p-53
    }
}
