import VLImage
import VLTestSupport

/// A table of `Tests/Fixtures`: rows of fields between tabs, the first row being a heading.
func table(_ path: String) throws -> [[String]] {
    String(decoding: try fixtureBytes(path), as: UTF8.self)
        .split(separator: "\n").dropFirst()
        .map { $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) }
}

/// A picture of `Tests/Fixtures/image`.
func decoded(_ path: String) throws -> ImageFile.Decoded {
    try ImageFile.decode(fixtureBytes("image/" + path), name: path)
}

/// Little-endian bytes of float32 numbers.
func littleEndian(_ values: [Float]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(values.count * 4)
    for value in values {
        let bits = value.bitPattern
        for shift in stride(from: UInt32(0), through: 24, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: bits >> shift))
        }
    }
    return bytes
}

/// A picture of numbered pixels, each different.
func numbered(width: Int, height: Int) -> PixelBuffer {
    var bytes: [UInt8] = []
    for pixel in 0..<width * height {
        bytes += [
            UInt8(truncatingIfNeeded: pixel), UInt8(truncatingIfNeeded: pixel >> 8),
            UInt8(truncatingIfNeeded: pixel * 7),
        ]
    }
    return PixelBuffer(width: width, height: height, bytes: bytes)
}
