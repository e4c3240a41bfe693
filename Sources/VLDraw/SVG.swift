import VLImage

/// Writes annotated pictures as SVG.
enum SVG {
    /// The file; units are pixels of the picture.
    static func file(_ picture: PixelBuffer, png: [UInt8], _ annotations: [Annotation]) -> [UInt8] {
        let scale = Scale(picture)
        let factor = Double(scale.factor)
        let size = "width=\"\(picture.width)\" height=\"\(picture.height)\""
        var head = "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\""
        head += " width=\"\(picture.width * scale.factor)\" height=\"\(picture.height * scale.factor)\""
        head += " viewBox=\"0 0 \(picture.width) \(picture.height)\">\n"
        // Viewers from before SVG 2 know the link by its older name only.
        head += "<image \(size) xlink:href=\"data:image/png;base64,"
        var file = Array(head.utf8)
        file += base64(png)
        file += "\"/>\n".utf8

        var boxes = ""
        var labels = ""
        for (index, annotation) in annotations.enumerated() {
            guard let box = annotation.clipped(width: picture.width, height: picture.height) else { continue }
            let color = Color.ofBox(index)
            let line = Double(scale.line) / factor
            boxes += rectangle(box, line: line, color)
            let caption = annotation.caption
            guard !caption.isEmpty else { continue }
            let text = Double(scale.text) / factor
            let left = max(min(box.left, Double(picture.width) - text * ems(caption)), 0)
            // Above the box if there is room, else inside it.
            let baseline = box.top - text * 1.2 >= 0 ? box.top - text * 0.3 : box.top + text
            labels += "<text x=\"\(number(left))\" y=\"\(number(baseline))\" font-size=\"\(number(text))\""
            // How wide the viewer's font is cannot be known, so an outline stands for the strip.
            labels += " font-family=\"sans-serif\" fill=\"\(color.text.css)\" stroke=\"\(color.css)\""
            labels +=
                " stroke-width=\"\(number(text / 4))\" stroke-linejoin=\"round\" paint-order=\"stroke\">"
            labels += escaped(caption) + "</text>\n"
        }
        file += boxes.utf8
        file += labels.utf8
        file += "</svg>\n".utf8
        return file
    }

    private static func rectangle(
        _ box: (left: Double, top: Double, right: Double, bottom: Double),
        line: Double,
        _ color: Color
    ) -> String {
        // SVG strokes lie half outside; moved in, all of the line is within the box.
        let width = box.right - box.left
        let height = box.bottom - box.top
        let stroke = min(line, width, height)
        return "<rect x=\"\(number(box.left + stroke / 2))\" y=\"\(number(box.top + stroke / 2))\""
            + " width=\"\(number(width - stroke))\" height=\"\(number(height - stroke))\" fill=\"none\""
            + " stroke=\"\(color.css)\" stroke-width=\"\(number(stroke))\"/>\n"
    }

    /// About how wide a text is, in multiples of its size.
    private static func ems(_ text: String) -> Double {
        // From the Hangul letters on, most scripts are as wide as they are high.
        text.unicodeScalars.reduce(0) { $0 + ($1.value >= 0x1100 ? 1 : 0.6) }
    }

    /// A length with at most three decimals.
    private static func number(_ value: Double) -> String {
        let rounded = (value * 1000).rounded() / 1000
        return "\(rounded)"
    }

    /// A text as XML takes it.
    static func escaped(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result.append(contentsOf: "&amp;".unicodeScalars)
            case "<": result.append(contentsOf: "&lt;".unicodeScalars)
            case ">": result.append(contentsOf: "&gt;".unicodeScalars)
            case "\"": result.append(contentsOf: "&quot;".unicodeScalars)
            case "'": result.append(contentsOf: "&#39;".unicodeScalars)
            default: result.append(scalar)
            }
        }
        return String(result)
    }

    /// Bytes as base64 of RFC 4648, with padding.
    static func base64(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let padding = UInt8(ascii: "=")
        var result: [UInt8] = []
        result.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let present = min(bytes.count - start, 3)
            var group = Int(bytes[start]) << 16
            if present > 1 { group |= Int(bytes[start + 1]) << 8 }
            if present > 2 { group |= Int(bytes[start + 2]) }
            result.append(digits[group >> 18])
            result.append(digits[group >> 12 & 63])
            result.append(present > 1 ? digits[group >> 6 & 63] : padding)
            result.append(present > 2 ? digits[group & 63] : padding)
        }
        return result
    }
}
