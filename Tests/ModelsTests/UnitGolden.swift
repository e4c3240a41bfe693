import Testing
import VLFormats
import VLJSON
import VLModels
import VLTensor
import VLTestSupport

/// A building block of the official code on its own: settings, parameters, input and output.
struct UnitGolden {
    let settings: JSONValue
    let store: WeightStore
    let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    init(_ name: String) throws {
        settings = try JSONValue(parsing: fixtureBytes("models/units/\(name).json"))
        store = try WeightStore.open(fixture("models/units/\(name).safetensors"))
    }

    /// The settings of a variant, as a model's configuration is read.
    func reader(_ variant: String, adding more: [(String, JSONValue)] = []) throws -> ConfigReader {
        var object = try #require(settings[variant]?.asObject)
        for (key, value) in more { object[key] = value }
        return try ConfigReader(bytes: JSONWriter.encode(.object(object)), file: "\(variant).json")
    }

    /// The parameters of a variant.
    func weights(_ variant: String) -> Weights {
        Weights(WeightLoader(CheckpointWeights(store), run))[variant]
    }

    func floats(_ name: String) throws -> [Float] {
        try store.tensor(named: name).bytes.bindMemory(to: Float.self).map { $0 }
    }

    func ints(_ name: String) throws -> [Int32] {
        try store.tensor(named: name).bytes.bindMemory(to: Int32.self).map { $0 }
    }

    /// A tensor as a matrix of rows of its last axis, in the workspace.
    func matrix(_ name: String) throws -> Matrix {
        let columns = try #require(store.tensor(named: name).shape.last)
        let values = try floats(name)
        let matrix = run.workspace.matrix(values.count / columns, columns)
        for (place, value) in values.enumerated() { matrix.pointer[place] = value }
        return matrix
    }
}
