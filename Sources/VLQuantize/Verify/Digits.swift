/// Numbers as tables and pictures spell them.
enum Digits {
    /// With so many decimals.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        let scale = power(decimals)
        guard value.isFinite, value.magnitude < 1e15 / scale else { return "\(value)" }
        let units = Int64((value.magnitude * scale).rounded())
        let sign = value < 0 && units > 0 ? "-" : ""
        let whole = "\(sign)\(units / Int64(scale))"
        guard decimals > 0 else { return whole }
        let fraction = "\(units % Int64(scale))"
        return whole + "." + String(repeating: "0", count: decimals - fraction.count) + fraction
    }

    /// With so many significant digits; small numbers with a power of ten.
    static func significant(_ value: Double, _ digits: Int = 3) -> String {
        guard value.isFinite, value != 0 else { return value == 0 ? "0" : "\(value)" }
        var exponent = 0
        var size = value.magnitude
        while size >= 10 {
            size /= 10
            exponent += 1
        }
        while size < 1 {
            size *= 10
            exponent -= 1
        }
        if exponent < -4 { return fixed(value / power(exponent), digits - 1) + "e\(exponent)" }
        return fixed(value, max(0, digits - 1 - exponent))
    }

    /// A power of ten.
    static func power(_ exponent: Int) -> Double {
        var result = 1.0
        for _ in 0..<exponent.magnitude { result *= 10 }
        return exponent < 0 ? 1 / result : result
    }

    /// A text in a column of a width, at its right end.
    static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    /// The same at its left end.
    static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
