/// An SVG picture that grows shape by shape; units are pixels.
struct SVGPage {
    /// Where a text's anchor lies.
    enum Anchor: String {
        case start, middle, end
    }

    private let width: Int
    private let height: Int
    private var body = ""

    init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }

    /// The whole file, on white.
    var file: [UInt8] {
        var text = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(width)\" height=\"\(height)\""
        text +=
            " viewBox=\"0 0 \(width) \(height)\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\">\n"
        text += "<rect width=\"\(width)\" height=\"\(height)\" fill=\"#ffffff\"/>\n"
        return Array((text + body + "</svg>\n").utf8)
    }

    mutating func text(
        _ text: String,
        x: Double,
        y: Double,
        size: Int = 12,
        color: String = "#333333",
        anchor: Anchor = .start,
        isBold: Bool = false,
        isUpward: Bool = false
    ) {
        let turn = isUpward ? " transform=\"rotate(-90 \(number(x)) \(number(y)))\"" : ""
        body += "<text x=\"\(number(x))\" y=\"\(number(y))\" font-size=\"\(size)\" fill=\"\(color)\""
        body += " text-anchor=\"\(anchor.rawValue)\"" + (isBold ? " font-weight=\"bold\"" : "") + turn
        body += ">\(Self.escaped(text))</text>\n"
    }

    mutating func line(
        _ from: (x: Double, y: Double),
        _ to: (x: Double, y: Double),
        color: String,
        width: Double = 1,
        isDashed: Bool = false
    ) {
        body +=
            "<line x1=\"\(number(from.x))\" y1=\"\(number(from.y))\" x2=\"\(number(to.x))\" y2=\"\(number(to.y))\""
        body += " stroke=\"\(color)\" stroke-width=\"\(number(width))\""
        body += (isDashed ? " stroke-dasharray=\"4 3\"" : "") + "/>\n"
    }

    mutating func curve(
        _ points: [(x: Double, y: Double)],
        color: String,
        width: Double = 2,
        fill: String = "none"
    ) {
        let places = points.map { "\(number($0.x)),\(number($0.y))" }.joined(separator: " ")
        body += "<polyline points=\"\(places)\" fill=\"\(fill)\" fill-opacity=\"0.2\" stroke=\"\(color)\""
        body += " stroke-width=\"\(number(width))\" stroke-linejoin=\"round\"/>\n"
    }

    mutating func dot(_ place: (x: Double, y: Double), color: String, radius: Double = 2.5) {
        body +=
            "<circle cx=\"\(number(place.x))\" cy=\"\(number(place.y))\" r=\"\(number(radius))\" fill=\"\(color)\"/>\n"
    }

    private func number(_ value: Double) -> String { Digits.fixed(value, 2) }

    /// A text as XML takes it; what XML knows no way to write is left out.
    static func escaped(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { result, scalar in
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            default:
                if scalar.value >= 0x20 && scalar.value != 0xfffe && scalar.value != 0xffff {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
    }
}
