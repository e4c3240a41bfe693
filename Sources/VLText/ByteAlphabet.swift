/// GPT-2's alphabet: each byte as a printable character, the way byte-level vocabularies spell tokens.
///
/// Printable bytes of Latin-1 stand for themselves, the others for U+0100 and up in their order.
enum ByteAlphabet {
    /// Code point of each byte.
    static let points: [UInt32] = {
        var next: UInt32 = 256
        return (UInt32(0)..<256).map { byte in
            switch byte {
            case 0x21...0x7e, 0xa1...0xac, 0xae...0xff: return byte
            default:
                next += 1
                return next - 1
            }
        }
    }()

    /// Byte of each code point below 324, or -1.
    private static let bytes: [Int16] = {
        var table = [Int16](repeating: -1, count: 324)
        for (byte, point) in points.enumerated() { table[Int(point)] = Int16(byte) }
        return table
    }()

    /// The bytes that a token's text stands for, or nil if a character is not of the alphabet.
    static func decode(_ text: [UInt8]) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            let (point, length) = UTF8Scan.decode(text, index)
            guard point < 324, bytes[Int(point)] >= 0 else { return nil }
            result.append(UInt8(bytes[Int(point)]))
            index += length
        }
        return result
    }
}

/// Reading of UTF-8 that is known to be valid.
enum UTF8Scan {
    /// The code point at `index` and its length in bytes.
    @inline(__always)
    static func decode(_ bytes: UnsafeBufferPointer<UInt8>, _ index: Int) -> (point: UInt32, length: Int) {
        let first = UInt32(bytes[index])
        if first < 0x80 { return (first, 1) }
        if first < 0xe0 { return ((first & 0x1f) << 6 | UInt32(bytes[index + 1]) & 0x3f, 2) }
        let second = UInt32(bytes[index + 1]) & 0x3f
        if first < 0xf0 { return ((first & 0x0f) << 12 | second << 6 | UInt32(bytes[index + 2]) & 0x3f, 3) }
        let third = UInt32(bytes[index + 2]) & 0x3f
        return ((first & 0x07) << 18 | second << 12 | third << 6 | UInt32(bytes[index + 3]) & 0x3f, 4)
    }

    static func decode(_ bytes: [UInt8], _ index: Int) -> (point: UInt32, length: Int) {
        bytes.withUnsafeBufferPointer { decode($0, index) }
    }
}
