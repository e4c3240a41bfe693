import VLFormats
import VLTensor

/// A tensor that a source holds: where its bytes are and what they mean.
package struct SourceTensor {
    package let pointer: UnsafeRawPointer
    package let type: DType
    package let shape: [Int]
    /// File that it lies in, for messages.
    package let file: String

    package init(pointer: UnsafeRawPointer, type: DType, shape: [Int], file: String) {
        self.pointer = pointer
        self.type = type
        self.shape = shape
        self.file = file
    }
}

/// Where a model's weights come from: a checkpoint, or a generator of random numbers.
package protocol WeightSource: AnyObject {
    /// What messages call the source: a file or folder name.
    var name: String { get }
    /// Whether the source has a tensor.
    func contains(_ name: String) -> Bool
    /// The tensor of a name; `shape` is what the model expects (a generator makes that).
    ///
    /// - Throws: `LoadError.missingTensor`, `.type`. The caller compares the shape.
    func tensor(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor
    /// Says that a tensor's bytes were copied and are not read again: its memory may go.
    func release(_ name: String)
    /// What must stay alive as long as the tensors are used.
    var owners: [any AnyObject & Sendable] { get }
}

/// Keeps the bytes of a model's weights alive; a model holds one.
package final class WeightOwner: Sendable {
    private let owners: [any AnyObject & Sendable]

    package init(_ owners: [any AnyObject & Sendable]) {
        self.owners = owners
    }
}

/// Reads a model's tensors: maps what kernels read as it is, packs and converts the rest; used while loading only.
package final class WeightLoader {
    package let source: any WeightSource
    private let policy: WeightPolicy
    private let run: Run
    private let arena = WeightArena()
    private var buffers: [WeightBuffer] = []
    /// Names of the matrices that were handed out, as the model asks for them; `WeightMatrix.Origin` counts in it.
    package private(set) var names: [String] = []
    /// Bytes of the weights that were handed out, in the form in which they run.
    package private(set) var byteCount = 0

    /// - Parameter run: gives the conversion kernels and the threads.
    package init(_ source: any WeightSource, _ run: Run, policy: WeightPolicy = WeightPolicy()) {
        self.source = source
        self.policy = policy
        self.run = run
    }

    /// What the model must hold to keep its weights alive.
    package var owner: WeightOwner { WeightOwner(source.owners + buffers + [arena]) }

    fileprivate func find(_ name: String, _ shape: [Int]) throws(LoadError) -> SourceTensor {
        let found = try source.tensor(name, shape)
        guard found.shape == shape else {
            throw .shape(name: name, expected: shape, found: found.shape, file: found.file)
        }
        return found
    }

    fileprivate func matrix(
        _ name: String,
        _ rows: Int,
        _ columns: Int,
        _ shape: [Int]
    ) throws(LoadError) -> WeightMatrix {
        let found = try find(name, shape)
        guard columns % found.type.blockLength == 0 else {
            throw .blocks(name: name, type: found.type.rawValue, columns: columns, file: found.file)
        }
        let type = policy.type(
            of: name,
            stored: found.type,
            columns: WeightPolicy.columns(shape),
            isHead: isTiedHead(name)
        )
        let size = WeightMatrix.byteCount(type, rows: rows, columns: columns)
        byteCount += size
        let origin = WeightMatrix.Origin(index: Int32(clamping: names.count))
        names.append(name)
        if type == found.type && !type.isBlock {
            return WeightMatrix(found.pointer, type: type, rows: rows, columns: columns, origin: origin)
        }
        guard let place = arena.allocate(size) else {
            throw .memory(what: name, needed: size, available: 0)
        }
        run.pack(found.pointer, found.type, rows: rows, columns: columns, as: type, into: place)
        source.release(name)
        return WeightMatrix(place, type: type, rows: rows, columns: columns, origin: origin)
    }

    /// Whether a matrix is the embedding of a model that has no output head beside it.
    private func isTiedHead(_ name: String) -> Bool {
        let embedding = "model.embed_tokens.weight"
        return name.hasSuffix(embedding)
            && !source.contains(name.dropLast(embedding.count) + "lm_head.weight")
    }

    fileprivate func vector(_ name: String, _ shape: [Int]) throws(LoadError) -> WeightVector {
        let found = try find(name, shape)
        let count = shape.reduce(1, *)
        byteCount += count * 4
        let aligned = UInt(bitPattern: found.pointer) % 4 == 0
        if found.type == .float32 && aligned {
            return WeightVector(found.pointer.assumingMemoryBound(to: Float.self), count: count)
        }
        let buffer = WeightBuffer(byteCount: count * 4)
        guard let start = buffer.bytes.baseAddress else { preconditionFailure("a buffer without memory") }
        let values = start.bindMemory(to: Float.self, capacity: count)
        guard count % found.type.blockLength == 0 else {
            throw .blocks(name: name, type: found.type.rawValue, columns: count, file: found.file)
        }
        run.decode(found.pointer, found.type, count: count, into: values)
        buffers.append(buffer)
        return WeightVector(UnsafePointer(values), count: count)
    }
}

/// A place in a checkpoint's tree of names: `weights["self_attn"]["q_proj"]`.
///
/// Each layer's initialiser reads its own tensors through it and states their shapes.
package struct Weights {
    package let loader: WeightLoader
    /// Dotted path of this place.
    package let path: String

    package init(_ loader: WeightLoader, path: String = "") {
        self.loader = loader
        self.path = path
    }

    /// The place below this one.
    package subscript(name: String) -> Weights {
        Weights(loader, path: path.isEmpty ? name : path + "." + name)
    }

    /// The place of a numbered layer.
    package subscript(index: Int) -> Weights { self[String(index)] }

    /// Full name of a tensor here.
    package func full(_ name: String) -> String { path.isEmpty ? name : path + "." + name }

    /// Whether a tensor exists here.
    package func contains(_ name: String) -> Bool { loader.source.contains(full(name)) }

    /// The matrix [rows, columns] of a name: a mapped view in its stored float type, or packed and converted.
    ///
    /// - Parameter shape: its stored shape where that has other axes than rows and columns (a convolution).
    /// - Throws: `LoadError.missingTensor`, `.shape`, `.type`.
    package func matrix(
        _ name: String,
        _ rows: Int,
        _ columns: Int,
        shape: [Int]? = nil
    ) throws(LoadError) -> WeightMatrix {
        try loader.matrix(full(name), rows, columns, shape ?? [rows, columns])
    }

    /// The vector of a name as float32.
    ///
    /// - Throws: as `matrix`.
    package func vector(_ name: String, _ count: Int, shape: [Int]? = nil) throws(LoadError) -> WeightVector {
        try loader.vector(full(name), shape ?? [count])
    }

    /// `weight` [output, input] and, if asked for, `bias` [output].
    ///
    /// - Throws: as `matrix`.
    package func linear(
        _ input: Int,
        _ output: Int,
        bias: Bool,
        shape: [Int]? = nil
    ) throws(LoadError) -> Linear {
        Linear(
            weight: try matrix("weight", output, input, shape: shape),
            bias: bias ? try vector("bias", output) : nil
        )
    }
}
