/// Windows bitmaps: 1, 4, 8, 24 and 32 bits without compression.
///
/// Read by hand: none of the kept C libraries of Debian reads this format alone, and it has no compression to get wrong.
enum Bitmap {
    private struct Reader {
        let bytes: [UInt8]

        func u16(_ at: Int) -> Int? {
            guard at >= 0, at + 2 <= bytes.count else { return nil }
            return Int(bytes[at]) | Int(bytes[at + 1]) << 8
        }

        func u32(_ at: Int) -> Int? {
            guard let low = u16(at), let high = u16(at + 2) else { return nil }
            return low | high << 16
        }

        func i32(_ at: Int) -> Int? { u32(at).map { Int(Int32(truncatingIfNeeded: $0)) } }
    }

    private struct Header {
        var width: Int
        var height: Int
        var isTopDown: Bool
        var bits: Int
        var paletteStart: Int
        var paletteCount: Int
        var paletteEntry: Int
        var dataStart: Int
    }

    static func isBitmap(_ bytes: [UInt8]) -> Bool { bytes.count >= 14 && bytes[0] == 0x42 && bytes[1] == 0x4d }

    /// Width and height from the header.
    static func size(_ bytes: [UInt8]) throws(BitmapFault) -> (width: Int, height: Int) {
        let header = try header(Reader(bytes: bytes))
        return (header.width, header.height)
    }

    struct BitmapFault: Error {
        let reason: String
    }

    private static func header(_ reader: Reader) throws(BitmapFault) -> Header {
        let cut = BitmapFault(reason: "the header ends early")
        guard let dataStart = reader.u32(10), let size = reader.u32(14) else { throw cut }
        if size == 12 {
            guard let width = reader.u16(18), let height = reader.u16(20), let bits = reader.u16(24) else { throw cut }
            return Header(
                width: width, height: height, isTopDown: false, bits: bits, paletteStart: 26,
                paletteCount: bits <= 8 ? 1 << bits : 0, paletteEntry: 3, dataStart: dataStart)
        }
        guard size >= 40, let width = reader.i32(18), let height = reader.i32(22), let bits = reader.u16(28),
            let compression = reader.u32(30), let used = reader.u32(46)
        else { throw cut }
        guard width >= 0, height > Int(Int32.min) else { throw BitmapFault(reason: "a size of \(width) x \(height)") }
        guard compression == 0 || (compression == 3 && bits == 32) else {
            throw BitmapFault(reason: "compression \(compression), which is not supported")
        }
        guard [1, 4, 8, 24, 32].contains(bits) else { throw BitmapFault(reason: "\(bits) bits a pixel, which are not supported") }
        if compression == 3 {
            guard reader.u32(54) == 0xff0000, reader.u32(58) == 0xff00, reader.u32(62) == 0xff else {
                throw BitmapFault(reason: "colour masks that are not supported")
            }
        }
        let colors = bits <= 8 ? (used == 0 ? 1 << bits : used) : 0
        guard colors <= 256 else { throw BitmapFault(reason: "a palette of \(colors)") }
        return Header(
            width: width, height: abs(height), isTopDown: height < 0, bits: bits, paletteStart: 14 + size, paletteCount: colors,
            paletteEntry: 4, dataStart: dataStart)
    }

    /// The pixels; the size has been judged by the caller.
    static func decode(_ bytes: [UInt8]) throws(BitmapFault) -> PixelBuffer {
        let reader = Reader(bytes: bytes)
        let header = try header(reader)
        let rowBytes = (header.width * header.bits + 31) / 32 * 4
        guard header.dataStart >= 14, header.dataStart + rowBytes * header.height <= bytes.count else {
            throw BitmapFault(reason: "the file ends early")
        }
        guard header.paletteStart + header.paletteCount * header.paletteEntry <= bytes.count else {
            throw BitmapFault(reason: "a palette beyond the end")
        }
        var out: [UInt8] = []
        out.reserveCapacity(header.width * header.height * 3)
        for line in 0..<header.height {
            let row = header.dataStart + (header.isTopDown ? line : header.height - 1 - line) * rowBytes
            for x in 0..<header.width {
                var place: Int
                if header.bits >= 24 {
                    place = row + x * header.bits / 8
                } else {
                    let perByte = 8 / header.bits
                    let shift = (perByte - 1 - x % perByte) * header.bits
                    let index = Int(bytes[row + x / perByte]) >> shift & ((1 << header.bits) - 1)
                    guard index < header.paletteCount else { throw BitmapFault(reason: "a colour beyond the palette") }
                    place = header.paletteStart + index * header.paletteEntry
                }
                out.append(bytes[place + 2])
                out.append(bytes[place + 1])
                out.append(bytes[place])
            }
        }
        return PixelBuffer(width: header.width, height: header.height, bytes: out)
    }
}
