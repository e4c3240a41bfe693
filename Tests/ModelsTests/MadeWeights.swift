import VLFormats
import VLModels
import VLTensor

extension UnitGolden {
    func shape(_ name: String) throws -> [Int] { try store.tensor(named: name).shape }

    /// Some values as a matrix of the run's workspace.
    func matrix(_ values: some Collection<Float>, columns: Int) -> Matrix {
        let matrix = run.workspace.matrix(values.count / columns, columns)
        for (index, value) in values.enumerated() { matrix.pointer[index] = value }
        return matrix
    }
}

/// Weights that a test makes up: any tensor it is asked for, or those of a list.
final class MadeWeights: WeightSource {
    let name = "made"
    private let value: (String, Int) -> Float
    private let missing: Set<String>
    private var buffers: [WeightBuffer] = []
    /// What was asked for, with the shapes.
    private(set) var asked: [String: [Int]] = [:]

    /// - Parameter value: of a tensor's element, by name and place.
    init(missing: Set<String> = [], _ value: @escaping (String, Int) -> Float) {
        self.missing = missing
        self.value = value
    }

    var owners: [any AnyObject & Sendable] { buffers }

    func contains(_ name: String) -> Bool { !missing.contains(name) }

    func tensor(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor {
        if missing.contains(name) { throw .missingTensor(name: name, shape: shape, file: self.name) }
        asked[name] = shape
        let count = shape.reduce(1, *)
        let buffer = WeightBuffer(byteCount: 4 * count)
        guard let base = buffer.bytes.baseAddress else { preconditionFailure("a buffer without memory") }
        let values = base.bindMemory(to: Float.self, capacity: count)
        for index in 0..<count { values[index] = value(name, index) }
        buffers.append(buffer)
        return SourceTensor(pointer: UnsafeRawPointer(base), type: .float32, shape: shape, file: self.name)
    }

    func release(_ name: String) {}

    /// Numbers between -0.5 and 0.5 that depend on name and place alone.
    static func noise(_ name: String, _ index: Int) -> Float {
        var state: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.utf8 { state = (state ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        state = (state &+ UInt64(index)) &* 0x9e37_79b9_7f4a_7c15
        state = (state ^ (state >> 29)) &* 0xbf58_476d_1ce4_e5b9
        return Float(state >> 40) / Float(1 << 24) - 0.5
    }
}

/// A configuration from the members of a JSON object.
func parsed(_ json: String) throws -> ConfigReader {
    try ConfigReader(bytes: Array(json.utf8), file: "config.json")
}
