import CVLPool

/// The threads that compute, the calling one included.
package final class ThreadPool: @unchecked Sendable {
    // @unchecked Sendable: the C pool serialises regions; nothing here is mutable.
    private let pool: OpaquePointer

    /// Threads that work on a region.
    package let threads: Int

    /// Starts `threads` - 1 threads; nil means one a physical core.
    ///
    /// Falls back to the calling thread alone when the system refuses threads.
    package init(threads: Int? = nil) {
        let wanted = max(1, min(threads ?? Int(vl_physical_cores()), 256))
        if let pool = vl_pool_create(Int32(wanted)) {
            self.pool = pool
        } else {
            guard let single = vl_pool_create(1) else { preconditionFailure("no memory for a thread pool") }
            pool = single
        }
        self.threads = Int(vl_pool_threads(pool))
    }

    deinit { vl_pool_destroy(pool) }

    /// Runs a C body for each index below `count`; returns when all are done.
    package func run(
        _ count: Int,
        _ context: UnsafeMutableRawPointer,
        _ body: vl_pool_body
    ) {
        vl_pool_run(pool, Int64(count), body, context)
    }

    /// Runs `body(index)` for each index below `count`, in any order and on any thread; returns when all are done.
    package func parallel(_ count: Int, _ body: (Int) -> Void) {
        if count <= 1 || threads == 1 {
            for index in 0..<max(count, 0) { body(index) }
            return
        }
        withoutActuallyEscaping(body) { escaping in
            var context = escaping
            withUnsafeMutablePointer(to: &context) { pointer in
                run(count, UnsafeMutableRawPointer(pointer)) { raw, index, _ in
                    raw?.assumingMemoryBound(to: ((Int) -> Void).self).pointee(Int(index))
                }
            }
        }
    }

    /// Runs `body(index, worker)` for each index below `count`; of the bodies with the same `worker`, which is below
    /// `threads`, no two run at the same time, so that it may choose a piece of scratch memory.
    package func parallelByWorker(_ count: Int, _ body: (Int, Int) -> Void) {
        if count <= 1 || threads == 1 {
            for index in 0..<max(count, 0) { body(index, 0) }
            return
        }
        withoutActuallyEscaping(body) { escaping in
            var context = escaping
            withUnsafeMutablePointer(to: &context) { pointer in
                run(count, UnsafeMutableRawPointer(pointer)) { raw, index, worker in
                    raw?.assumingMemoryBound(to: ((Int, Int) -> Void).self).pointee(Int(index), Int(worker))
                }
            }
        }
    }

    /// Runs `body` over ranges that cover 0..<count, none smaller than `grain` unless it is the last.
    package func ranges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
        guard count > 0 else { return }
        let pieces = max(1, min(threads * 4, count / max(1, grain)))
        if pieces == 1 {
            body(0..<count)
            return
        }
        parallel(pieces) { piece in
            body(count * piece / pieces..<count * (piece + 1) / pieces)
        }
    }
}
