/// Decides which requests run and what each step computes: no clock, no memory, no threads.
///
/// A request begins when the blocks of its prompt fit, and gets one more whenever its answer needs it. When none is left,
/// the request that came last among the least urgent goes back to the queue, to compute its positions again later: the
/// request that came first among the most urgent is never put back and could have all blocks, so that it ends, and then
/// the next one does. What a request shares with others of its prefix is counted once.
package struct Scheduler: Sendable {
    /// What bounds the work.
    package struct Limits: Sendable, Equatable {
        /// Cache blocks of all requests together.
        package var blocks: Int
        /// Positions of a block.
        package var blockPositions = 64
        /// Rows of a step: tokens of all its chunks and answers.
        package var rows = 128
        /// How many times as many a step may have when many prompts wait: answers then flow less evenly, but those who
        /// have heard nothing yet are more, and large steps are faster.
        package var crowding = 4
        /// Requests that run at the same time.
        package var running = 64
        /// Requests that wait.
        package var waiting = 256
        /// How often requests behind one that does not fit yet may go first, before all wait for it.
        package var overtaking = 16
        /// Blocks that are left free at an admission for each request that runs and may still grow, so that few are put
        /// back.
        package var headroom = 1

        package init(blocks: Int) { self.blocks = blocks }
    }

    /// A request as the scheduler sees it.
    package struct Job: Sendable, Equatable {
        package var id: Int
        /// Greater goes first.
        package var priority = 0
        /// Rows of the prompt; and of what was answered already, for one that was put back.
        package var promptRows: Int
        /// Blocks of the prompt and the longest answer: what it may ever have.
        package var blocks: Int
        /// A request with the same prompt, whose prompt is computed first so that this one shares it.
        package var after: Int?

        package init(id: Int, priority: Int = 0, promptRows: Int, blocks: Int, after: Int? = nil) {
            self.id = id
            self.priority = priority
            self.promptRows = promptRows
            self.blocks = blocks
            self.after = after
        }
    }

    /// Why a request is not taken.
    package enum Refusal: Error, Equatable, Sendable {
        /// It needs more blocks than there are.
        case neverFits(blocks: Int, of: Int)
        case queueFull(Int)
    }

    /// Rows of one request's prompt in a step.
    package struct Chunk: Sendable, Equatable {
        package let id: Int
        package let rows: Range<Int>

        package init(id: Int, rows: Range<Int>) {
            self.id = id
            self.rows = rows
        }
    }

    /// What a step computes.
    package struct Step: Sendable, Equatable {
        /// Parts of prompts.
        package var chunks: [Chunk] = []
        /// Requests that get a token more.
        package var decoding: [Int] = []

        package var isEmpty: Bool { chunks.isEmpty && decoding.isEmpty }
        /// Rows in all.
        package var rows: Int { decoding.count + chunks.reduce(0) { $0 + $1.rows.count } }
    }

    private struct Waiting: Sendable {
        var job: Job
        var order: Int
        var overtaken = 0
    }

    private struct Running: Sendable {
        let job: Job
        let order: Int
        /// Rows of the prompt that were computed.
        var done: Int
        /// Rows behind the prompt that were computed.
        var decoded = 0
        /// Blocks that are its own.
        var own: Int
        let shared: [Int]
        /// Whether its pictures are ready, or it has none.
        var isReady: Bool

        var isDecoding: Bool { done >= job.promptRows }
        /// Whether it may get more blocks than it has.
        var mayGrow: Bool { own + shared.count < job.blocks }
    }

    package let limits: Limits
    private var waiting: [Waiting] = []
    private var running: [Running] = []
    /// How many running requests share a block of a prefix, by the block's number.
    private var pins: [Int: Int] = [:]
    private var orders = 0

    package init(_ limits: Limits) { self.limits = limits }

    /// Requests that wait.
    package var waitingCount: Int { waiting.count }
    /// Requests that run.
    package var runningCount: Int { running.count }
    /// Blocks that running requests have, or have been promised for their prompts.
    package var reservedBlocks: Int { running.reduce(0) { $0 + $1.own } + pins.count }
    /// Blocks that a running request has; nil for one that does not run.
    package func blocks(of id: Int) -> Int? {
        running.first { $0.job.id == id }.map { $0.own + $0.shared.count }
    }
    /// Running requests in the order in which they came.
    package var runningIDs: [Int] { running.map(\.job.id) }
    /// Waiting requests in the order in which they go.
    package var waitingIDs: [Int] { waiting.map(\.job.id) }
    /// Whether there is anything to do.
    package var isIdle: Bool { waiting.isEmpty && running.isEmpty }

    // MARK: Coming and going

    /// Takes a request into the queue: behind those of its priority, before those of lower ones.
    ///
    /// - Throws: `Refusal`.
    package mutating func submit(_ job: Job) throws(Refusal) {
        guard job.blocks <= limits.blocks else { throw .neverFits(blocks: job.blocks, of: limits.blocks) }
        guard waiting.count < limits.waiting else { throw .queueFull(limits.waiting) }
        orders += 1
        let place = waiting.firstIndex { $0.job.priority < job.priority } ?? waiting.count
        waiting.insert(Waiting(job: job, order: orders), at: place)
    }

    /// Lets requests begin for which there is room, and says which.
    ///
    /// Smaller ones may overtake a large one that does not fit yet, but not for ever.
    /// - Parameters:
    ///   - isReady: whether a request needs no pictures first.
    ///   - prefix: the numbers of the blocks that a request's prompt begins with and that are there already.
    package mutating func admit(isReady: (Int) -> Bool, prefix: (Int) -> [Int]) -> [Int] {
        var admitted: [Int] = []
        var index = 0
        while index < waiting.count, running.count < limits.running {
            let job = waiting[index].job
            if let leader = job.after, isBefore(leader) {
                index += 1
                continue
            }
            let shared = prefix(job.id)
            precondition(shared.count < max(1, job.blocks), "a prefix that is the whole request")
            let first = blocks(job, job.promptRows + 1)
            let room = running.isEmpty ? 0 : min(limits.headroom, job.blocks - first) + headroom
            let new = first - shared.count + shared.count { pins[$0] == nil }
            if reservedBlocks + new + room > limits.blocks {
                if waiting[index].overtaken >= limits.overtaking { break }
                index += 1
                continue
            }
            for earlier in 0..<index { waiting[earlier].overtaken += 1 }
            let entry = waiting.remove(at: index)
            for block in shared { pins[block, default: 0] += 1 }
            let place = running.firstIndex { $0.order > entry.order } ?? running.count
            running.insert(
                Running(
                    job: job,
                    order: entry.order,
                    done: min(shared.count * limits.blockPositions, job.promptRows - 1),
                    own: first - shared.count,
                    shared: shared,
                    isReady: isReady(job.id)
                ),
                at: place
            )
            admitted.append(job.id)
        }
        return admitted
    }

    /// Blocks of so many positions of a request.
    private func blocks(_ job: Job, _ positions: Int) -> Int {
        min(job.blocks, (positions + limits.blockPositions - 1) / limits.blockPositions)
    }

    /// Blocks that are kept free for those that run.
    private var headroom: Int { running.reduce(0) { $0 + ($1.mayGrow ? limits.headroom : 0) } }

    /// Gives every answer the block that its next position needs, those that go first before others.
    ///
    /// - Returns: requests that had to go back to the queue for it; their blocks are free, and their rows are computed
    ///   again when they begin again.
    package mutating func grow() -> [Int] {
        var putBack: [Int] = []
        for id in bySeniority {
            guard let run = running.first(where: { $0.job.id == id }), run.isDecoding else { continue }
            let needed = blocks(run.job, run.done + run.decoded + 1) - run.shared.count
            guard needed > run.own else { continue }
            var isHere = true
            while isHere, reservedBlocks + needed - run.own > limits.blocks, let last = bySeniority.last {
                returnToQueue(last)
                putBack.append(last)
                isHere = last != id
            }
            if let index = running.firstIndex(where: { $0.job.id == id }) { running[index].own = needed }
        }
        return putBack
    }

    /// Running requests: the more urgent first, then in the order in which they came.
    private var bySeniority: [Int] {
        running.sorted { ($0.job.priority, $1.order) > ($1.job.priority, $0.order) }.map(\.job.id)
    }

    /// Puts a running request back to its place in the queue, before those that came later.
    private mutating func returnToQueue(_ id: Int) {
        guard let run = running.first(where: { $0.job.id == id }) else { return }
        remove(id)
        var job = run.job
        // A token is chosen behind the prompt and behind each row since.
        if run.isDecoding { job.promptRows += run.decoded + 1 }
        let place =
            waiting.firstIndex {
                ($0.job.priority, run.order) < (job.priority, $0.order)
            } ?? waiting.count
        waiting.insert(Waiting(job: job, order: run.order), at: place)
    }

    /// Whether a request has not computed its prompt yet.
    private func isBefore(_ leader: Int) -> Bool {
        if let run = running.first(where: { $0.job.id == leader }) { return run.done < run.job.promptRows }
        return waiting.contains { $0.job.id == leader }
    }

    /// Says that a request's pictures are ready.
    package mutating func setReady(_ id: Int) {
        if let index = running.firstIndex(where: { $0.job.id == id }) { running[index].isReady = true }
    }

    /// Requests whose pictures are wanted: the more urgent first, then in the order in which they came.
    package var idsForPictures: [Int] {
        running.filter { !$0.isReady }.sorted { ($0.job.priority, $1.order) > ($1.job.priority, $0.order) }
            .map(\.job.id)
    }

    /// Forgets a request, wherever it is; its blocks are free.
    package mutating func remove(_ id: Int) {
        waiting.removeAll { $0.job.id == id }
        guard let index = running.firstIndex(where: { $0.job.id == id }) else { return }
        for block in running.remove(at: index).shared {
            guard let count = pins[block] else { continue }
            pins[block] = count > 1 ? count - 1 : nil
        }
    }

    // MARK: Steps

    /// The next step: a token for each request that answers, and parts of prompts.
    ///
    /// Of the rows that are left one half is for the prompts in their order and one half for the shortest rests, so that neither
    /// long nor short requests wait without end. Every two prompts let a step take the limit once more, up to
    /// `crowding` times.
    package func next() -> Step {
        var step = Step()
        step.decoding = running.filter(\.isDecoding).map(\.job.id)
        let prompts = running.filter { $0.isReady && $0.done < $0.job.promptRows }
            .sorted { ($0.job.priority, $1.order) > ($1.job.priority, $0.order) }
        guard !prompts.isEmpty else { return step }
        let most = limits.rows * min(limits.crowding, (prompts.count + 1) / 2)
        // However many answers there are, prompts go on.
        let rows = max(most - step.decoding.count, limits.rows / 4, 1)
        var given = [Int](repeating: 0, count: prompts.count)
        func give(_ index: Int, _ most: Int) -> Int {
            let rest = prompts[index].job.promptRows - prompts[index].done - given[index]
            let part = min(rest, most)
            given[index] += part
            return part
        }
        let top = prompts[0].job.priority
        var left = rows - give(0, prompts.count > 1 ? (rows + 1) / 2 : rows)
        func rest(_ index: Int) -> Int { prompts[index].job.promptRows - prompts[index].done }
        let shortest = prompts.indices.filter { prompts[$0].job.priority == top }
            .sorted { (rest($0), prompts[$0].order) < (rest($1), prompts[$1].order) }
        let others = prompts.indices.filter { prompts[$0].job.priority != top }
        for index in shortest + others where left > 0 { left -= give(index, left) }
        for (index, run) in prompts.enumerated() where given[index] > 0 {
            step.chunks.append(Chunk(id: run.job.id, rows: run.done..<run.done + given[index]))
        }
        return step
    }

    /// Notes that a step was computed.
    package mutating func advance(_ step: Step) {
        for chunk in step.chunks {
            if let index = running.firstIndex(where: { $0.job.id == chunk.id }) {
                running[index].done = chunk.rows.upperBound
            }
        }
        let decoding = Set(step.decoding)
        for index in running.indices where decoding.contains(running[index].job.id) {
            running[index].decoded += 1
        }
    }
}
