import VLFormats
import VLTensor

/// Weights of a checkpoint on disk, mapped and not copied; packed layers are unpacked into blocks, one at a time.
package final class CheckpointWeights: WeightSource {
    private let store: WeightStore
    private let packing: PackedFormat?
    private let run: Run?
    /// Layers that were asked for and are packed, by the names that their matrices would have.
    package private(set) var packed: [String: PackedMatrix] = [:]
    /// Blocks of the packed layers that nobody has released.
    private var buffers: [String: WeightBuffer] = [:]

    /// - Parameters:
    ///   - packing: how the checkpoint's layers are packed; nil for one of plain tensors.
    ///   - run: gives the threads that unpack; nil for a look at names and shapes alone, after which packed layers hold
    ///     no numbers.
    package init(_ store: WeightStore, packing: PackedFormat? = nil, run: Run? = nil) {
        self.store = store
        self.packing = packing
        self.run = run
    }

    package var name: String { store.path }

    package var owners: [any AnyObject & Sendable] { [store] + Array(buffers.values) }

    package func release(_ name: String) {
        store.peek(packed[name] == nil ? name : codes(name))?.advise(.notNeeded)
        buffers[name] = nil
    }

    package func contains(_ name: String) -> Bool { store.peek(name) != nil || isPacked(name) }

    /// The name of the tensor with the codes of a weight.
    private func codes(_ name: String) -> String {
        name.dropLast(".weight".utf8.count) + WeightStore.codesEnding
    }

    private func isPacked(_ name: String) -> Bool {
        name.hasSuffix(".weight") && store.peek(codes(name)) != nil
    }

    /// The type in which most of the packed layers run as they are; nil if there are none.
    package var packedType: DType? {
        var counts: [DType: Int] = [:]
        for matrix in packed.values { counts[matrix.type, default: 0] += matrix.rows * matrix.columns }
        return DType.allCases.filter { counts[$0] != nil }.max { counts[$0] ?? 0 < counts[$1] ?? 0 }
    }

    package func tensor(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor {
        guard store.peek(name) != nil else {
            if isPacked(name) { return try unpack(name, shape) }
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

    /// The blocks, or else the values, of a packed layer.
    private func unpack(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor {
        guard let packing else {
            throw .content(
                name: codes(name),
                expected: "'quantization_config' in config.json, which says how it is packed",
                found: "none",
                file: store.path
            )
        }
        let matrix = try PackedMatrix(name, shape, packing, store)
        packed[name] = matrix
        guard let run else {
            guard let base = matrix.codes.bytes.baseAddress else {
                throw .shape(name: codes(name), expected: shape, found: [], file: matrix.file)
            }
            return SourceTensor(pointer: base, type: .float32, shape: shape, file: matrix.file)
        }
        let rowBytes = matrix.type.rowBytes(matrix.columns)
        let buffer = WeightBuffer(byteCount: matrix.rows * rowBytes)
        guard let base = buffer.bytes.baseAddress else { preconditionFailure("a buffer without memory") }
        // Neighbouring rows lie in the same words or lines of the codes.
        let share = 16
        run.pool.parallel((matrix.rows + share - 1) / share) { piece in
            let rows = piece * share..<min((piece + 1) * share, matrix.rows)
            let target = base + rows.lowerBound * rowBytes
            if matrix.type.isBlock { return matrix.writeBlocks(rows: rows, as: matrix.type, into: target) }
            let values = target.assumingMemoryBound(to: Float.self)
            for row in rows {
                let place = values + (row - rows.lowerBound) * matrix.columns
                matrix.writeValues(row: row, columns: 0..<matrix.columns, run, into: place)
            }
        }
        buffers[name] = buffer
        return SourceTensor(
            pointer: UnsafeRawPointer(base),
            type: matrix.type,
            shape: shape,
            file: matrix.file,
            order: matrix.order
        )
    }

    /// Checks that the model has read every tensor.
    ///
    /// - Parameter isUnused: names that may be left over.
    /// - Throws: `LoadError.unknownTensors`.
    package func requireAllRead(except isUnused: (String) -> Bool) throws(LoadError) {
        let names = store.unread.filter { !isUnused($0) && !store.isIdleBias($0) }
        guard names.isEmpty else {
            throw .unknownTensors(names: Array(names.prefix(5)), count: names.count, file: store.path)
        }
    }
}
