/// Where pictures go: fitting, padding, and the choice of tiles.
package enum Geometry {
    /// Python's `round`: to the nearest whole number, halves to the even one.
    static func round(_ value: Double) -> Int { Int(value.rounded(.toNearestOrEven)) }

    /// The picture fitted into a size and centred on a colour: Pillow's `ImageOps.pad` with the bicubic filter.
    ///
    /// A side that rounds to nothing gives the background alone, as current Pillow does.
    package static func pad(
        _ picture: PixelBuffer,
        width: Int,
        height: Int,
        color: (UInt8, UInt8, UInt8),
        parallel: (Int, (Int) -> Void) -> Void = { count, body in for index in 0..<count { body(index) } }
    ) -> PixelBuffer {
        var fitted = (width: width, height: height)
        let ratio = Double(picture.width) / Double(picture.height)
        let wanted = Double(width) / Double(height)
        if ratio > wanted {
            fitted.height = round(Double(picture.height) / Double(picture.width) * Double(width))
        } else if ratio < wanted {
            fitted.width = round(Double(picture.width) / Double(picture.height) * Double(height))
        }
        if fitted.width == 0 || fitted.height == 0 {
            return PixelBuffer(width: width, height: height, color: color)
        }
        let resized = picture.resized(
            width: fitted.width,
            height: fitted.height,
            .bicubic,
            parallel: parallel
        )
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
    package static func bestResolution(
        width: Int,
        height: Int,
        candidates: [(width: Int, height: Int)]
    ) -> (width: Int, height: Int) {
        var best = candidates.first ?? (width, height)
        var bestEffective = 0
        var leastWaste = Int.max
        for candidate in candidates {
            let scale = min(
                Double(candidate.width) / Double(width),
                Double(candidate.height) / Double(height)
            )
            let shown = Int(Double(width) * scale) * Int(Double(height) * scale)
            let effective = min(shown, width * height)
            let waste = candidate.width * candidate.height - effective
            if effective > bestEffective || (effective == bestEffective && waste < leastWaste) {
                (best, bestEffective, leastWaste) = (candidate, effective, waste)
            }
        }
        return best
    }

    /// The picture fitted into a square and centred on a colour, as DeepSeek-VL's `VLMImageProcessor` does it.
    ///
    /// The short side is cut to whole pixels rather than rounded, and is never below `shortest`, so that very thin
    /// pictures come out wider than they are.
    package static func letterbox(
        _ picture: PixelBuffer,
        side: Int,
        shortest: Int = 14,
        color: (UInt8, UInt8, UInt8),
        parallel: (Int, (Int) -> Void) -> Void = { count, body in for index in 0..<count { body(index) } }
    ) -> PixelBuffer {
        let longest = Double(max(picture.width, picture.height))
        // In Python's order of operations: the quotient first.
        func fitted(_ length: Int) -> Int {
            min(max(Int(Double(length) / longest * Double(side)), shortest), side)
        }
        let resized = picture.resized(
            width: fitted(picture.width),
            height: fitted(picture.height),
            .bicubic,
            parallel: parallel
        )
        var square = PixelBuffer(width: side, height: side, color: color)
        square.paste(resized, x: (side - resized.width) / 2, y: (side - resized.height) / 2)
        return square
    }
}
