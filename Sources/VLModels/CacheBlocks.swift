/// Memory of 64 positions of one sequence over all layers; several sequences may read the same one.
///
/// Goes back to its pool, or to the system, when nobody refers to it any more. Confined to the thread that runs the
/// model.
package final class CacheBlock {
    package let memory: UnsafeMutableRawPointer
    private let byteCount: Int
    private let pool: BlockPool?

    /// - Parameter pool: where the memory came from and goes back to; nil for the system.
    fileprivate init(_ memory: UnsafeMutableRawPointer, _ byteCount: Int, _ pool: BlockPool?) {
        self.memory = memory
        self.byteCount = byteCount
        self.pool = pool
    }

    /// A block of its own, outside any budget.
    package convenience init(byteCount: Int) {
        self.init(Self.allocate(byteCount), byteCount, nil)
        clear()
    }

    deinit {
        if let pool { pool.takeBack(memory) } else { memory.deallocate() }
    }

    fileprivate static func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        .allocate(byteCount: max(byteCount, 1), alignment: 64)
    }

    /// Hidden places of a block are multiplied by zero, so they must hold numbers; and nothing of another sequence
    /// stays behind.
    fileprivate func clear() { memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount) }
}

/// The blocks that all sequences of a server share: a fixed number, whose memory is taken when it is needed first.
///
/// Confined to the thread that runs the model.
package final class BlockPool {
    /// Bytes of a block.
    package let blockBytes: Int
    /// Most blocks that are ever given out at the same time.
    package let limit: Int
    /// Blocks that somebody holds.
    package private(set) var inUse = 0
    private var free: [UnsafeMutableRawPointer] = []
    /// Asked for a block when none is left; says whether it gave one back.
    package var onShortage: () -> Bool = { false }

    /// - Parameter budget: bytes of all blocks together; at least one block fits.
    package init(_ layout: CacheLayout, budget: Int) {
        blockBytes = layout.bytesPerToken * KVCache.blockPositions
        limit = max(1, budget / max(1, blockBytes))
    }

    deinit { for memory in free { memory.deallocate() } }

    /// An empty block.
    ///
    /// What asks makes sure before that there is one: a sequence is admitted only when its blocks fit.
    package func take() -> CacheBlock {
        while inUse >= limit {
            guard onShortage() else { preconditionFailure("more than \(limit) cache blocks in use") }
        }
        inUse += 1
        let block = CacheBlock(free.popLast() ?? CacheBlock.allocate(blockBytes), blockBytes, self)
        block.clear()
        return block
    }

    fileprivate func takeBack(_ memory: UnsafeMutableRawPointer) {
        inUse -= 1
        free.append(memory)
    }
}
