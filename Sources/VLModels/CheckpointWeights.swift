import VLFormats
import VLTensor

/// Weights of a checkpoint on disk, mapped and not copied.
package final class CheckpointWeights: WeightSource {
    private let store: WeightStore

    package init(_ store: WeightStore) {
        self.store = store
    }

    package var name: String { store.path }

    package var owners: [any AnyObject & Sendable] { [store] }

    package func release(_ name: String) { store.peek(name)?.advise(.notNeeded) }

    package func contains(_ name: String) -> Bool { store.peek(name) != nil }

    package func tensor(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor {
        guard store.peek(name) != nil else {
            throw .missingTensor(name: name, shape: shape, file: store.path)
        }
        let found: StoredTensor
        do {
            found = try store.tensor(named: name)
        } catch {
            throw .format(error)
        }
        let type: DType
        switch found.dtype {
        case .float32: type = .float32
        case .bfloat16: type = .bfloat16
        case .float16: type = .float16
        default: throw .type(name: name, found: found.dtype.rawValue, file: found.file)
        }
        guard let base = found.bytes.baseAddress else {
            throw .shape(name: name, expected: shape, found: found.shape, file: found.file)
        }
        return SourceTensor(pointer: base, type: type, shape: found.shape, file: found.file)
    }

    /// Checks that the model has read every tensor.
    ///
    /// - Parameter isUnused: names that may be left over.
    /// - Throws: `LoadError.unknownTensors`.
    package func requireAllRead(except isUnused: (String) -> Bool) throws(LoadError) {
        let names = store.unread.filter { !isUnused($0) }
        guard names.isEmpty else {
            throw .unknownTensors(names: Array(names.prefix(5)), count: names.count, file: store.path)
        }
    }
}
