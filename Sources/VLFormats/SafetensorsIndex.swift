import VLJSON

/// The index of a checkpoint in several safetensors files: which shard holds which tensor.
struct SafetensorsIndex {
    /// The biggest index that is read, in bytes: as big as a header may be.
    private static let sizeLimit = Safetensors.headerLimit

    /// The index file's path.
    let path: String
    /// The shards' plain file names, in the order of their names.
    let shards: [String]

    /// The shard of each tensor, as its place in `shards`, in the index's order.
    private let tensors: [(name: String, shard: Int)]

    /// Reads an index and checks that its shards are plain names of files in its own folder.
    static func open(_ path: String) throws(FormatError) -> SafetensorsIndex {
        let bytes = try FileContents.read(path, limit: sizeLimit)
        let map: [(tensor: String, shard: String)]?
        do { map = try readMap(bytes.span) } catch { throw .json(file: path, error) }
        guard let map else { throw .noWeightMap(file: path) }
        return try SafetensorsIndex(path, map)
    }

    private init(_ path: String, _ map: [(tensor: String, shard: String)]) throws(FormatError) {
        self.path = path
        var isKnown: Set<ExactString> = []
        for (tensor, shard) in map where isKnown.insert(ExactString(shard)).inserted {
            guard Self.isPlainName(shard) else { throw .shardName(file: path, tensor: tensor, found: shard) }
        }
        let names = isKnown.map(\.text).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        var places: [ExactString: Int] = [:]
        for (place, name) in names.enumerated() { places[ExactString(name)] = place }
        shards = names
        tensors = map.map { ($0.tensor, places[ExactString($0.shard)] ?? 0) }
    }

    /// Opens the shards and checks that they hold what the index says, no more and no less.
    func openShards() throws(FormatError) -> [StoredTensor] {
        var shardOf: [ExactString: Int] = [:]
        shardOf.reserveCapacity(tensors.count)
        for (name, shard) in tensors { shardOf[ExactString(name)] = shard }
        let folder = FilePath.folder(path)
        var result: [StoredTensor] = []
        for (place, shard) in shards.enumerated() {
            guard try FileKind.of(folder + shard) != nil else {
                throw .shardMissing(file: path, shard: shard)
            }
            let safetensors = try Safetensors.open(folder + shard)
            for entry in safetensors.entries {
                guard shardOf[ExactString(entry.name)] == place else {
                    let expected = shardOf[ExactString(entry.name)].map { shards[$0] }
                    throw .wrongShard(tensor: entry.name, expected: expected, found: folder + shard)
                }
                result.append(StoredTensor(entry, in: safetensors.file))
            }
        }
        // Names are unique within a shard and in the index, so equal numbers mean that none is missing.
        if result.count < tensors.count {
            let present = Set(result.map { ExactString($0.name) })
            for (name, shard) in tensors where !present.contains(ExactString(name)) {
                throw .tensorMissing(name, file: folder + shards[shard])
            }
        }
        return result
    }

    /// The pairs of `weight_map`, in their order; nil where there is none.
    private static func readMap(
        _ bytes: Span<UInt8>
    ) throws(JSONError) -> [(tensor: String, shard: String)]? {
        var map: [(tensor: String, shard: String)]?
        var scanner = try JSONScanner(bytes)
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            guard scanner.matches(key, "weight_map") else {
                try scanner.skipValue()
                continue
            }
            var pairs: [(tensor: String, shard: String)] = []
            try scanner.beginObject()
            while let name = try scanner.nextKey() {
                pairs.append((scanner.string(name), try scanner.readString()))
            }
            map = pairs
        }
        try scanner.finish()
        return map
    }

    /// Whether a name can only be that of a safetensors file in the index's own folder.
    static func isPlainName(_ name: String) -> Bool {
        let isClean = name.utf8.allSatisfy { byte in
            byte >= 0x20 && byte != 0x7F && byte != UInt8(ascii: "/") && byte != UInt8(ascii: "\\")
        }
        let suffix = ".safetensors"
        return isClean && name.utf8.count > suffix.utf8.count && name.utf8.count <= 255
            && FilePath.ends(name, with: suffix)
            && !name.utf8.starts(with: "..".utf8)
    }
}
