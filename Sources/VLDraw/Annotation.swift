/// A named box on a picture.
package struct Annotation: Sendable {
    /// What the box holds; any text.
    package let label: String
    /// The left edge, in pixels of the picture.
    package let left: Double
    /// The upper edge, in pixels of the picture.
    package let top: Double
    /// The right edge, in pixels of the picture.
    package let right: Double
    /// The lower edge, in pixels of the picture.
    package let bottom: Double
    /// How sure the model is, 0 to 1; nil shows no percentage.
    package let confidence: Double?

    /// Takes edges as they come: boxes that show no part of the picture are left out when painting.
    package init(
        label: String,
        left: Double,
        top: Double,
        right: Double,
        bottom: Double,
        confidence: Double? = nil
    ) {
        self.label = label
        self.left = left
        self.top = top
        self.right = right
        self.bottom = bottom
        self.confidence = confidence
    }

    /// The label and the percentage on one line, without characters that neither shows nor XML takes.
    var caption: String {
        var text = String.UnicodeScalarView()
        for scalar in label.unicodeScalars {
            switch scalar.value {
            case 0x09, 0x0A, 0x0D, 0x85, 0x2028, 0x2029:
                // Words on two lines must not grow together.
                text.append(" ")
            case 0xFFFE, 0xFFFF:
                continue
            default:
                if scalar.properties.generalCategory != .control { text.append(scalar) }
            }
        }
        let shown = String(text)
        guard let confidence, !confidence.isNaN else { return shown }
        let percent = "\(Int((min(max(confidence, 0), 1) * 100).rounded()))%"
        return shown.isEmpty ? percent : shown + " " + percent
    }

    /// The part of the box inside a picture; nil without one, and for edges that are no numbers.
    func clipped(width: Int, height: Int) -> (left: Double, top: Double, right: Double, bottom: Double)? {
        // Comparisons with NaN are false, and infinite edges end at the picture's.
        guard left < right, top < bottom else { return nil }
        let part = (
            left: max(left, 0), top: max(top, 0), right: min(right, Double(width)),
            bottom: min(bottom, Double(height))
        )
        guard part.left < part.right, part.top < part.bottom else { return nil }
        return part
    }
}
