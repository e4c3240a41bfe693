import VLTensor

/// Which elements of a head are rotated together.
package enum RotaryLayout: Sendable, Equatable {
    /// (x[i], x[i + size / 2]), as Hugging Face checkpoints have it.
    case halves
    /// (x[0], x[1]), (x[2], x[3])…, as the rows of Llama's own and of llama.cpp's checkpoints lie.
    case pairs
}

/// Llama's attention: whole keys and values are cached, several query heads may share them.
///
/// `self_attn` with `q_proj`, `k_proj`, `v_proj`, `o_proj`; class `LlamaAttention` of transformers, which DeepSeek-V2
/// uses where `use_mla` is false.
package struct GroupedAttention: Sendable {
    let query: Linear
    let key: Linear
    let value: Linear
    let output: Linear
    let shape: AttentionShape
    let rotary: Rotary
    let layout: RotaryLayout

    init(
        heads: Int,
        keyValueHeads: Int,
        headSize: Int,
        hiddenSize: Int,
        bias: Bool,
        _ rotary: Rotary,
        layout: RotaryLayout = .halves,
        _ weights: Weights
    ) throws(LoadError) {
        query = try weights["q_proj"].linear(hiddenSize, heads * headSize, bias: bias)
        key = try weights["k_proj"].linear(hiddenSize, keyValueHeads * headSize, bias: bias)
        value = try weights["v_proj"].linear(hiddenSize, keyValueHeads * headSize, bias: bias)
        output = try weights["o_proj"].linear(heads * headSize, hiddenSize, bias: bias)
        shape = AttentionShape(
            heads: heads,
            keyValueHeads: keyValueHeads,
            keySize: headSize,
            valueSize: headSize,
            scale: 1 / Float(headSize).squareRoot()
        )
        self.rotary = rotary
        self.layout = layout
    }

    /// Attends from `x`, [rows, hidden], to what the segments' caches hold and to the rows themselves.
    func callAsFunction(
        _ x: Matrix,
        _ batch: Batch,
        layer: Int,
        _ positions: UnsafeBufferPointer<Int32>,
        _ run: Run
    ) -> Matrix {
        let head = shape.keySize
        let width = shape.keyValueHeads * head
        let input = run.activations(x)
        let q = run.workspace.matrix(x.rows, shape.heads * head)
        let keysValues = run.workspace.matrix(x.rows, 2 * width) // key heads | value heads
        var list = run.products(3)
        run.append(input, query, to: q, &list)
        run.append(input, key, to: keysValues[columns: 0..<width], &list)
        run.append(input, value, to: keysValues[columns: width..<2 * width], &list)
        run.perform(list)
        let angles = rotary.angles(positions, run)
        if layout == .pairs {
            // Queries and keys are permuted alike, which their products do not notice.
            run.deinterleave(q, heads: shape.heads, stride: head, offset: 0, size: head)
            run.deinterleave(keysValues, heads: shape.keyValueHeads, stride: head, offset: 0, size: head)
        }
        run.rotate(q, heads: shape.heads, stride: head, offset: 0, size: head, angles)
        run.rotate(keysValues, heads: shape.keyValueHeads, stride: head, offset: 0, size: head, angles)

        let mixed = run.workspace.matrix(x.rows, shape.heads * head)
        var attention = run.attentionList(batch.segments.count)
        for segment in batch.segments {
            segment.cache.write(
                keysValues[rows: segment.rows],
                layer: layer,
                firstPosition: segment.firstPosition,
                offset: 0,
                run
            )
            let view = segment.cache.view(
                layer: layer,
                count: segment.firstPosition + segment.rows.count,
                keys: 0,
                values: width,
                keyHeadStride: head,
                valueHeadStride: head
            )
            attention.append(
                q[rows: segment.rows],
                view,
                shape,
                firstPosition: segment.firstPosition,
                to: mixed[rows: segment.rows]
            )
        }
        run.perform(attention)
        return run.linear(mixed, output)
    }
}
