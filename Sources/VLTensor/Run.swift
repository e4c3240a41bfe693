import CVLKernels

/// How numbers are computed where a model leaves a choice.
package enum Compute: String, Sendable {
    /// Everything in float32, whatever the weights are stored in: the reference path.
    case float32
    /// The fast path: bfloat16 weights meet activations rounded to bfloat16 where the processor multiplies those.
    case auto
}

/// What an operation needs besides its operands: kernels, threads, scratch memory, and perhaps a trace.
///
/// Confined to the thread that runs the model; the pool may be shared by several runs.
package final class Run {
    package let kernels: UnsafePointer<vl_kernels>
    package let pool: ThreadPool
    package let workspace = Workspace()
    package let compute: Compute
    /// Bytes of weights that products have read so far, for measurements.
    package var readBytes = 0
    /// Receives intermediate values when somebody asked for them.
    package var trace: Trace?
    /// Sees what each product with a named weight reads, when somebody wants to.
    package var observer: (any ProductObserver)?

    /// - Parameter isa: the kernel table's instruction set; nil chooses the best (or what VL_ISA names).
    package init(pool: ThreadPool, compute: Compute, isa: vl_isa? = nil) {
        self.pool = pool
        self.compute = compute
        kernels = isa.flatMap { vl_kernels_for($0) } ?? vl_kernels_best()
    }

    /// The kernel table's name: "avx512bf16", "neon"….
    package var instructionSet: String { String(cString: kernels.pointee.name) }

    /// Runs `body` and gives back the scratch memory that it took; nothing that it allocated may be returned.
    package func scoped<Result>(_ body: () throws -> Result) rethrows -> Result {
        let mark = workspace.mark
        defer { workspace.rewind(to: mark) }
        return try body()
    }
}

/// Intermediate values by name, as `ask --dump` writes them.
package final class Trace {
    /// A recorded tensor: its shape and float32 values.
    package struct Entry: Sendable {
        package var shape: [Int]
        package var values: [Float]
        /// Tiles that the rows are of, each as many; nil if they are of no tiles.
        package var tiles: Int?
    }

    /// Names in the order of their first record.
    package private(set) var names: [String] = []
    package private(set) var entries: [String: Entry] = [:]

    package init() {}

    /// Records a matrix; a second record of the same name appends its rows (a later chunk, a later tile).
    ///
    /// - Parameter tiles: of how many tiles the rows are, if they are of tiles.
    package func record(_ name: String, _ matrix: Matrix, tiles: Int? = nil) {
        if entries[name] == nil { names.append(name) }
        entries[name, default: Entry(shape: [0, matrix.columns], values: [])].shape[0] += matrix.rows
        entries[name]?.values.append(contentsOf: matrix.values)
        if let tiles {
            let before = entries[name]?.tiles ?? 0
            entries[name]?.tiles = before + tiles
        }
    }

    /// Gives a recorded tensor another shape of the same number of values.
    package func reshape(_ name: String, _ shape: [Int]) {
        precondition(entries[name]?.values.count == shape.reduce(1, *), "\(name) cannot become \(shape)")
        entries[name]?.shape = shape
    }
}
