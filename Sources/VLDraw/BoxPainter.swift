import VLImage

/// Paints named boxes on pictures.
///
/// Boxes are cut to the picture. Those that show no part of it, that are empty or whose edges are no
/// numbers are left out. Small pictures grow by a whole factor, so that labels can be read.
package enum BoxPainter {
    /// The picture with boxes, as a PNG file.
    ///
    /// - Throws: `ImageError.encoding`.
    package static func png(_ picture: PixelBuffer, _ annotations: [Annotation]) throws(ImageError) -> [UInt8]
    {
        try ImageFile.png(painted(picture, annotations))
    }

    /// The picture with boxes; larger than the picture by a whole factor if that is small.
    ///
    /// Labels are left out if the system has no font.
    package static func painted(_ picture: PixelBuffer, _ annotations: [Annotation]) -> PixelBuffer {
        let scale = Scale(picture)
        var canvas = Canvas(picture, factor: scale.factor)
        var labels: [Label] = []
        for (index, annotation) in annotations.enumerated() {
            guard let box = annotation.clipped(width: picture.width, height: picture.height) else { continue }
            let color = Color.ofBox(index)
            let left = scale.pixel(box.left, below: canvas.width)
            let top = scale.pixel(box.top, below: canvas.height)
            canvas.outline(
                left: left,
                top: top,
                right: max(scale.edge(box.right), left + 1),
                bottom: max(scale.edge(box.bottom), top + 1),
                line: scale.line,
                color
            )
            let caption = annotation.caption
            if !caption.isEmpty { labels.append(Label(text: caption, left: left, top: top, color: color)) }
        }
        // Labels come last: no other box's line crosses them.
        if !labels.isEmpty, let font = LabelFont(size: scale.text) {
            for label in labels { draw(label, font, &canvas) }
        }
        return canvas.picture
    }

    /// The picture with boxes, as an SVG file that holds the picture and one `rect` a box.
    ///
    /// - Throws: `ImageError.encoding`.
    package static func svg(_ picture: PixelBuffer, _ annotations: [Annotation]) throws(ImageError) -> [UInt8]
    {
        SVG.file(picture, png: try ImageFile.png(picture), annotations)
    }

    /// A label and the upper left corner of its box.
    private struct Label {
        let text: String
        let left: Int
        let top: Int
        let color: Color
    }

    private static func draw(_ label: Label, _ font: LabelFont, _ canvas: inout Canvas) {
        let line = font.line(label.text, limit: canvas.width)
        // Chinese fonts may reach higher and lower than the first font; stacked accents only so far.
        let above = line.glyphs.map(\.top).max() ?? 0
        let below = line.glyphs.map { $0.height - $0.top }.max() ?? 0
        let ascent = max(font.ascent, min(above, 2 * font.size))
        let descent = max(font.descent, min(below, font.size))
        let margin = max(font.size / 6, 2)
        let width = line.width + 2 * margin
        let height = ascent + descent
        let left = max(min(label.left, canvas.width - width), 0)
        let room = label.top - height >= 0
        let top = room ? label.top - height : max(min(label.top, canvas.height - height), 0)
        canvas.fill(left: left, top: top, right: left + width, bottom: top + height, label.color)
        var pen = left + margin
        for glyph in line.glyphs {
            canvas.draw(glyph, left: pen + glyph.left, top: top + ascent - glyph.top, label.color.text)
            pen += glyph.advance
        }
    }
}

/// How large things are drawn on a picture.
struct Scale {
    /// By how much the picture grows.
    let factor: Int
    /// The width of lines, in pixels of the grown picture.
    let line: Int
    /// The size of text, in pixels of the grown picture.
    let text: Int

    /// Pictures whose longer side is below this grow.
    static let readable = 640

    init(_ picture: PixelBuffer) {
        let side = max(picture.width, picture.height)
        factor = side > 0 && side < Self.readable ? (Self.readable + side - 1) / side : 1
        let grown = side * factor
        line = max(grown / 320, 2)
        text = max(grown / 45, 14)
    }

    /// Where an edge inside the picture is on the grown one.
    func edge(_ value: Double) -> Int { Int((value * Double(factor)).rounded()) }

    /// As `edge`, but a pixel: the last one starts before the end.
    func pixel(_ value: Double, below end: Int) -> Int { max(min(edge(value), end - 1), 0) }
}
