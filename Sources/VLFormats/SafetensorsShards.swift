import VLJSON

/// A checkpoint as one safetensors file, or as several and an index where one would be too large.
package enum SafetensorsShards {
    /// Bytes of one file, at most, unless a single tensor is larger.
    package static let fileBytes = 5_000_000_000

    /// Writes the files into a folder.
    ///
    /// - Parameter onTensor: called with the number of tensors that are written.
    /// - Throws: `FormatError` as `SafetensorsWriter.write`.
    package static func write(
        _ tensors: [OutgoingTensor],
        into folder: borrowing AtomicFolder,
        fileBytes: Int = SafetensorsShards.fileBytes,
        onTensor: (Int) -> Void = { _ in }
    ) throws(FormatError) {
        let shards = shards(tensors, fileBytes)
        var (done, total) = (0, 0)
        var places = JSONObject()
        for (index, shard) in shards.enumerated() {
            let name = shards.count == 1 ? "model.safetensors" : name(index + 1, of: shards.count)
            try SafetensorsWriter.write(folder(name), metadata: [("format", "pt")], tensors: shard) {
                onTensor(done + $0)
            }
            done += shard.count
            for tensor in shard {
                places[tensor.name] = .string(name)
                total += size(tensor)
            }
        }
        guard shards.count > 1 else { return }
        let index: JSONValue = [
            "metadata": ["total_size": .integer(Int64(total))], "weight_map": .object(places),
        ]
        try AtomicFile.write(folder("model.safetensors.index.json"), JSONWriter.encode(index, .pretty))
    }

    private static func size(_ tensor: OutgoingTensor) -> Int {
        tensor.dtype.byteCount(shape: tensor.shape) ?? 0
    }

    private static func name(_ number: Int, of count: Int) -> String {
        func five(_ number: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, 5 - digits.utf8.count)) + digits
        }
        return "model-\(five(number))-of-\(five(count)).safetensors"
    }

    /// The tensors of each file, in order.
    private static func shards(_ tensors: [OutgoingTensor], _ limit: Int) -> [[OutgoingTensor]] {
        var shards: [[OutgoingTensor]] = [[]]
        var room = limit
        for tensor in tensors {
            if size(tensor) > room, shards.last?.isEmpty == false {
                shards.append([])
                room = limit
            }
            shards[shards.count - 1].append(tensor)
            room -= size(tensor)
        }
        return shards
    }
}
