/// Windows bitmaps without compression: 1, 4, 8, 16, 24 and 32 bits a pixel.
///
/// Read by hand: none of the kept C libraries of Debian reads this format alone, and it has no compression to get wrong.
struct Bitmap {
    /// Why bytes are no bitmap that is read.
    struct Fault: Error {
        let reason: String
    }

    /// How a pixel gives its colours.
    private enum Pixels {
        /// An index of 1, 4 or 8 bits into `count` colours of `entry` bytes from `start` on.
        case palette(start: Int, count: Int, entry: Int)
        /// 5, 5 or 6, and 5 bits; blue in the lowest.
        case sixteen(greenBits: Int)
        /// Places of red, green and blue among the bytes of a pixel.
        case bytes(red: Int, green: Int, blue: Int)
    }

    let width: Int
    let height: Int
    private let isTopDown: Bool
    private let bits: Int
    private let dataStart: Int
    private let pixels: Pixels
    private let bytes: [UInt8]

    static func isBitmap(_ bytes: [UInt8]) -> Bool {
        bytes.count >= 14 && bytes[0] == 0x42 && bytes[1] == 0x4d
    }

    /// Reads the header.
    init(_ bytes: [UInt8]) throws(Fault) {
        func u16(_ at: Int) throws(Fault) -> Int {
            guard at <= bytes.count - 2 else { throw Fault(reason: "the header ends early") }
            return Int(bytes[at]) | Int(bytes[at + 1]) << 8
        }
        func u32(_ at: Int) throws(Fault) -> Int { try u16(at) | u16(at + 2) << 16 }

        let size = try u32(14)
        // Nothing is read of the longer ones but their colour masks.
        guard [12, 40, 52, 56, 64, 108, 124].contains(size) else {
            throw Fault(reason: "a header of \(size) bytes, which is not known")
        }
        let isOld = size == 12
        let rows = isOld ? try u16(20) : Int(Int32(truncatingIfNeeded: try u32(22)))
        let bits = try u16(isOld ? 24 : 28)
        let compression = isOld ? 0 : try u32(30)
        guard [1, 4, 8, 16, 24, 32].contains(bits) else {
            throw Fault(reason: "\(bits) bits a pixel, which are not supported")
        }
        guard compression == 0 || (compression == 3 && bits >= 16) else {
            throw Fault(reason: "compression \(compression), which is not supported")
        }
        width = isOld ? try u16(18) : try u32(18)
        height = abs(rows)
        isTopDown = rows < 0
        self.bits = bits
        dataStart = try u32(10)
        self.bytes = bytes
        if bits <= 8 {
            let used = isOld ? 0 : try u32(46)
            let count = used == 0 ? 1 << bits : used
            let entry = isOld ? 3 : 4
            guard count <= 256 else { throw Fault(reason: "a palette of \(count) colours") }
            guard 14 + size + count * entry <= bytes.count else {
                throw Fault(reason: "a palette beyond the end")
            }
            pixels = .palette(start: 14 + size, count: count, entry: entry)
        } else if compression == 3 {
            // Behind the header proper, or the first fields of a longer one: the same place.
            pixels = try Self.masked(bits, try u32(54), try u32(58), try u32(62))
        } else {
            pixels = bits == 16 ? .sixteen(greenBits: 5) : .bytes(red: 2, green: 1, blue: 0)
        }
    }

    private static func masked(_ bits: Int, _ red: Int, _ green: Int, _ blue: Int) throws(Fault) -> Pixels {
        switch (bits, red, green, blue) {
        case (16, 0xf800, 0x7e0, 0x1f): return .sixteen(greenBits: 6)
        case (16, 0x7c00, 0x3e0, 0x1f): return .sixteen(greenBits: 5)
        case (24, 0xff0000, 0xff00, 0xff), (32, 0xff0000, 0xff00, 0xff), (32, 0, 0, 0):
            return .bytes(red: 2, green: 1, blue: 0)
        case (32, 0xff00_0000, 0xff0000, 0xff00): return .bytes(red: 3, green: 2, blue: 1)
        case (32, 0xff00_0000, 0xff00, 0xff): return .bytes(red: 3, green: 1, blue: 0)
        case (32, 0xff, 0xff00, 0xff0000): return .bytes(red: 0, green: 1, blue: 2)
        default: throw Fault(reason: "colour masks that are not supported")
        }
    }

    /// The pixels; the caller has judged the size.
    func decode() throws(Fault) -> PixelBuffer {
        let rowBytes = (width * bits + 31) / 32 * 4
        let (dataBytes, overflows) = rowBytes.multipliedReportingOverflow(by: height)
        guard dataStart >= 14, !overflows, dataBytes <= bytes.count - dataStart else {
            throw Fault(reason: "the file ends early")
        }
        var out: [UInt8] = []
        out.reserveCapacity(width * height * 3)
        for line in 0..<height {
            let row = dataStart + (isTopDown ? line : height - 1 - line) * rowBytes
            switch pixels {
            case .palette(let start, let count, let entry):
                let perByte = 8 / bits
                for x in 0..<width {
                    let shift = (perByte - 1 - x % perByte) * bits
                    let index = Int(bytes[row + x / perByte]) >> shift & ((1 << bits) - 1)
                    guard index < count else { throw Fault(reason: "a colour beyond the palette") }
                    let place = start + index * entry
                    out.append(bytes[place + 2])
                    out.append(bytes[place + 1])
                    out.append(bytes[place])
                }
            case .sixteen(let greenBits):
                let greenest = (1 << greenBits) - 1
                for x in 0..<width {
                    let value = Int(bytes[row + 2 * x]) | Int(bytes[row + 2 * x + 1]) << 8
                    out.append(UInt8((value >> (5 + greenBits) & 31) * 255 / 31))
                    out.append(UInt8((value >> 5 & greenest) * 255 / greenest))
                    out.append(UInt8((value & 31) * 255 / 31))
                }
            case .bytes(let red, let green, let blue):
                for place in stride(from: row, to: row + width * (bits / 8), by: bits / 8) {
                    out.append(bytes[place + red])
                    out.append(bytes[place + green])
                    out.append(bytes[place + blue])
                }
            }
        }
        return PixelBuffer(width: width, height: height, bytes: out)
    }
}
