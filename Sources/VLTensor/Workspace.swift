/// Scratch memory of a forward pass: a stack of allocations that is rewound, never freed, so that the token loop
/// allocates nothing once it has seen its largest step.
///
/// Confined to the thread that runs the model.
package final class Workspace {
    private var chunks: [UnsafeMutableRawBufferPointer] = []
    private var chunk = 0
    private var used = 0
    private static let minimum = 1 << 20
    private static let alignment = 64

    package init() {}

    deinit { for chunk in chunks { chunk.deallocate() } }

    /// A place to rewind to.
    package struct Mark {
        fileprivate let chunk: Int
        fileprivate let used: Int
    }

    /// The present end of the stack.
    package var mark: Mark { Mark(chunk: chunk, used: used) }

    /// Gives back everything that was allocated after `mark`.
    package func rewind(to mark: Mark) {
        chunk = mark.chunk
        used = mark.used
    }

    /// Bytes that the workspace holds from the system.
    package var capacity: Int { chunks.reduce(0) { $0 + $1.count } }

    /// `count` values of a trivial type, contents undefined, aligned to 64 bytes.
    package func allocate<Value: BitwiseCopyable>(
        _ type: Value.Type,
        _ count: Int
    ) -> UnsafeMutablePointer<Value> {
        let size = (max(count, 1) * MemoryLayout<Value>.stride + Self.alignment - 1) & ~(Self.alignment - 1)
        while chunk < chunks.count && used + size > chunks[chunk].count {
            chunk += 1
            used = 0
        }
        if chunk == chunks.count {
            let wanted = max(size, Self.minimum, capacity)
            chunks.append(.allocate(byteCount: wanted, alignment: Self.alignment))
            used = 0
        }
        guard let base = chunks[chunk].baseAddress else { preconditionFailure("a chunk without memory") }
        let start = base + used
        used += size
        return start.bindMemory(to: Value.self, capacity: max(count, 1))
    }

    /// A matrix with undefined contents.
    package func matrix(_ rows: Int, _ columns: Int) -> Matrix {
        Matrix(allocate(Float.self, rows * columns), rows: rows, columns: columns)
    }
}
