import Testing
import VLEngine

/// A scheduler that a test drives step by step, with requests that answer for a while.
private struct Drive {
    var scheduler: Scheduler
    /// Tokens that each request still gives after its prompt.
    var answers: [Int: Int] = [:]
    /// Rows of prompts that were computed so far.
    var computed: [Int: Int] = [:]
    var prefixes: [Int: [Int]] = [:]

    init(blocks: Int, _ change: (inout Scheduler.Limits) -> Void = { _ in }) {
        var limits = Scheduler.Limits(blocks: blocks)
        change(&limits)
        scheduler = Scheduler(limits)
    }

    mutating func submit(_ job: Scheduler.Job, answer: Int = 1) throws {
        try scheduler.submit(job)
        answers[job.id] = answer
    }

    /// Requests that had to go back to the queue, in the order in which they did.
    var putBack: [Int] = []
    /// Those of them that have not computed their rows again yet.
    private var again: Set<Int> = []
    /// Requests whose prompt was computed once.
    private var decodes: Set<Int> = []
    /// Requests that came to their end, in the order in which they did.
    var ended: [Int] = []

    mutating func admit() -> [Int] {
        let prefixes = prefixes
        let back = scheduler.grow()
        putBack += back
        // Behind a prompt that is computed for the first time, too, a token is chosen, which no answer here counts.
        again.formUnion(back.filter { decodes.contains($0) })
        return scheduler.admit(isReady: { _ in true }, prefix: { prefixes[$0] ?? [] })
    }

    /// Computes a step and removes what has ended.
    @discardableResult
    mutating func step() -> Scheduler.Step {
        let step = scheduler.next()
        scheduler.advance(step)
        for chunk in step.chunks { computed[chunk.id, default: 0] += chunk.rows.count }
        decodes.formUnion(scheduler.next().decoding)
        let complete = again.intersection(scheduler.next().decoding)
        again.subtract(complete)
        for id in step.decoding + complete.sorted() {
            answers[id, default: 0] -= 1
            if answers[id] == 0 {
                scheduler.remove(id)
                ended.append(id)
            }
        }
        return step
    }
}

