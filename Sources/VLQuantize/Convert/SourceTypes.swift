import VLFormats
import VLTensor

/// The types that norms, biases and tables had before a GGUF file made float32 of them, so that the way back is exact.
enum SourceTypes {
    /// The key of the type that most had.
    static let mostKey = "deepseek-vl.source_type"
    /// The key of those with another: "name=TYPE", the name being the file's.
    static let othersKey = "deepseek-vl.source_type_exceptions"

    /// The pairs for a file; none where all were float32.
    ///
    /// - Parameter small: names in the file and former types of all tensors that are float32 whatever they were.
    static func pairs(_ small: [(name: String, type: DType)]) -> [NetworkSection.Pair] {
        guard small.contains(where: { $0.type != .float32 }) else { return [] }
        var counts: [DType: Int] = [:]
        for tensor in small { counts[tensor.type, default: 0] += 1 }
        let most = DType.allCases.max { counts[$0, default: 0] < counts[$1, default: 0] } ?? .float32
        let others = small.filter { $0.type != most }.map { "\($0.name)=\($0.type.rawValue.uppercased())" }
        var pairs: [NetworkSection.Pair] = [(mostKey, .text(most.rawValue.uppercased()))]
        if !others.isEmpty { pairs.append((othersKey, .texts(others))) }
        return pairs
    }
}
