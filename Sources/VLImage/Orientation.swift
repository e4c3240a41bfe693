/// How a stored picture must be turned to stand upright: EXIF's tag 274.
package enum Orientation: Int, Sendable, CaseIterable {
    case upright = 1
    case mirrored = 2
    case halfTurn = 3
    case flipped = 4
    case transposed = 5
    /// Shown after a quarter turn clockwise.
    case quarterTurn = 6
    case transversed = 7
    /// Shown after a quarter turn counter-clockwise.
    case threeQuarterTurn = 8

    /// Whether width and height change places.
    package var swapsSides: Bool { rawValue >= 5 }

    /// Where the stored pixel lies that is shown at (x, y) of the upright picture, for a stored size.
    @inline(__always)
    private func source(_ x: Int, _ y: Int, _ width: Int, _ height: Int) -> (Int, Int) {
        switch self {
        case .upright: (x, y)
        case .mirrored: (width - 1 - x, y)
        case .halfTurn: (width - 1 - x, height - 1 - y)
        case .flipped: (x, height - 1 - y)
        case .transposed: (y, x)
        case .quarterTurn: (y, height - 1 - x)
        case .transversed: (width - 1 - y, height - 1 - x)
        case .threeQuarterTurn: (width - 1 - y, x)
        }
    }

    /// The upright picture, as Pillow's `ImageOps.exif_transpose` gives it.
    package func apply(to picture: PixelBuffer) -> PixelBuffer {
        if self == .upright { return picture }
        let width = swapsSides ? picture.height : picture.width
        let height = swapsSides ? picture.width : picture.height
        let bytes = [UInt8](unsafeUninitializedCapacity: width * height * 3) { target, initialized in
            picture.bytes.withUnsafeBufferPointer { stored in
                for y in 0..<height {
                    for x in 0..<width {
                        let (sourceX, sourceY) = source(x, y, picture.width, picture.height)
                        let from = (sourceY * picture.width + sourceX) * 3
                        let to = (y * width + x) * 3
                        target[to] = stored[from]
                        target[to + 1] = stored[from + 1]
                        target[to + 2] = stored[from + 2]
                    }
                }
            }
            initialized = width * height * 3
        }
        return PixelBuffer(width: width, height: height, bytes: bytes)
    }

    /// A box of the upright picture in the stored one; `width` and `height` are the upright picture's.
    package func stored(
        left: Int,
        top: Int,
        right: Int,
        bottom: Int,
        width: Int,
        height: Int
    ) -> (left: Int, top: Int, right: Int, bottom: Int) {
        switch self {
        case .upright: (left, top, right, bottom)
        case .mirrored: (width - right, top, width - left, bottom)
        case .halfTurn: (width - right, height - bottom, width - left, height - top)
        case .flipped: (left, height - bottom, right, height - top)
        case .transposed: (top, left, bottom, right)
        case .quarterTurn: (top, width - right, bottom, width - left)
        case .transversed: (height - bottom, width - right, height - top, width - left)
        case .threeQuarterTurn: (height - bottom, left, height - top, right)
        }
    }

    /// The orientation that undoes this one.
    package var inverse: Orientation {
        switch self {
        case .quarterTurn: .threeQuarterTurn
        case .threeQuarterTurn: .quarterTurn
        default: self
        }
    }

    /// A box of the stored picture in the upright one; `width` and `height` are the stored picture's.
    package func upright(
        left: Int,
        top: Int,
        right: Int,
        bottom: Int,
        width: Int,
        height: Int
    ) -> (left: Int, top: Int, right: Int, bottom: Int) {
        inverse.stored(left: left, top: top, right: right, bottom: bottom, width: width, height: height)
    }
}