@Suite("The scheduler")
struct SchedulerTests {
    @Test("refuses what can never fit, and what the queue has no place for, with figures")
    func refusals() throws {
        var drive = Drive(blocks: 8) { $0.waiting = 2 }
        #expect(throws: Scheduler.Refusal.neverFits(blocks: 9, of: 8)) {
            try drive.scheduler.submit(.init(id: 1, promptRows: 10, blocks: 9))
        }
        try drive.submit(.init(id: 2, promptRows: 10, blocks: 8))
        try drive.submit(.init(id: 3, promptRows: 10, blocks: 8))
        #expect(throws: Scheduler.Refusal.queueFull(2)) {
            try drive.scheduler.submit(.init(id: 4, promptRows: 10, blocks: 1))
        }
    }

    @Test(
        "lets begin what fits, in the order of priority and arrival",
        arguments: [
            // Blocks of requests 1…, their priorities, and which of eight blocks' worth begin.
            ([4, 4, 1], [0, 0, 0], [1, 2]),
            ([4, 4, 1], [0, 0, 1], [3, 1]),
            ([4, 4, 4], [0, 1, 2], [3, 2]),
            ([8, 1, 1], [0, 0, 0], [1]),
            ([5, 5, 2], [0, 0, 0], [1, 3]),
            ([1, 1, 1], [5, 5, 5], [1, 2, 3]),
        ]
    )
    func admission(blocks: [Int], priorities: [Int], wanted: [Int]) throws {
        var drive = Drive(blocks: 8)
        for (index, count) in blocks.enumerated() {
            try drive.submit(
                .init(id: index + 1, priority: priorities[index], promptRows: 64 * count - 1, blocks: count)
            )
        }
        #expect(drive.admit() == wanted)
        #expect(drive.scheduler.reservedBlocks <= 8)
    }

    @Test("makes a large request wait only for a while when smaller ones could always go first")
    func overtaking() throws {
        var drive = Drive(blocks: 8) { $0.overtaking = 3 }
        try drive.submit(.init(id: 1, promptRows: 127, blocks: 2), answer: 1000)
        _ = drive.admit()
        try drive.submit(.init(id: 2, promptRows: 511, blocks: 8))
        var begun = 0
        for id in 3..<20 {
            try drive.submit(.init(id: id, promptRows: 1, blocks: 1))
            begun += drive.admit().count
            drive.step()
            drive.step()
        }
        #expect(begun == 3)
        drive.scheduler.remove(1)
        #expect(drive.admit() == [2])
    }

    @Test("counts a shared block once, and frees it with the last request that reads it")
    func sharing() throws {
        var drive = Drive(blocks: 8)
        drive.prefixes = [1: [70, 71, 72], 2: [70, 71, 72], 3: [70]]
        for id in 1...3 { try drive.submit(.init(id: id, promptRows: 300, blocks: 5)) }
        // 2 of its own and 3 shared; then 2 more; then 4 more, which do not fit.
        #expect(drive.admit() == [1, 2])
        #expect(drive.scheduler.reservedBlocks == 7)
        drive.scheduler.remove(1)
        #expect(drive.scheduler.reservedBlocks == 5)
        #expect(drive.admit() == [])
        drive.scheduler.remove(2)
        #expect(drive.scheduler.reservedBlocks == 0)
        #expect(drive.admit() == [3])
        // What is shared is not computed again.
        #expect(drive.scheduler.next().chunks.first?.rows.lowerBound == 64)
    }

    @Test(
        "divides a step's rows: a token for each answer, one half in order, one half to the shortest rest",
        arguments: [
            // Rows of the prompts, rows of the first step.
            ([100], [64]), ([10], [10]), ([100, 100], [64, 0]), ([100, 10], [54, 10]),
            ([200, 100, 20], [64, 44, 20]), ([10, 200], [10, 54]), ([30, 40], [30, 34]),
        ]
    )
    func shares(prompts: [Int], wanted: [Int]) throws {
        var drive = Drive(blocks: 64) { $0.rows = 64 }
        for (index, rows) in prompts.enumerated() {
            try drive.submit(.init(id: index, promptRows: rows, blocks: 4))
        }
        _ = drive.admit()
        let step = drive.scheduler.next()
        let found = prompts.indices.map { id in step.chunks.first { $0.id == id }?.rows.count ?? 0 }
        #expect(found == wanted)
    }

    @Test(
        "takes more rows the more prompts wait, up to four times as many",
        arguments: [(1, 64), (2, 64), (3, 128), (4, 128), (5, 192), (7, 256), (20, 256)]
    )
    func crowding(prompts: Int, wanted: Int) throws {
        var drive = Drive(blocks: 200) { $0.rows = 64 }
        for id in 0..<prompts { try drive.submit(.init(id: id, promptRows: 400, blocks: 7)) }
        _ = drive.admit()
        #expect(drive.scheduler.next().rows == wanted)
    }

    @Test(
        "finishes a short request within two steps while a long prompt is computed, which goes on all the time"
    )
    func fairness() throws {
        var drive = Drive(blocks: 1000) { $0.rows = 64 }
        try drive.submit(.init(id: 0, promptRows: 4096, blocks: 65))
        _ = drive.admit()
        for id in 1...40 {
            try drive.submit(.init(id: id, promptRows: 30, blocks: 1))
            _ = drive.admit()
            let before = drive.computed[0] ?? 0
            drive.step()
            drive.step()
            #expect(drive.answers[id] == 0)
            #expect(drive.computed[0, default: 0] - before >= 60)
        }
    }

    @Test("lets copies of a request wait until its prompt is computed, and no longer than it lives")
    func followers() throws {
        var drive = Drive(blocks: 64) { $0.rows = 64 }
        try drive.submit(.init(id: 1, promptRows: 100, blocks: 3), answer: 5)
        try drive.submit(.init(id: 2, promptRows: 100, blocks: 3, after: 1))
        try drive.submit(.init(id: 3, promptRows: 100, blocks: 3, after: 99))
        #expect(drive.admit() == [1, 3])
        drive.scheduler.remove(3)
        drive.step()
        #expect(drive.admit() == [])
        drive.step()
        #expect(drive.admit() == [2])
    }

    @Test(
        "lets many long answers begin at once, and puts back the last one when blocks run out, never the first"
    )
    func preemption() throws {
        var drive = Drive(blocks: 8)
        // Each may come to 8 blocks; all four begin, since each has one and may soon want another.
        for id in 1...4 { try drive.submit(.init(id: id, promptRows: 60, blocks: 8), answer: 400) }
        #expect(drive.admit() == [1, 2, 3, 4])
        var steps = 0
        while !drive.scheduler.isIdle, steps < 4000 {
            drive.step()
            _ = drive.admit()
            #expect(drive.scheduler.reservedBlocks <= 8)
            steps += 1
        }
        #expect(drive.ended == [1, 2, 3, 4])
        #expect(drive.putBack.first == 4 && !drive.putBack.contains(1))
        // Together they take fewer steps than one after the other.
        #expect(steps < 4 * 400)
    }

    @Test("puts back the less urgent before those that came later, and lets urgent ones begin again first")
    func preemptionByPriority() throws {
        var drive = Drive(blocks: 4)
        try drive.submit(.init(id: 1, priority: 0, promptRows: 60, blocks: 4), answer: 150)
        try drive.submit(.init(id: 2, priority: 1, promptRows: 60, blocks: 4), answer: 150)
        #expect(Set(drive.admit()) == [1, 2])
        var steps = 0
        while !drive.scheduler.isIdle, steps < 2000 {
            drive.step()
            _ = drive.admit()
            steps += 1
        }
        #expect(drive.ended == [2, 1])
        #expect(Set(drive.putBack) == [1])
    }

    /// Any order of events; a failing seed is in the test's name.
    @Test("keeps its promises in any order of arrivals, ends and cancellations", arguments: 0..<300)
    func simulation(seed: Int) throws {
        var random = SplitMix(seed: UInt64(seed))
        let limit = 4 + random.below(40)
        var drive = Drive(blocks: limit) {
            $0.rows = 1 + random.below(100)
            $0.running = 1 + random.below(12)
            $0.waiting = 1 + random.below(20)
        }
        var alive: Set<Int> = []
        /// Positions that a request holds.
        var positions: [Int: Int] = [:]
        var jobs: [Int: Scheduler.Job] = [:]
        var id = 0
        func turn(_ drive: inout Drive) {
            let known = drive.putBack.count
            let senior = drive.scheduler.runningIDs.min {
                (-(jobs[$0]?.priority ?? 0), $0) < (-(jobs[$1]?.priority ?? 0), $1)
            }
            for admitted in drive.admit() { positions[admitted] = nil }
            for gone in drive.putBack[known...] {
                positions[gone] = nil
                #expect(gone != senior)
            }
            let running = Set(drive.scheduler.runningIDs)
            let step = drive.scheduler.next()
            for chunk in step.chunks {
                // Without gaps, from what it shares on.
                if let done = positions[chunk.id] { #expect(chunk.rows.lowerBound == done) }
                positions[chunk.id] = chunk.rows.upperBound
            }
            for id in step.decoding { positions[id, default: 0] += 1 }
            for id in step.decoding + step.chunks.map(\.id) {
                #expect(positions[id, default: 0] <= 64 * (drive.scheduler.blocks(of: id) ?? 0))
            }
            drive.step()
            #expect(drive.scheduler.reservedBlocks <= limit)
            #expect(step.isEmpty == running.isEmpty)
            let touched = step.decoding + step.chunks.map(\.id)
            #expect(Set(touched).count == touched.count && running.isSuperset(of: touched))
            alive.subtract(drive.ended)
            #expect(Set(drive.scheduler.runningIDs + drive.scheduler.waitingIDs) == alive)
        }
        for _ in 0..<150 {
            if random.below(3) > 0 {
                id += 1
                let rows = 1 + random.below(400)
                let answer = 1 + random.below(300)
                let blocks = (rows + answer + 63) / 64
                let job = Scheduler.Job(id: id, priority: random.below(3), promptRows: rows, blocks: blocks)
                if random.below(2) == 0 {
                    drive.prefixes[id] = Array((0..<random.below(1 + (rows - 1) / 64)).map { $0 + 1 })
                }
                jobs[id] = job
                if (try? drive.submit(job, answer: answer)) != nil { alive.insert(id) }
            }
            if random.below(5) == 0, let gone = alive.min() {
                drive.scheduler.remove(gone)
                alive.remove(gone)
            }
            turn(&drive)
        }
        // Whatever is left comes to its end.
        var steps = 0
        while !drive.scheduler.isIdle, steps < 40_000 {
            turn(&drive)
            steps += 1
        }
        #expect(drive.scheduler.isIdle && drive.scheduler.reservedBlocks == 0)
    }
}

/// Random numbers that are the same each time.
private struct SplitMix {
    var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1 }

    mutating func below(_ limit: Int) -> Int {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return Int((word ^ word >> 31) % UInt64(max(1, limit)))
    }
}

@Suite("SHA-256")
struct SHA256Tests {
    @Test("gives the standard's digests, however the text is cut")
    func vectors() {
        func hex(_ digest: SHA256.Digest) -> String {
            digest.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        #expect(
            hex(SHA256.digest([])) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
        #expect(
            hex(SHA256.digest("abc".utf8))
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        let million = [UInt8](repeating: 0x61, count: 1_000_000)
        let wanted = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        #expect(hex(SHA256.digest(million)) == wanted)
        var hash = SHA256()
        var start = 0
        var size = 1
        while start < million.count {
            let end = min(million.count, start + size)
            hash.update(Array(million[start..<end]))
            start = end
            size = size * 3 % 1009 + 1
        }
        #expect(hex(hash.finish()) == wanted)
    }
}
