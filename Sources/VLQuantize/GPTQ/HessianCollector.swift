import VLModels
import VLTensor

/// Collects the Hessians of a layer's matrices while rows pass the layer.
///
/// Matrices that read the same rows (queries, keys and values; the two in front of a gate) share one.
final class HessianCollector: ProductObserver {
    private let run: Run
    /// For each matrix of the layer, by `WeightMatrix.Origin.index`: the input that it reads, and whether that is counted
    /// when this matrix reads it.
    private let places: [(input: String, counts: Bool)?]
    private var hessians: [String: InputHessian] = [:]

    /// - Parameters:
    ///   - names: of the layer's matrices.
    ///   - wanted: those of them that are to be quantized.
    init(_ names: [String], wanted: Set<String>, _ run: Run) {
        self.run = run
        var seen: Set<String> = []
        places = names.map { name in
            guard wanted.contains(name) else { return nil }
            let input = Self.input(of: name)
            return (input, seen.insert(input).inserted)
        }
    }

    /// What stands for the rows that a matrix reads.
    static func input(of name: String) -> String {
        for ending in [
            "q_proj", "k_proj", "v_proj", "q_a_proj", "kv_a_proj_with_mqa", "gate_proj", "up_proj",
        ]
        where name.hasSuffix("." + ending + ".weight") {
            return name.dropLast(ending.utf8.count + ".weight".utf8.count) + "input"
        }
        return name
    }

    func product(reads input: Matrix, with weight: WeightMatrix) {
        guard let origin = weight.origin, let place = places[Int(origin.index)], place.counts, input.rows > 0
        else { return }
        let hessian = hessians[place.input] ?? InputHessian(size: input.columns)
        hessians[place.input] = hessian
        hessian.add(input, run)
    }

    /// The Hessian of a matrix's input; nil if no row reached it.
    func hessian(of name: String) -> InputHessian? {
        let found = hessians[Self.input(of: name)]
        found?.settle(run)
        return found
    }

    /// Gives up the Hessian of a matrix's input.
    func forget(_ name: String) { hessians[Self.input(of: name)] = nil }
}
