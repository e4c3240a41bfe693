import CVLPool
import Dispatch
import Testing

/// What a body of these tests works on.
private struct Region {
    var pool: OpaquePointer
    var hits: UnsafeMutablePointer<Int64>
    var workers: UnsafeMutablePointer<Int64>
    var inner: Int64 = 0
}

private func withPool(_ threads: Int32, _ body: (OpaquePointer) throws -> Void) throws {
    let pool = try #require(vl_pool_create(threads))
    defer { vl_pool_destroy(pool) }
    try body(pool)
}

/// Runs `count` tasks and returns how often each index came and how many tasks each worker did.
private func run(_ pool: OpaquePointer, _ count: Int) -> (hits: [Int64], workers: [Int64]) {
    var hits = [Int64](repeating: 0, count: max(count, 0))
    var workers = [Int64](repeating: 0, count: Int(vl_pool_threads(pool)))
    hits.withUnsafeMutableBufferPointer { hits in
        workers.withUnsafeMutableBufferPointer { workers in
            let spare = UnsafeMutablePointer<Int64>.allocate(capacity: 1)
            defer { spare.deallocate() }
            var region = Region(
                pool: pool,
                hits: hits.baseAddress ?? spare,
                workers: workers.baseAddress ?? spare
            )
            vl_pool_run(
                pool,
                Int64(count),
                { context, index, worker in
                    guard let region = context?.assumingMemoryBound(to: Region.self).pointee else { return }
                    region.hits[Int(index)] += 1
                    region.workers[Int(worker)] += 1
                },
                &region
            )
        }
    }
    return (hits, workers)
}

@Suite("The thread pool", .serialized)
struct PoolTests {
    @Test("each index comes just once", arguments: [1, 2, 3, 8] as [Int32])
    func eachIndexOnce(threads: Int32) throws {
        try withPool(threads) { pool in
            #expect(vl_pool_threads(pool) == threads)
            for count in [0, 1, 2, 3, 7, 8, 9, 64, 1000, 4097] {
                let (hits, workers) = run(pool, count)
                #expect(hits.allSatisfy { $0 == 1 })
                #expect(workers.reduce(0, +) == count)
            }
        }
    }

    @Test("a count below one does nothing", arguments: [1, 2] as [Int32])
    func nothingToDo(threads: Int32) throws {
        try withPool(threads) { pool in
            #expect(run(pool, -1).workers.allSatisfy { $0 == 0 })
            #expect(run(pool, Int(Int32.min)).workers.allSatisfy { $0 == 0 })
        }
    }

    @Test("one task and one thread stay on the caller, in order")
    func inPlace() throws {
        try withPool(3) { pool in
            #expect(run(pool, 1).workers == [1, 0, 0])
        }
        try withPool(1) { pool in
            var order = Order()
            withUnsafeMutablePointer(to: &order) { order in
                vl_pool_run(
                    pool,
                    5,
                    { context, index, _ in
                        context?.assumingMemoryBound(to: Order.self).pointee.seen.append(index)
                    },
                    order
                )
            }
            #expect(order.seen == [0, 1, 2, 3, 4])
        }
    }

    @Test("a hundred thousand regions in a row all finish", arguments: [1, 2, 3, 8] as [Int32])
    func hammer(threads: Int32) throws {
        let regions = 100_000
        try withPool(threads) { pool in
            var sums = [Int64](repeating: 0, count: 4)
            sums.withUnsafeMutableBufferPointer { sums in
                for region in 0..<regions {
                    vl_pool_run(
                        pool,
                        Int64(region % 4 + 1),
                        { context, index, _ in
                            context?.assumingMemoryBound(to: Int64.self)[Int(index)] += 1
                        },
                        sums.baseAddress
                    )
                }
            }
            let quarter = Int64(regions / 4)
            #expect(sums == [4 * quarter, 3 * quarter, 2 * quarter, quarter])
        }
    }

    @Test("a call from inside a body runs in place with its number", arguments: [1, 2, 3, 8] as [Int32])
    func nested(threads: Int32) throws {
        try withPool(threads) { pool in
            let outer = 50
            let inner = 20
            var hits = [Int64](repeating: 0, count: outer)
            var strays = [Int64](repeating: 0, count: Int(threads))
            hits.withUnsafeMutableBufferPointer { hits in
                strays.withUnsafeMutableBufferPointer { strays in
                    guard let hitsBase = hits.baseAddress, let straysBase = strays.baseAddress else { return }
                    var region = Region(
                        pool: pool,
                        hits: hitsBase,
                        workers: straysBase,
                        inner: Int64(inner)
                    )
                    vl_pool_run(pool, Int64(outer), nestedBody, &region)
                }
            }
            #expect(hits.allSatisfy { $0 == inner })
            #expect(strays.allSatisfy { $0 == 0 })
        }
    }

    @Test("callers on several threads wait for each other")
    func severalCallers() throws {
        try withPool(2) { pool in
            let shared = Int(bitPattern: pool)
            let sums = UnsafeMutablePointer<Int64>.allocate(capacity: 4)
            sums.initialize(repeating: 0, count: 4)
            defer { sums.deallocate() }
            let address = Int(bitPattern: sums)
            DispatchQueue.concurrentPerform(iterations: 4) { caller in
                guard let pool = OpaquePointer(bitPattern: shared),
                    let sums = UnsafeMutablePointer<Int64>(bitPattern: address)
                else { return }
                for _ in 0..<500 {
                    // Each index has its own place, summed by the caller afterwards.
                    sums[caller] += run(pool, 16).hits.reduce(0, +)
                }
            }
            #expect((0..<4).allSatisfy { sums[$0] == 500 * 16 })
        }
    }

    @Test("a pool that has gone to sleep wakes up, and one that never worked can be ended")
    func sleepAndEnd() throws {
        for threads in [1, 2, 3, 8] as [Int32] {
            try withPool(threads) { _ in }
            try withPool(threads) { pool in
                for _ in 0..<3 {
                    let idle = ContinuousClock.now + .milliseconds(5)
                    while ContinuousClock.now < idle {}
                    #expect(run(pool, 100).hits.allSatisfy { $0 == 1 })
                }
            }
        }
        vl_pool_destroy(nil)
    }

    @Test("a senseless number of threads gives no pool", arguments: [0, -1, 1025, .max, .min] as [Int32])
    func badThreadCount(threads: Int32) {
        #expect(vl_pool_create(threads) == nil)
    }

    @Test("there is at least one core, and not more than there are processors")
    func cores() {
        let cores = vl_physical_cores()
        #expect(cores >= 1)
        #expect(cores <= 8192)
        #expect(cores == vl_physical_cores())
    }
}

/// The outer body of the nested test: runs `inner` tasks that must all come with this body's number.
private let nestedBody: vl_pool_body = { context, index, worker in
    guard let context else { return }
    let region = context.assumingMemoryBound(to: Region.self).pointee
    var call = InnerCall(worker: worker)
    vl_pool_run(
        region.pool,
        region.inner,
        { context, _, worker in
            guard let call = context?.assumingMemoryBound(to: InnerCall.self) else { return }
            call.pointee.done += 1
            if worker != call.pointee.worker { call.pointee.strays += 1 }
        },
        &call
    )
    region.hits[Int(index)] += call.done
    region.workers[Int(worker)] += call.strays
}

/// The indexes in the order in which they came.
private struct Order {
    var seen: [Int64] = []
}

/// The worker number that an inner call must see, and what it saw.
private struct InnerCall {
    let worker: Int32
    var done: Int64 = 0
    var strays: Int64 = 0
}
