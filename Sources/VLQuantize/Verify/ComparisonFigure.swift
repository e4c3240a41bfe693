#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Draws a comparison: how the difference grows through the network, and how the divergences are spread.
package struct ComparisonFigure {
    private let report: ComparisonReport
    private static let colors = ["text": "#1f6fb2", "questions": "#d9730d"]
    private static let grid = "#e3e3e3"
    private static let frame = "#888888"

    package init(_ report: ComparisonReport) { self.report = report }

    /// A panel's frame.
    private struct Panel {
        var left: Double
        var right: Double
        var top: Double
        var bottom = 400.0

        func x(_ share: Double) -> Double { left + (right - left) * share }
        func y(_ share: Double) -> Double { bottom - (bottom - top) * share }
    }

    /// The SVG file.
    package var svg: [UInt8] {
        var page = SVGPage(width: 1040, height: 470)
        head(&page)
        let top = 92 + 20 * Double(report.parts.count)
        layers(&page, Panel(left: 80, right: 540, top: top))
        histogram(&page, Panel(left: 640, right: 1010, top: top))
        return page.file
    }

    private func color(_ name: String) -> String { Self.colors[name] ?? "#444444" }

    // MARK: Head

    private func head(_ page: inout SVGPage) {
        page.text(
            "A  \(Self.short(report.a))  →  B  \(Self.short(report.b))",
            x: 28,
            y: 30,
            size: 16,
            color: "#111111",
            isBold: true
        )
        for (index, part) in report.parts.enumerated() {
            let y = 54 + 20 * Double(index)
            page.line((28, y - 4), (52, y - 4), color: color(part.name), width: 4)
            let found = part.found
            var text =
                "\(part.name): \(found.tokens) tokens, mean KL \(Digits.significant(found.meanDivergence))"
            text += " (99 % \(Digits.significant(found.divergence(quantile: 0.99)))),"
            text += " same best token \(Digits.fixed(100 * found.agreement, 1)) %,"
            text +=
                " perplexity \(Digits.fixed(found.perplexityA, 3)) to \(Digits.fixed(found.perplexityB, 3))"
            page.text(text, x: 60, y: y, size: 13)
        }
    }

    private static func short(_ model: ComparisonReport.Model) -> String {
        let name = model.name.count > 44 ? model.name.prefix(43) + "…" : model.name[...]
        return "\(name) (\(model.weights))"
    }

    // MARK: Layers

    /// The stages of all parts with the logits behind them, and the mean of each where there is one.
    private func columns() -> [(label: String, means: [String: Differences.Mean])] {
        let stages = Set(report.parts.flatMap { $0.found.ordered.map(\.stage) }).sorted()
        var columns = stages.map { stage -> (label: String, means: [String: Differences.Mean]) in
            var means: [String: Differences.Mean] = [:]
            for part in report.parts { means[part.name] = part.found.stages[stage] }
            return (Self.label(stage), means)
        }
        var logits: [String: Differences.Mean] = [:]
        for part in report.parts { logits[part.name] = part.found.logits }
        columns.append(("logits", logits))
        guard columns.count > 12 else { return columns }
        // Names are wider than the columns then: those that neighbour other names keep a distance.
        let gap = [(label: String, means: [String: Differences.Mean])](
            repeating: ("", [:]),
            count: columns.count / 14 + 1
        )
        return columns.flatMap { column in
            switch column.label {
            case "logits": gap + [column]
            case "vision", "proj": [column] + gap
            default: [column]
            }
        }
    }

    private static func label(_ stage: Differences.Stage) -> String {
        switch stage {
        case .layer(let number): "\(number)"
        case .embeddings: "emb"
        case .projector: "proj"
        case .vision: "vision"
        case .finalNorm: "norm"
        }
    }

    private func layers(_ page: inout SVGPage, _ panel: Panel) {
        let columns = columns()
        let top = columns.flatMap { $0.means.values.map { 100 * $0.relative } }.max() ?? 0
        let axis = Axis(top)
        page.text(
            "Difference of hidden states, |A − B| / |A|, mean over rows",
            x: panel.left,
            y: panel.top - 14,
            size: 13
        )
        for tick in axis.ticks {
            let y = panel.y(tick / axis.top)
            page.line((panel.left, y), (panel.right, y), color: Self.grid)
            page.text(axis.label(tick) + " %", x: panel.left - 8, y: y + 4, anchor: .end)
        }
        func place(_ index: Int, _ mean: Differences.Mean) -> (x: Double, y: Double) {
            let share = (Double(index) + 0.5) / Double(columns.count)
            return (panel.x(share), panel.y(100 * mean.relative / axis.top))
        }
        frame(&page, panel)
        labels(&page, panel, columns.map(\.label))
        for part in report.parts {
            var line: [(x: Double, y: Double)] = []
            for (index, column) in columns.enumerated() {
                guard let mean = column.means[part.name] else { continue }
                let point = place(index, mean)
                // The language model's states are one curve; what comes before and behind stands alone.
                if !["vision", "proj", "logits"].contains(column.label) { line.append(point) }
                page.dot(point, color: color(part.name), radius: column.label == "logits" ? 4 : 2.5)
            }
            page.curve(line, color: color(part.name))
        }
    }

    /// Labels below the columns: all names, and as many numbers as there is room for.
    private func labels(_ page: inout SVGPage, _ panel: Panel, _ labels: [String]) {
        var free = -Double.infinity
        // Names first: numbers between them give way.
        let wide = labels.indices.filter { Int(labels[$0]) == nil && !labels[$0].isEmpty }
        func extent(_ index: Int) -> (Double, Double) {
            let middle = panel.x((Double(index) + 0.5) / Double(labels.count))
            let half = 4.2 * Double(labels[index].count)
            return (middle - half, middle + half)
        }
        for index in wide {
            let middle = panel.x((Double(index) + 0.5) / Double(labels.count))
            page.line((middle, panel.bottom), (middle, panel.bottom + 5), color: Self.frame)
            page.text(labels[index], x: middle, y: panel.bottom + 18, anchor: .middle)
        }
        for index in labels.indices where Int(labels[index]) != nil {
            let (low, high) = extent(index)
            let isTaken = wide.contains { other in
                let (start, end) = extent(other)
                return low < end + 4 && high > start - 4
            }
            guard low > free + 8, !isTaken else { continue }
            free = high
            page.line(
                (low / 2 + high / 2, panel.bottom),
                (low / 2 + high / 2, panel.bottom + 5),
                color: Self.frame
            )
            page.text(labels[index], x: low / 2 + high / 2, y: panel.bottom + 18, anchor: .middle)
        }
        page.text(
            "embeddings, after each layer, final norm; logits less their mean",
            x: panel.x(0.5),
            y: panel.bottom + 46,
            color: "#666666",
            anchor: .middle
        )
    }

    private func frame(_ page: inout SVGPage, _ panel: Panel) {
        page.line((panel.left, panel.bottom), (panel.right, panel.bottom), color: Self.frame)
        page.line((panel.left, panel.top), (panel.left, panel.bottom), color: Self.frame)
    }

    // MARK: Histogram

    /// Bins of a quarter of a power of ten.
    private static let binsPerDecade = 4
    private static let lowest = -9

    private func histogram(_ page: inout SVGPage, _ panel: Panel) {
        let greatest = report.parts.map { $0.found.divergence(quantile: 1) }.max() ?? 0
        let smallest = report.parts.map { $0.found.divergence(quantile: 0.01) }.min() ?? 0
        func decade(_ value: Double) -> Double { value > 0 ? log10(value) : Double(Self.lowest) }
        let high = max(Int(decade(greatest).rounded(.up)), Self.lowest + 3)
        let low = min(max(Int(decade(smallest).rounded(.down)), Self.lowest), high - 3)
        let bins = (high - low) * Self.binsPerDecade
        var shares: [(name: String, shares: [Double])] = []
        for part in report.parts where part.found.tokens > 0 {
            var counts = [Double](repeating: 0, count: bins)
            for value in part.found.divergences {
                let bin = Int(((decade(value) - Double(low)) * Double(Self.binsPerDecade)).rounded(.down))
                counts[min(max(bin, 0), bins - 1)] += 1
            }
            shares.append((part.name, counts.map { 100 * $0 / Double(part.found.tokens) }))
        }
        let axis = Axis(shares.flatMap(\.shares).max() ?? 0)
        page.text(
            "Kullback-Leibler divergence of B from A, by token",
            x: panel.left,
            y: panel.top - 14,
            size: 13
        )
        for tick in axis.ticks {
            let y = panel.y(tick / axis.top)
            page.line((panel.left, y), (panel.right, y), color: Self.grid)
            page.text(axis.label(tick) + " %", x: panel.left - 8, y: y + 4, anchor: .end)
        }
        frame(&page, panel)
        for exponent in low...high {
            let x = panel.x(Double(exponent - low) / Double(high - low))
            page.line((x, panel.bottom), (x, panel.bottom + 5), color: Self.frame)
            page.text(Self.power(exponent), x: x, y: panel.bottom + 18, anchor: .middle)
        }
        for (name, shares) in shares {
            var points = [(x: panel.left, y: panel.bottom)]
            for (bin, share) in shares.enumerated() {
                points.append((panel.x(Double(bin) / Double(bins)), panel.y(share / axis.top)))
                points.append((panel.x(Double(bin + 1) / Double(bins)), panel.y(share / axis.top)))
            }
            points.append((panel.right, panel.bottom))
            page.curve(points, color: color(name), width: 1.5, fill: color(name))
        }
        for part in report.parts where part.found.tokens > 0 {
            let share = (decade(part.found.meanDivergence) - Double(low)) / Double(high - low)
            guard (0...1).contains(share) else { continue }
            let x = panel.x(share)
            page.line((x, panel.top), (x, panel.bottom), color: color(part.name), width: 1.5, isDashed: true)
        }
        page.text(
            "nats; dashed: the mean; below the axis counts as its first bin",
            x: panel.x(0.5),
            y: panel.bottom + 46,
            color: "#666666",
            anchor: .middle
        )
    }

    private static func power(_ exponent: Int) -> String {
        switch exponent {
        case 0: return "1"
        case 1: return "10"
        default:
            let digits = Array("⁰¹²³⁴⁵⁶⁷⁸⁹")
            let raised = "\(exponent.magnitude)".compactMap(\.wholeNumberValue).map { digits[$0] }
            return "10" + (exponent < 0 ? "⁻" : "") + String(raised)
        }
    }
}

/// Ticks of an axis that begins at 0.
private struct Axis {
    let ticks: [Double]
    let top: Double
    private let decimals: Int

    /// A tick's number, with as many decimals as all of them need.
    func label(_ tick: Double) -> String { Digits.fixed(tick, decimals) }

    /// - Parameter greatest: what the axis has to show.
    init(_ greatest: Double) {
        guard greatest.isFinite, greatest > 0 else {
            (ticks, top, decimals) = ([0, 1], 1, 0)
            return
        }
        let size = Digits.power(Int(log10(greatest / 4).rounded(.down)))
        let step = [1, 2, 2.5, 5, 10].map { $0 * size }.first { greatest / $0 <= 5 } ?? 10 * size
        decimals =
            (0..<12).first {
                ((step * Digits.power($0)).rounded() - step * Digits.power($0)).magnitude < 1e-6
            } ?? 12
        let count = Int((greatest / step).rounded(.up))
        ticks = (0...count).map { Double($0) * step }
        top = Double(count) * step
    }
}
