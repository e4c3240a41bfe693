/// A picture as square views: the view of the whole, then the tiles row by row if it is cut.
package struct TiledPicture: Sendable {
    /// Square pictures of the tile's size: the global view first.
    package var views: [PixelBuffer]
    package var tilesAcross: Int
    package var tilesDown: Int

    /// A picture that is not cut.
    package init(whole: PixelBuffer) {
        views = [whole]
        tilesAcross = 0
        tilesDown = 0
    }

    /// A picture cut for DeepSeek-VL2.
    ///
    /// - Parameters:
    ///   - tile: side of a tile.
    ///   - resolution: width and height that the tiles cover together; multiples of `tile`.
    ///   - color: fills what the picture does not.
    package init(
        _ picture: PixelBuffer,
        tile: Int,
        resolution: (width: Int, height: Int),
        color: (UInt8, UInt8, UInt8),
        parallel: (Int, (Int) -> Void) -> Void = { count, body in for index in 0..<count { body(index) } }
    ) {
        tilesAcross = resolution.width / tile
        tilesDown = resolution.height / tile
        views = [Geometry.pad(picture, width: tile, height: tile, color: color, parallel: parallel)]
        let local = Geometry.pad(
            picture,
            width: resolution.width,
            height: resolution.height,
            color: color,
            parallel: parallel
        )
        for y in 0..<tilesDown {
            for x in 0..<tilesAcross {
                views.append(local.crop(x: x * tile, y: y * tile, width: tile, height: tile))
            }
        }
    }
}
