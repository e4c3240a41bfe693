/// Halves as bits, for scales that must not be rounded.
enum HalfFloat {
    /// The bits of the half that equals a number; nil if none does (NaN equals none).
    static func bits(exactly value: Float) -> UInt16? {
        let bits = value.bitPattern
        let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
        let exponent = Int(bits >> 23 & 0xFF) - 127
        let fraction = bits & 0x7F_FFFF
        switch exponent {
        case 128: return fraction == 0 ? sign | 0x7C00 : nil
        case -14...15:
            guard fraction & 0x1FFF == 0 else { return nil }
            return sign | UInt16(exponent + 15) << 10 | UInt16(fraction >> 13)
        case -24..<(-14):
            // Below 2^-14 a half counts in steps of 2^-24.
            let drop = UInt32(-1 - exponent)
            let whole = fraction | 0x80_0000
            guard whole & ((1 << drop) - 1) == 0 else { return nil }
            return sign | UInt16(whole >> drop)
        default: return value == 0 ? sign : nil
        }
    }
}
