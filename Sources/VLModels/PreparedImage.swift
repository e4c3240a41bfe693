/// A picture as the vision tower takes it: normalised tiles and how they lie.
package struct PreparedImage: Sendable {
    /// [tiles, 3, size, size] float32: the global view first, then the local tiles row by row.
    package var pixels: [Float]
    /// Global view and local tiles together.
    package var tiles: Int
    /// Side of a tile in pixels.
    package var size: Int
    /// Local tiles across and down (`images_spatial_crop`).
    package var tilesAcross: Int
    package var tilesDown: Int

    package init(pixels: [Float], tiles: Int, size: Int, tilesAcross: Int, tilesDown: Int) {
        self.pixels = pixels
        self.tiles = tiles
        self.size = size
        self.tilesAcross = tilesAcross
        self.tilesDown = tilesDown
    }
}

/// A picture's place in a prompt: its tokens are `start` ..< `start` + `count`.
package struct ImageSpan: Sendable, Equatable {
    package var start: Int
    package var count: Int
    /// Which picture of the prompt.
    package var image: Int

    package init(start: Int, count: Int, image: Int) {
        self.start = start
        self.count = count
        self.image = image
    }
}

/// A prompt ready for a model: token ids, pictures, and where these go.
package struct PreparedPrompt: Sendable {
    /// The formatted text, for people.
    package var text: String
    package var ids: [Int32]
    package var spans: [ImageSpan]
    package var images: [PreparedImage]
    /// Positions that carry the image id without a picture behind them (an `<image>` in a system text).
    package var imageTokens: Int { spans.reduce(0) { $0 + $1.count } }

    package init(text: String, ids: [Int32], spans: [ImageSpan], images: [PreparedImage]) {
        self.text = text
        self.ids = ids
        self.spans = spans
        self.images = images
    }
}
