import Testing
import VLImage

@Suite struct OrientationTests {
    /// Where the EXIF standard puts the first row and the first column.
    struct Corner: Sendable {
        let orientation: Orientation
        let isRight: Bool
        let isBottom: Bool
        /// Whether a stored row stands upright.
        let isTurned: Bool
    }

    static let corners = [
        Corner(orientation: .upright, isRight: false, isBottom: false, isTurned: false),
        Corner(orientation: .mirrored, isRight: true, isBottom: false, isTurned: false),
        Corner(orientation: .halfTurn, isRight: true, isBottom: true, isTurned: false),
        Corner(orientation: .flipped, isRight: false, isBottom: true, isTurned: false),
        Corner(orientation: .transposed, isRight: false, isBottom: false, isTurned: true),
        Corner(orientation: .quarterTurn, isRight: true, isBottom: false, isTurned: true),
        Corner(orientation: .transversed, isRight: true, isBottom: true, isTurned: true),
        Corner(orientation: .threeQuarterTurn, isRight: false, isBottom: true, isTurned: true),
    ]

    @Test("each pixel goes where the EXIF standard says", arguments: corners)
    func pixels(_ corner: Corner) {
        let stored = ImageFixture.noise(width: 5, height: 3)
        let upright = corner.orientation.apply(to: stored)
        #expect(corner.orientation.swapsSides == corner.isTurned)
        #expect(upright.width == (corner.isTurned ? 3 : 5))
        #expect(upright.height == (corner.isTurned ? 5 : 3))
        for y in 0..<3 {
            for x in 0..<5 {
                let across = corner.isTurned ? y : x
                let down = corner.isTurned ? x : y
                let pixel = upright.crop(
                    x: corner.isRight ? upright.width - 1 - across : across,
                    y: corner.isBottom ? upright.height - 1 - down : down,
                    width: 1,
                    height: 1
                )
                #expect(pixel == stored.crop(x: x, y: y, width: 1, height: 1), "(\(x), \(y))")
            }
        }
        #expect(corner.orientation.inverse.apply(to: upright) == stored)
    }

    @Test(
        "a box holds the same pixels in the stored and the upright picture",
        arguments: Orientation.allCases
    )
    func boxes(_ orientation: Orientation) {
        let stored = ImageFixture.noise(width: 6, height: 4)
        let upright = orientation.apply(to: stored)
        for left in 0..<upright.width {
            for right in left + 1...upright.width {
                for top in 0..<upright.height {
                    for bottom in top + 1...upright.height {
                        let box = orientation.stored(
                            left: left,
                            top: top,
                            right: right,
                            bottom: bottom,
                            width: upright.width,
                            height: upright.height
                        )
                        let part = stored.crop(
                            x: box.left,
                            y: box.top,
                            width: box.right - box.left,
                            height: box.bottom - box.top
                        )
                        let wanted = upright.crop(x: left, y: top, width: right - left, height: bottom - top)
                        #expect(orientation.apply(to: part) == wanted)
                        let back = orientation.upright(
                            left: box.left,
                            top: box.top,
                            right: box.right,
                            bottom: box.bottom,
                            width: stored.width,
                            height: stored.height
                        )
                        #expect(back == (left, top, right, bottom))
                    }
                }
            }
        }
    }
}
