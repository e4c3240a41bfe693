import VLImage

/// A colour.
struct Color: Equatable {
    let red: UInt8
    let green: UInt8
    let blue: UInt8

    init(_ red: UInt8, _ green: UInt8, _ blue: UInt8) {
        self.red = red
        self.green = green
        self.blue = blue
    }

    static let white = Color(255, 255, 255)
    static let black = Color(0, 0, 0)

    /// Colours of boxes, in turn; neighbours differ clearly.
    static let palette = [
        Color(230, 25, 75), Color(60, 180, 75), Color(0, 130, 200), Color(255, 225, 25),
        Color(145, 30, 180), Color(245, 130, 48), Color(70, 240, 240), Color(240, 50, 230),
        Color(170, 110, 40), Color(210, 245, 60), Color(0, 0, 160), Color(0, 128, 128),
    ]

    /// The palette's colour for the box at a place in the list.
    static func ofBox(_ index: Int) -> Color { palette[index % palette.count] }

    /// White or black, whichever is read on this colour.
    var text: Color {
        let luminance = (299 * Int(red) + 587 * Int(green) + 114 * Int(blue)) / 1000
        return luminance > 140 ? .black : .white
    }

    /// As CSS writes it.
    var css: String { "rgb(\(red),\(green),\(blue))" }
}

/// A picture that is drawn on; whatever lies outside is cut off.
struct Canvas {
    private(set) var picture: PixelBuffer

    var width: Int { picture.width }
    var height: Int { picture.height }

    /// The picture, each pixel a square of `factor` pixels.
    init(_ picture: PixelBuffer, factor: Int) {
        guard factor > 1 else {
            self.picture = picture
            return
        }
        let width = picture.width * factor
        var bytes: [UInt8] = []
        bytes.reserveCapacity(width * picture.height * factor * 3)
        var row: [UInt8] = []
        row.reserveCapacity(width * 3)
        for line in 0..<picture.height {
            row.removeAll(keepingCapacity: true)
            for column in 0..<picture.width {
                let start = (line * picture.width + column) * 3
                for _ in 0..<factor { row.append(contentsOf: picture.bytes[start..<start + 3]) }
            }
            for _ in 0..<factor { bytes.append(contentsOf: row) }
        }
        self.picture = PixelBuffer(width: width, height: picture.height * factor, bytes: bytes)
    }

    /// Fills a rectangle; right and bottom are outside it.
    mutating func fill(left: Int, top: Int, right: Int, bottom: Int, _ color: Color) {
        let first = max(left, 0)
        let last = min(right, width)
        let upper = max(top, 0)
        let lower = min(bottom, height)
        guard first < last, upper < lower else { return }
        for line in upper..<lower {
            for column in first..<last {
                let place = (line * width + column) * 3
                picture.bytes[place] = color.red
                picture.bytes[place + 1] = color.green
                picture.bytes[place + 2] = color.blue
            }
        }
    }

    /// Outlines a rectangle; the line lies inside it.
    mutating func outline(left: Int, top: Int, right: Int, bottom: Int, line: Int, _ color: Color) {
        let innerTop = min(top + line, bottom)
        let innerBottom = max(bottom - line, innerTop)
        fill(left: left, top: top, right: right, bottom: innerTop, color)
        fill(left: left, top: innerBottom, right: right, bottom: bottom, color)
        fill(left: left, top: innerTop, right: min(left + line, right), bottom: innerBottom, color)
        fill(left: max(right - line, left), top: innerTop, right: right, bottom: innerBottom, color)
    }

    /// Lays a glyph over the picture, its upper left corner at a place.
    mutating func draw(_ glyph: Glyph, left: Int, top: Int, _ color: Color) {
        for row in 0..<glyph.height {
            let line = top + row
            guard line >= 0, line < height else { continue }
            for column in 0..<glyph.width {
                let x = left + column
                guard x >= 0, x < width else { continue }
                let coverage = Int(glyph.coverage[row * glyph.width + column])
                guard coverage > 0 else { continue }
                let place = (line * width + x) * 3
                blend(place, color.red, coverage)
                blend(place + 1, color.green, coverage)
                blend(place + 2, color.blue, coverage)
            }
        }
    }

    private mutating func blend(_ place: Int, _ value: UInt8, _ coverage: Int) {
        let under = Int(picture.bytes[place])
        picture.bytes[place] = UInt8((under * (255 - coverage) + Int(value) * coverage + 127) / 255)
    }
}
