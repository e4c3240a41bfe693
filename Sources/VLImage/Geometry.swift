/// Where pictures go: fitting, padding, and the choice of tiles.
package enum Geometry {
    /// Python's `round`: to the nearest whole number, halves to the even one.
    static func round(_ value: Double) -> Int { Int(value.rounded(.toNearestOrEven)) }

    /// The picture fitted into a size and centred on a colour: Pillow's `ImageOps.pad` with the bicubic filter.
    ///
    /// A side that rounds to nothing gives the background alone, as current Pillow does.
    package static func pad(
        _ picture: PixelBuffer, width: Int, height: Int, color: (UInt8, UInt8, UInt8),
        parallel: (Int, (Int) -> Void) -> Void = { count, body in for index in 0..<count { body(index) } }
    ) -> PixelBuffer {
        var fitted = (width: width, height: height)
        let ratio = Double(picture.width) / Double(picture.height), wanted = Double(width) / Double(height)
        if ratio > wanted {
            fitted.height = round(Double(picture.height) / Double(picture.width) * Double(width))
        } else if ratio < wanted {
            fitted.width = round(Double(picture.width) / Double(picture.height) * Double(height))
        }
        if fitted.width == 0 || fitted.height == 0 { return PixelBuffer(width: width, height: height, color: color) }
        let resized = picture.resized(width: fitted.width, height: fitted.height, .bicubic, parallel: parallel)
        if fitted == (width, height) { return resized }
        var padded = PixelBuffer(width: width, height: height, color: color)
        if fitted.width != width {
            padded.paste(resized, x: round(Double(width - fitted.width) * 0.5), y: 0)
        } else {
            padded.paste(resized, x: 0, y: round(Double(height - fitted.height) * 0.5))
        }
        return padded
    }

    /// The candidate that shows most of a picture; of equals the one that wastes least, then the first.
    ///
    /// Function `select_best_resolution` of the official processor. Sizes are (width, height).
    package static func bestResolution(width: Int, height: Int, candidates: [(width: Int, height: Int)]) -> (width: Int, height: Int) {
        var best = candidates.first ?? (width, height)
        var bestEffective = 0, leastWaste = Int.max
        for candidate in candidates {
            let scale = min(Double(candidate.width) / Double(width), Double(candidate.height) / Double(height))
            let shown = Int(Double(width) * scale) * Int(Double(height) * scale)
            let effective = min(shown, width * height)
            let waste = candidate.width * candidate.height - effective
            if effective > bestEffective || (effective == bestEffective && waste < leastWaste) {
                (best, bestEffective, leastWaste) = (candidate, effective, waste)
            }
        }
        return best
    }
}

/// A picture cut for DeepSeek-VL2: the view of the whole, then the tiles row by row.
package struct TiledPicture: Sendable {
    /// Square pictures of the tile's size: the global view first.
    package var views: [PixelBuffer]
    package var tilesAcross: Int
    package var tilesDown: Int

    /// - Parameters:
    ///   - tile: side of a tile.
    ///   - resolution: width and height that the tiles cover together; multiples of `tile`.
    ///   - color: fills what the picture does not.
    package init(
        _ picture: PixelBuffer, tile: Int, resolution: (width: Int, height: Int), color: (UInt8, UInt8, UInt8),
        parallel: (Int, (Int) -> Void) -> Void = { count, body in for index in 0..<count { body(index) } }
    ) {
        tilesAcross = resolution.width / tile
        tilesDown = resolution.height / tile
        views = [Geometry.pad(picture, width: tile, height: tile, color: color, parallel: parallel)]
        let local = Geometry.pad(
            picture, width: resolution.width, height: resolution.height, color: color, parallel: parallel)
        for y in 0..<tilesDown {
            for x in 0..<tilesAcross {
                views.append(local.crop(x: x * tile, y: y * tile, width: tile, height: tile))
            }
        }
    }
}

/// From bytes to what a vision tower takes.
package enum Normalize {
    /// (u8 / 255 - mean) / deviation in float32, as torchvision's `ToTensor` and `Normalize` compute it: [views, 3,
    /// height, width].
    ///
    /// - Parameter mean: nil leaves the values between 0 and 1.
    package static func planes(_ views: [PixelBuffer], mean: [Double]?, deviation: [Double]) -> [Float] {
        var tables = [[Float]](repeating: [], count: 3)
        for channel in 0..<3 {
            tables[channel] = (0..<256).map { value in
                let unit = Float(value) / 255
                guard let mean else { return unit }
                return (unit - Float(mean[channel])) / Float(deviation[channel])
            }
        }
        let count = views.reduce(0) { $0 + $1.bytes.count }
        return [Float](unsafeUninitializedCapacity: count) { out, initialized in
            var start = 0
            for view in views {
                let pixels = view.width * view.height
                view.bytes.withUnsafeBufferPointer { bytes in
                    for channel in 0..<3 {
                        tables[channel].withUnsafeBufferPointer { table in
                            for pixel in 0..<pixels { out[start + channel * pixels + pixel] = table[Int(bytes[3 * pixel + channel])] }
                        }
                    }
                }
                start += 3 * pixels
            }
            initialized = count
        }
    }
}
