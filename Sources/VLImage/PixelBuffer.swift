/// A picture: RGB, 8 bits a channel, row by row without gaps.
package struct PixelBuffer: Sendable, Equatable {
    package let width: Int
    package let height: Int
    /// width * height * 3 bytes.
    package var bytes: [UInt8]

    package init(width: Int, height: Int, bytes: [UInt8]) {
        precondition(bytes.count == width * height * 3, "\(bytes.count) bytes for \(width) x \(height)")
        self.width = width
        self.height = height
        self.bytes = bytes
    }

    /// A picture of one colour.
    package init(width: Int, height: Int, color: (UInt8, UInt8, UInt8)) {
        self.width = width
        self.height = height
        let count = width * height
        bytes = [UInt8](unsafeUninitializedCapacity: count * 3) { buffer, initialized in
            for index in 0..<count {
                buffer[3 * index] = color.0
                buffer[3 * index + 1] = color.1
                buffer[3 * index + 2] = color.2
            }
            initialized = count * 3
        }
    }

    /// Puts `other` at a place; it must lie inside.
    package mutating func paste(_ other: PixelBuffer, x: Int, y: Int) {
        precondition(
            x >= 0 && y >= 0 && x + other.width <= width && y + other.height <= height,
            "pasting outside"
        )
        let row = other.width * 3
        for line in 0..<other.height {
            let target = ((y + line) * width + x) * 3
            bytes.replaceSubrange(target..<target + row, with: other.bytes[line * row..<(line + 1) * row])
        }
    }

    /// The part from (x, y), which must lie inside.
    package func crop(x: Int, y: Int, width: Int, height: Int) -> PixelBuffer {
        precondition(
            x >= 0 && y >= 0 && x + width <= self.width && y + height <= self.height,
            "cropping outside"
        )
        var part: [UInt8] = []
        part.reserveCapacity(width * height * 3)
        for line in y..<y + height {
            let start = (line * self.width + x) * 3
            part.append(contentsOf: bytes[start..<start + width * 3])
        }
        return PixelBuffer(width: width, height: height, bytes: part)
    }
}
