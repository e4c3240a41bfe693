import VLFormats
import VLTensor

/// Weights of a source, some of which are replaced by float32 values in memory.
package final class SourceOverlay: WeightSource {
    private let base: any WeightSource
    private var replaced: [String: (values: WeightBuffer, shape: [Int])] = [:]

    package init(_ base: any WeightSource) { self.base = base }

    package var name: String { base.name }

    package var owners: [any AnyObject & Sendable] { base.owners + replaced.values.map { $0.values } }

    package func contains(_ name: String) -> Bool { replaced[name] != nil || base.contains(name) }

    package func release(_ name: String) { if replaced[name] == nil { base.release(name) } }

    /// Replaces a tensor, [rows, columns] in float32.
    package func replace(_ name: String, _ values: WeightBuffer, rows: Int, columns: Int) {
        precondition(values.bytes.count >= rows * columns * 4, "a buffer too small for '\(name)'")
        replaced[name] = (values, [rows, columns])
    }

    package func tensor(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor {
        guard let (values, found) = replaced[name], let base = values.bytes.baseAddress else {
            return try self.base.tensor(name, shape)
        }
        return SourceTensor(pointer: base, type: .float32, shape: found, file: self.base.name)
    }
}

extension Registry {
    /// The weights of a folder or of a GGUF file, mapped, under the names of a checkpoint.
    ///
    /// - Throws: `LoadError`.
    package static func weights(of path: String) throws(LoadError) -> any WeightSource {
        if let model = try GGUFModel(at: path) {
            let architecture = try model.fields.text("general.architecture")
            let experts = try model.fields.config.int(architecture + ".expert_count", 0...4096, default: 0)
            return GGUFWeights(model.store, experts: experts)
        }
        do {
            return CheckpointWeights(try WeightStore.open(path))
        } catch {
            throw .format(error)
        }
    }
}
