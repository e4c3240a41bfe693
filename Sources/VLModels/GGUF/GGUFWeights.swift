import VLFormats
import VLTensor

/// Weights of a GGUF file, mapped and not copied, under the names of Hugging Face checkpoints.
package final class GGUFWeights: WeightSource {
    private let store: WeightStore
    /// The number of experts that stacked tensors must have.
    private let experts: Int

    package init(_ store: WeightStore, experts: Int) {
        self.store = store
        self.experts = experts
    }

    package var name: String { store.path }

    package var owners: [any AnyObject & Sendable] { [store] }

    package func release(_ name: String) {
        let place = GGUFNames.place(inCheckpoint: name)
        guard let found = store.peek(place.name) else { return }
        guard let slice = place.slice, experts > 0 else { return found.advise(.notNeeded) }
        let size = found.byteCount / experts
        found.advise(.notNeeded, slice * size..<(slice + 1) * size)
    }

    package func contains(_ name: String) -> Bool {
        store.peek(GGUFNames.place(inCheckpoint: name).name) != nil
    }

    package func tensor(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor {
        let place = GGUFNames.place(inCheckpoint: name)
        guard store.peek(place.name) != nil else {
            throw .missingTensor(name: place.name, shape: shape, file: store.path)
        }
        let found: StoredTensor
        do {
            found = try store.tensor(named: place.name)
        } catch {
            throw .format(error)
        }
        let type = try DType.stored(found)
        guard let base = found.bytes.baseAddress else {
            throw .shape(name: place.name, expected: shape, found: found.shape, file: found.file)
        }
        guard let slice = place.slice else {
            return SourceTensor(pointer: base, type: type, shape: found.shape, file: found.file)
        }
        guard found.shape.first == experts, slice < experts else {
            throw .shape(name: place.name, expected: [experts] + shape, found: found.shape, file: found.file)
        }
        // Experts lie one after the other, each in whole blocks.
        let start = base + slice * (found.byteCount / experts)
        return SourceTensor(
            pointer: start,
            type: type,
            shape: Array(found.shape.dropFirst()),
            file: found.file
        )
    }

    /// Checks that the model has read every tensor.
    ///
    /// - Throws: `LoadError.unknownTensors`.
    package func requireAllRead() throws(LoadError) {
        let names = store.unread
        guard names.isEmpty else {
            throw .unknownTensors(names: Array(names.prefix(5)), count: names.count, file: store.path)
        }
    }
}

extension DType {
    /// The type of a stored tensor.
    ///
    /// - Throws: `LoadError.type` for types that no kernel computes with.
    package static func stored(_ tensor: StoredTensor) throws(LoadError) -> DType {
        // Both name block formats alike, save for capitals.
        guard let type = DType(rawValue: tensor.dtype.rawValue.lowercased()) else {
            throw .type(name: tensor.name, found: tensor.dtype.rawValue, file: tensor.file)
        }
        return type
    }
}
