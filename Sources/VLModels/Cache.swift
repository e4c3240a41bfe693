import VLTensor

/// What a cached position takes: `width` elements a layer.
package struct CacheLayout: Sendable, Equatable {
    /// Layers of the language model.
    package var layers: Int
    /// Elements of a position in one layer: keys and values, or the latent and its rotated key.
    package var width: Int
    package var type: DType

    package init(layers: Int, width: Int, type: DType) {
        self.layers = layers
        self.width = width
        self.type = type
    }

    /// Bytes of one position over all layers.
    package var bytesPerToken: Int { layers * type.rowBytes(width) }
}

/// Keys and values of one sequence, in blocks of 64 positions over all layers.
///
/// Confined to the thread that runs the model.
package final class KVCache {
    package let layout: CacheLayout
    /// Positions that hold values.
    package private(set) var count = 0
    /// Positions for which there is memory.
    package private(set) var capacity = 0
    /// Positions of a block.
    package static var blockPositions: Int { Run.attentionBlock }
    /// Memory of the positions, in their order; those that another sequence filled are read only.
    package private(set) var blocks: [CacheBlock] = []
    private let pool: BlockPool?
    private let table: UnsafeMutablePointer<UnsafeRawPointer>
    private let maximumBlocks: Int

    /// - Parameters:
    ///   - maximum: the most positions that the sequence may ever have.
    ///   - pool: where blocks come from; nil for memory of its own.
    package init(_ layout: CacheLayout, maximum: Int, pool: BlockPool? = nil) {
        self.layout = layout
        self.pool = pool
        maximumBlocks = (maximum + Run.attentionBlock - 1) / Run.attentionBlock
        table = .allocate(capacity: max(1, maximumBlocks))
    }

    deinit {
        table.deallocate()
    }

    private var blockBytes: Int { layout.bytesPerToken * Run.attentionBlock }

    /// Gets memory for positions below `positions`, so that the token loop need not.
    package func reserve(_ positions: Int) {
        let needed = (positions + Run.attentionBlock - 1) / Run.attentionBlock
        precondition(
            needed <= maximumBlocks,
            "\(positions) positions in a cache for \(maximumBlocks * Run.attentionBlock)"
        )
        while blocks.count < needed {
            append(pool?.take() ?? CacheBlock(byteCount: blockBytes))
        }
        capacity = blocks.count * Run.attentionBlock
    }

    private func append(_ block: CacheBlock) {
        table[blocks.count] = UnsafeRawPointer(block.memory)
        blocks.append(block)
    }

    /// Begins with blocks that another sequence filled completely.
    package func adopt(_ filled: [CacheBlock]) {
        precondition(blocks.isEmpty && filled.count <= maximumBlocks, "blocks for a cache that has some")
        for block in filled { append(block) }
        count = blocks.count * Run.attentionBlock
        capacity = count
    }

    /// Counts `tokens` more positions as held; their values are written by `write` in each layer.
    package func advance(_ tokens: Int) {
        reserve(count + tokens)
        count += tokens
    }

    /// Forgets all positions from `position` on.
    package func truncate(to position: Int) {
        precondition(position <= count, "cutting \(count) positions at \(position)")
        count = position
    }

    /// Stores a layer's values for consecutive positions: rows of `source`, into the elements from `offset` on.
    package func write(_ source: Matrix, layer: Int, firstPosition: Int, offset: Int, _ run: Run) {
        precondition(
            offset + source.columns <= layout.width && firstPosition + source.rows <= capacity,
            "outside the cache"
        )
        for row in 0..<source.rows {
            let position = firstPosition + row
            let place = (layer * Run.attentionBlock + position % Run.attentionBlock) * layout.width + offset
            let target = blocks[position / Run.attentionBlock].memory + layout.type.rowBytes(place)
            run.store(source[row: row], count: source.columns, as: layout.type, into: target)
        }
    }

    /// A layer's keys and values as attention reads them; offsets count elements from a position's first.
    package func view(
        layer: Int,
        count: Int,
        keys: Int,
        values: Int,
        keyHeadStride: Int,
        valueHeadStride: Int
    ) -> KeyValueView {
        let base = layer * Run.attentionBlock * layout.width
        return KeyValueView(
            blocks: UnsafePointer(table),
            type: layout.type,
            keyOffset: base + keys,
            valueOffset: base + values,
            keyHeadStride: keyHeadStride,
            valueHeadStride: valueHeadStride,
            positionStride: layout.width,
            count: count
        )
    }
}

/// Consecutive rows of a step that belong to one sequence.
package struct Segment {
    /// Rows of the step's matrices.
    package let rows: Range<Int>
    package let cache: KVCache
    /// Position of the first row in its sequence.
    package let firstPosition: Int

    package init(rows: Range<Int>, cache: KVCache, firstPosition: Int) {
        self.rows = rows
        self.cache = cache
        self.firstPosition = firstPosition
    }
}

/// The rows of one forward pass: prefill chunks and single tokens of any number of sequences.
package struct Batch {
    package let segments: [Segment]
    /// All rows of all segments.
    package let rowCount: Int

    /// The segments cover the rows without gaps, in order.
    package init(_ segments: [Segment]) {
        self.segments = segments
        rowCount = segments.last?.rows.upperBound ?? 0
    }

    /// Position of each row, in the workspace.
    package func positions(_ run: Run) -> UnsafeBufferPointer<Int32> {
        let positions = run.workspace.allocate(Int32.self, rowCount)
        for segment in segments {
            for (offset, row) in segment.rows.enumerated() {
                positions[row] = Int32(segment.firstPosition + offset)
            }
        }
        return UnsafeBufferPointer(start: positions, count: rowCount)
    }
}
