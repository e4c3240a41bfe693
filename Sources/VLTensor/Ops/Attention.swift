import CVLKernels

/// How heads lie in a row of queries, of outputs, and of a cached position.
package struct AttentionShape: Sendable {
    /// Query heads.
    package var heads: Int
    /// Key-value heads; a divisor of `heads`.
    package var keyValueHeads: Int
    /// Width of a query and of a key.
    package var keySize: Int
    /// Width of a value.
    package var valueSize: Int
    /// Multiplies each score.
    package var scale: Float

    package init(heads: Int, keyValueHeads: Int, keySize: Int, valueSize: Int, scale: Float) {
        precondition(keyValueHeads > 0 && heads % keyValueHeads == 0, "\(heads) heads over \(keyValueHeads)")
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.keySize = keySize
        self.valueSize = valueSize
        self.scale = scale
    }
}

/// Where keys and values of one sequence lie: blocks of 64 positions of `positionStride` elements each.
package struct KeyValueView {
    /// Start of each block.
    package var blocks: UnsafePointer<UnsafeRawPointer>
    package var type: DType
    /// Elements from a block's start to the first key and the first value.
    package var keyOffset: Int
    package var valueOffset: Int
    /// Elements from a head's key to the next head's, and for values.
    package var keyHeadStride: Int
    package var valueHeadStride: Int
    package var positionStride: Int
    /// Positions that hold a key.
    package var count: Int

    package init(
        blocks: UnsafePointer<UnsafeRawPointer>,
        type: DType,
        keyOffset: Int,
        valueOffset: Int,
        keyHeadStride: Int,
        valueHeadStride: Int,
        positionStride: Int,
        count: Int
    ) {
        self.blocks = blocks
        self.type = type
        self.keyOffset = keyOffset
        self.valueOffset = valueOffset
        self.keyHeadStride = keyHeadStride
        self.valueHeadStride = valueHeadStride
        self.positionStride = positionStride
        self.count = count
    }
}

/// Attention of several sequences in one parallel region.
///
/// Made by `Run.attentionList`, lives in the workspace.
package struct AttentionList {
    private let jobs: UnsafeMutablePointer<vl_attention_job>
    private let capacity: Int
    private let rounds: Bool
    private var count = 0

    fileprivate init(_ jobs: UnsafeMutablePointer<vl_attention_job>, capacity: Int, rounds: Bool) {
        self.jobs = jobs
        self.rounds = rounds
        self.capacity = capacity
    }

    /// Adds the rows of `q` ([tokens, heads * keySize]) to the list; the result goes to `out` ([tokens, heads *
    /// valueSize]).
    ///
    /// - Parameter firstPosition: position of the first row, if a row may see only itself and what came before; nil
    ///   lets every row see everything.
    package mutating func append(
        _ q: Matrix,
        _ cache: KeyValueView,
        _ shape: AttentionShape,
        firstPosition: Int?,
        to out: Matrix
    ) {
        precondition(count < capacity, "more sequences than the \(capacity) that were announced")
        precondition(
            q.columns == shape.heads * shape.keySize && out.columns == shape.heads * shape.valueSize,
            "head widths"
        )
        precondition(q.rows == out.rows && cache.count > 0, "rows")
        precondition(firstPosition.map { $0 + q.rows <= cache.count } ?? true, "a row after the last key")
        let group = shape.heads / shape.keyValueHeads
        let attention = vl_attention(
            q: UnsafePointer(q.pointer),
            q_token_stride: Int64(q.stride),
            q_head_stride: Int64(shape.keySize),
            out: out.pointer,
            out_token_stride: Int64(out.stride),
            out_head_stride: Int64(shape.valueSize),
            blocks: cache.blocks,
            k_offset: Int64(cache.keyOffset),
            v_offset: Int64(cache.valueOffset),
            position_stride: Int64(cache.positionStride),
            groups: Int64(shape.keyValueHeads),
            group_q_stride: Int64(group * shape.keySize),
            group_out_stride: Int64(group * shape.valueSize),
            group_k_stride: Int64(cache.keyHeadStride),
            group_v_stride: Int64(cache.valueHeadStride),
            qk_dim: Int64(shape.keySize),
            v_dim: Int64(shape.valueSize),
            key_count: Int64(cache.count),
            first_position: Int64(firstPosition ?? 0),
            causal: firstPosition == nil ? 0 : 1,
            type: Int32(cache.type.kernelType.rawValue),
            rounds: rounds ? 1 : 0,
            scale: shape.scale
        )
        jobs[count] = vl_attention_job(
            attention: attention,
            tokens: Int64(q.rows),
            heads: Int64(group),
            tile_tokens: 1,
            tile_heads: 1,
            tile_groups: 1,
            first_unit: 0
        )
        count += 1
    }

    fileprivate func run(on pool: ThreadPool, _ kernels: vl_kernels) {
        var list = vl_attention_jobs(jobs: jobs, count: Int64(count), attend: kernels.attend)
        withUnsafeMutablePointer(to: &list) { pointer in
            let units = vl_attention_plan(pointer, Int32(pool.threads))
            pool.run(Int(units), UnsafeMutableRawPointer(pointer), vl_attention_unit)
        }
    }
}

extension Run {
    /// Positions in a block of keys and values.
    package static var attentionBlock: Int { Int(VL_ATTENTION_BLOCK) }

    /// Whether attention over a cache in bfloat16 rounds queries and weights, and is faster for it.
    package var roundsAttention: Bool { compute == .auto && kernels.pointee.attend_rounds != 0 }

    /// An empty list for at most `capacity` sequences.
    package func attentionList(_ capacity: Int) -> AttentionList {
        AttentionList(
            workspace.allocate(vl_attention_job.self, capacity),
            capacity: capacity,
            rounds: compute == .auto
        )
    }

    /// Runs all attention of a list on all threads.
    package func perform(_ list: AttentionList) {
        list.run(on: pool, kernels.pointee)
    }

    /// Views keys and values that lie in one matrix, `keys` and `values` being column offsets: a vision tower's
    /// fused projection.
    package func contiguousView(
        _ matrix: Matrix,
        keys: Int,
        values: Int,
        keyHeadStride: Int,
        valueHeadStride: Int
    ) -> KeyValueView {
        let count = (matrix.rows + Self.attentionBlock - 1) / Self.attentionBlock
        let blocks = workspace.allocate(UnsafeRawPointer.self, count)
        for block in 0..<count {
            blocks[block] = UnsafeRawPointer(matrix[row: block * Self.attentionBlock])
        }
        return KeyValueView(
            blocks: blocks,
            type: .float32,
            keyOffset: keys,
            valueOffset: values,
            keyHeadStride: keyHeadStride,
            valueHeadStride: valueHeadStride,
            positionStride: matrix.stride,
            count: matrix.rows
        )
    }
}
