/// Random numbers that are the same on every machine: Philox4x32-10 (Salmon et al., SC 2011), keyed by a seed.
///
/// A counter-based generator: the n-th block depends on the seed and on n alone.
package struct Philox: Sendable {
    /// Four words: a counter, or what comes of it.
    package typealias Words = (UInt32, UInt32, UInt32, UInt32)

    private var counter: UInt64 = 0
    private let key: (UInt32, UInt32)

    package init(seed: UInt64) {
        key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    }

    /// The next four words.
    package mutating func block() -> Words {
        let low = UInt32(truncatingIfNeeded: counter)
        let high = UInt32(truncatingIfNeeded: counter >> 32)
        counter &+= 1
        return Self.words((low, high, 0, 0), key: key)
    }

    /// The words of a counter under a key: ten rounds.
    package static func words(_ counter: Words, key: (UInt32, UInt32)) -> Words {
        var words = counter
        var key = key
        for round in 0..<10 {
            if round > 0 {
                key.0 = key.0 &+ 0x9e37_79b9
                key.1 = key.1 &+ 0xbb67_ae85
            }
            let first = UInt64(words.0) * 0xd251_1f53
            let third = UInt64(words.2) * 0xcd9e_8d57
            words = (
                UInt32(truncatingIfNeeded: third >> 32) ^ words.1 ^ key.0,
                UInt32(truncatingIfNeeded: third),
                UInt32(truncatingIfNeeded: first >> 32) ^ words.3 ^ key.1,
                UInt32(truncatingIfNeeded: first)
            )
        }
        return words
    }

    /// A number from 0 up to but not including 1, with 53 random bits.
    package mutating func unit() -> Double {
        let words = block()
        return Double((UInt64(words.0) << 32 | UInt64(words.1)) >> 11) * 0x1p-53
    }
}
