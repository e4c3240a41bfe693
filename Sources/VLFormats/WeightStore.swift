import Synchronization
import VLJSON

/// A tensor of a checkpoint, its bytes mapped.
package struct StoredTensor: Sendable {
    package let name: String
    package let dtype: StoredDType
    /// Sizes, outermost first; empty for a scalar.
    package let shape: [Int]
    /// The name of the file that holds it, without folders.
    package let file: String

    private let mapping: MappedFile
    private let range: Range<Int>

    /// A tensor whose bytes are `range` of a mapped file.
    init(_ entry: TensorEntry, in mapping: MappedFile) {
        name = entry.name
        dtype = entry.dtype
        shape = entry.shape
        file = mapping.name
        range = entry.range
        self.mapping = mapping
    }

    /// The bytes: row-major, little-endian, perhaps not aligned; valid as long as this tensor (or a copy)
    /// lives.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: mapping.bytes[range]) }

    /// The number of bytes.
    package var byteCount: Int { range.count }

    /// The number of elements.
    package var elementCount: Int { range.count / dtype.blockBytes * dtype.blockSize }

    /// Gives the system a hint on how the bytes, or some of them, will be read.
    package func advise(_ advice: MappedFile.Advice, _ part: Range<Int>? = nil) {
        let part = (part ?? 0..<range.count).clamped(to: 0..<range.count)
        mapping.advise(advice, range.lowerBound + part.lowerBound..<range.lowerBound + part.upperBound)
    }
}

/// The tensors of a checkpoint by name, whatever kind of file holds them, and a record of which were read.
///
/// A kind of file is a function that opens its files and gives their tensors; `open` chooses it by what the
/// path leads to. May be shared between threads.
package final class WeightStore: Sendable {
    /// The path as it was given.
    package let path: String
    /// The files that hold the tensors, in the order in which they were opened.
    package let files: [String]

    private let tensors: [StoredTensor]
    private let places: [ExactString: Int]
    private let wasRead: Mutex<[Bool]>

    init(path: String, files: [String], tensors: [StoredTensor]) {
        self.path = path
        self.files = files
        self.tensors = tensors
        var places: [ExactString: Int] = [:]
        places.reserveCapacity(tensors.count)
        for (index, tensor) in tensors.enumerated() { places[ExactString(tensor.name)] = index }
        self.places = places
        wasRead = Mutex([Bool](repeating: false, count: tensors.count))
    }

    /// The tensors of one safetensors file.
    package convenience init(_ safetensors: Safetensors, path: String? = nil) {
        let file = safetensors.file
        self.init(path: path ?? file.path, files: [file.name], tensors: safetensors.tensors)
    }

    /// The tensors of a GGUF file.
    package convenience init(_ gguf: GGUF, path: String? = nil) {
        let tensors = gguf.tensors
        self.init(path: path ?? gguf.file.path, files: [gguf.file.name], tensors: tensors)
    }

    /// The tensors of two GGUF files that make one model; of a name that both have, the first one's.
    package convenience init(_ first: GGUF, _ second: GGUF) {
        let names = Set(first.entries.map { ExactString($0.name) })
        self.init(
            path: first.file.path,
            files: [first.file.name, second.file.name],
            tensors: first.tensors + second.tensors.filter { !names.contains(ExactString($0.name)) }
        )
    }

    /// Opens the checkpoint that a folder holds, or that one file is.
    ///
    /// A folder holds `model.safetensors.index.json` and the shards that it lists, or else
    /// `model.safetensors`, or else one safetensors file of any name (AutoGPTQ names it after bits and groups). A file is a safetensors file, an index (a name that ends in `.json`) whose shards
    /// lie beside it, or a GGUF file (a name that ends in `.gguf`, or its first bytes).
    ///
    /// - Throws: `FormatError.noCheckpoint` for a folder without any of these files.
    package static func open(_ path: String) throws(FormatError) -> WeightStore {
        guard try FileKind.of(path) == .folder else {
            let isIndex = FilePath.ends(path, with: ".json")
            return isIndex ? try openIndex(path, as: path) : try openSingle(path, as: path)
        }
        let folder = FilePath.ends(path, with: "/") ? path : path + "/"
        let (index, single) = ("model.safetensors.index.json", "model.safetensors")
        if try FileKind.of(folder + index) != nil { return try openIndex(folder + index, as: path) }
        if try FileKind.of(folder + single) != nil { return try openSingle(folder + single, as: path) }
        if let names = try FileContents.names(in: folder, endingIn: ".safetensors"), names.count == 1,
            try FileKind.of(folder + names[0]) == .file
        {
            return try openSingle(folder + names[0], as: path)
        }
        throw .noCheckpoint(folder: path, wanted: [index, single])
    }

    private static func openSingle(_ file: String, as path: String) throws(FormatError) -> WeightStore {
        let mapping = try MappedFile(file, allowsEmpty: true)
        if FilePath.ends(file, with: ".gguf") || GGUF.begins(mapping.bytes) {
            return try WeightStore(GGUF(mapping), path: path)
        }
        return try WeightStore(Safetensors(mapping), path: path)
    }

    private static func openIndex(_ file: String, as path: String) throws(FormatError) -> WeightStore {
        let index = try SafetensorsIndex.open(file)
        let tensors = try index.openShards()
        return WeightStore(path: path, files: index.shards, tensors: tensors)
    }

    /// The names of all tensors, file by file, in the order of their bytes.
    package var names: [String] { tensors.map(\.name) }

    /// The number of tensors.
    package var count: Int { tensors.count }

    /// All tensors, without a record of it.
    package var all: [StoredTensor] { tensors }

    /// The tensor `name` or nil, without a record of it.
    package func peek(_ name: String) -> StoredTensor? { places[ExactString(name)].map { tensors[$0] } }

    /// The tensor `name`, which then counts as read.
    ///
    /// - Throws: `FormatError.noTensor`.
    package func tensor(named name: String) throws(FormatError) -> StoredTensor {
        guard let place = places[ExactString(name)] else { throw .noTensor(name, checkpoint: path) }
        wasRead.withLock { $0[place] = true }
        return tensors[place]
    }

    /// The names of the tensors that nobody has read, in the order of `names`.
    package var unread: [String] {
        wasRead.withLock { $0 }.enumerated().filter { !$0.element }.map { tensors[$0.offset].name }
    }

    /// Checks that every tensor was read, save those that `isUnused` names.
    ///
    /// - Throws: `FormatError.unreadTensors`.
    package func requireAllRead(except isUnused: (String) -> Bool = { _ in false }) throws(FormatError) {
        let names = unread.filter { !isUnused($0) }
        guard names.isEmpty else { throw .unreadTensors(names, checkpoint: path) }
    }
}
