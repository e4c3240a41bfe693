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
        _ shape: [Int],
        _ padding: Padding?
    ) throws(LoadError) -> WeightMatrix {
        let found = try find(name, shape)
        guard columns % found.type.blockLength == 0 else {
            throw .blocks(name: name, type: found.type.rawValue, columns: columns, file: found.file)
        }
        let (held, wide) = (padding?.rows ?? rows, padding?.columns ?? columns)
        let type = policy.type(
            of: name,
            stored: found.type,
            columns: padding == nil ? WeightPolicy.columns(shape) : wide,
            isHead: isTiedHead(name)
        )
        let size = WeightMatrix.byteCount(type, rows: held, columns: wide)
        byteCount += size
        let origin = WeightMatrix.Origin(index: Int32(clamping: names.count))
        names.append(name)
        if type == found.type && !type.isBlock && padding == nil {
            return WeightMatrix(found.pointer, type: type, rows: rows, columns: columns, origin: origin)
        }
        guard let place = arena.allocate(size) else {
            throw .memory(what: name, needed: size, available: 0)
        }
        if padding != nil {
            let whole = Self.padded(found, rows, columns, held, wide)
            guard let start = whole.bytes.baseAddress else { preconditionFailure("a buffer without memory") }
            run.pack(start, found.type, rows: held, columns: wide, as: type, into: place)
        } else {
            run.pack(found.pointer, found.type, rows: rows, columns: columns, as: type, into: place)
        }
        source.release(name)
        return WeightMatrix(place, type: type, rows: held, columns: wide, origin: origin)
    }

    /// A copy of a matrix with zeros behind each row and below the last; zero bytes are zeros in every type.
    private static func padded(
        _ found: SourceTensor,
        _ rows: Int,
        _ columns: Int,
        _ held: Int,
        _ wide: Int
    ) -> WeightBuffer {
        let (row, wideRow) = (found.type.rowBytes(columns), found.type.rowBytes(wide))
        let buffer = WeightBuffer(byteCount: held * wideRow)
        buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0)
        for index in 0..<rows {
            buffer.bytes.baseAddress?.advanced(by: index * wideRow)
                .copyMemory(from: found.pointer + index * row, byteCount: row)
        }
        return buffer
    }

    /// How wide the layer between two matrices has to be, so that the second one's rows are whole blocks of the wanted
    /// type: a little wider than it is if that is what keeps them from it.
    fileprivate func innerSize(_ name: String, _ size: Int) -> Int {
        let wide = (size + 31) / 32 * 32
        func isBlock(_ columns: Int) -> Bool {
            policy.type(of: name, stored: .float32, columns: columns).isBlock
        }
        return !isBlock(size) && isBlock(wide) ? wide : size
    }

    /// Whether a matrix is the embedding of a model that has no output head beside it.
    private func isTiedHead(_ name: String) -> Bool {
        let embedding = "model.embed_tokens.weight"
        return name.hasSuffix(embedding)
            && !source.contains(name.dropLast(embedding.count) + "lm_head.weight")
    }

    /// - Parameter held: as many values, if that is more than there are: zeros follow.
    fileprivate func vector(
        _ name: String,
        _ shape: [Int],
        held: Int? = nil
    ) throws(LoadError) -> WeightVector {
        let found = try find(name, shape)
        let count = shape.reduce(1, *)
        let held = max(count, held ?? count)
        byteCount += held * 4
        let aligned = UInt(bitPattern: found.pointer) % 4 == 0
        if found.type == .float32 && aligned && held == count {
            return WeightVector(found.pointer.assumingMemoryBound(to: Float.self), count: count)
        }
        let buffer = WeightBuffer(byteCount: held * 4)
        guard let start = buffer.bytes.baseAddress else { preconditionFailure("a buffer without memory") }
        let values = start.bindMemory(to: Float.self, capacity: held)
        for index in count..<held { values[index] = 0 }
        guard count % found.type.blockLength == 0 else {
            throw .blocks(name: name, type: found.type.rawValue, columns: count, file: found.file)
        }
        run.decode(found.pointer, found.type, count: count, into: values)
        buffers.append(buffer)
        return WeightVector(UnsafePointer(values), count: held)
    }
}

/// A size that a matrix is brought to with zeros: rows that give zeros, columns that meet them.
package struct Padding: Sendable {
    package var rows: Int
    package var columns: Int
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
        try loader.matrix(full(name), rows, columns, shape ?? [rows, columns], nil)
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

    /// Two layers with an activation between that makes zeros of zeros.
    ///
    /// - Parameters:
    ///   - names: of the places of both; each has a bias.
    ///   - innerSize: as it is stored. What lies between may be wider, so that a width of no whole blocks (SO400M's 4304)
    ///     keeps no matrix from a block format.
    /// - Throws: as `matrix`.
    package func linears(
        _ names: (String, String),
        _ size: Int,
        _ innerSize: Int
    ) throws(LoadError) -> (Linear, Linear) {
        let (first, second) = (self[names.0], self[names.1])
        let wide = loader.innerSize(second.full("weight"), innerSize)
        guard wide != innerSize else {
            return (
                try first.linear(size, innerSize, bias: true), try second.linear(innerSize, size, bias: true)
            )
        }
        let weights = (
            try loader.matrix(
                first.full("weight"),
                innerSize,
                size,
                [innerSize, size],
                Padding(rows: wide, columns: size)
            ),
            try loader.matrix(
                second.full("weight"),
                size,
                innerSize,
                [size, innerSize],
                Padding(rows: size, columns: wide)
            )
        )
        let bias = try loader.vector(first.full("bias"), [innerSize], held: wide)
        return (
            Linear(weight: weights.0, bias: bias),
            Linear(weight: weights.1, bias: try second.vector("bias", size))
        )
    }
}
