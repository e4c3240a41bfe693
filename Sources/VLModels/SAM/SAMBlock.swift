import VLTensor

/// Self-attention of a SAM block with decomposed relative positions, over the whole map or within windows.
///
/// Class `Attention` of the official `sam.py`, with `window_partition` around it.
struct SAMAttention: Sendable {
    let projection: Linear
    let output: Linear
    /// Relative positions of rows and of columns, [2 * side - 1, head] each.
    let rows: WeightVector
    let columns: WeightVector
    let heads: Int
    /// Side of a window in places; nil attends to the whole map.
    let window: Int?

    /// - Parameter height: of what attends together, in places; `width` likewise.
    init(
        _ size: Int,
        heads: Int,
        height: Int,
        width: Int,
        window: Int?,
        _ weights: Weights
    ) throws(LoadError) {
        let head = size / heads
        projection = try weights["qkv"].linear(size, 3 * size, bias: true)
        output = try weights["proj"].linear(size, size, bias: true)
        rows = try weights.vector("rel_pos_h", (2 * height - 1) * head, shape: [2 * height - 1, head])
        columns = try weights.vector("rel_pos_w", (2 * width - 1) * head, shape: [2 * width - 1, head])
        self.heads = heads
        self.window = window
    }

    /// [height * width, size] to the same shape.
    func callAsFunction(_ x: Matrix, height: Int, width: Int, _ run: Run) -> Matrix {
        let fused = run.linear(x, projection) // [places, query | key | value]
        let mixed = run.workspace.matrix(x.rows, x.columns)
        if let window {
            attendInWindows(fused, window, height: height, width: width, to: mixed, run)
        } else {
            let grid = AttentionGrid(count: 1, height: height, width: width, heads: heads)
            run.attend(
                fused,
                grid,
                rows: rows,
                columns: columns,
                type: projection.weight.type,
                to: mixed
            )
        }
        return run.linear(mixed, output)
    }

    /// Places beyond the map's edge are zeros after the norm, so that their projection is its bias; they take part.
    private func attendInWindows(
        _ fused: Matrix,
        _ window: Int,
        height: Int,
        width: Int,
        to mixed: Matrix,
        _ run: Run
    ) {
        let across = (width + window - 1) / window
        let down = (height + window - 1) / window
        let places = window * window
        let parts = run.workspace.matrix(across * down * places, fused.columns)
        let attended = run.workspace.matrix(parts.rows, mixed.columns)
        func place(_ row: Int) -> Int? {
            let part = row / places
            let y = part / across * window + row % places / window
            let x = part % across * window + row % window
            return y < height && x < width ? y * width + x : nil
        }
        run.eachRow(parts.rows, parts.columns) { row in
            if let source = place(row) {
                parts[row: row].update(from: fused[row: source], count: fused.columns)
            } else if let bias = projection.bias {
                parts[row: row].update(from: bias.pointer, count: fused.columns)
            }
        }
        let grid = AttentionGrid(count: across * down, height: window, width: window, heads: heads)
        run.attend(
            parts,
            grid,
            rows: rows,
            columns: columns,
            type: projection.weight.type,
            to: attended
        )
        run.eachRow(parts.rows, mixed.columns) { row in
            guard let target = place(row) else { return }
            mixed[row: target].update(from: attended[row: row], count: mixed.columns)
        }
    }
}

/// One SAM encoder block: pre-norm attention, then a pre-norm MLP; class `Block` of the official `sam.py`.
package struct SAMBlock: Sendable {
    let norm1: LayerNorm
    let attention: SAMAttention
    let norm2: LayerNorm
    let mlp: FeedForward

    /// - Parameters:
    ///   - height: of the whole map in places; `width` likewise.
    ///   - window: side of a window; nil attends to the whole map.
    package init(
        _ size: Int,
        heads: Int,
        height: Int,
        width: Int,
        window: Int?,
        mlpRatio: Int = 4,
        epsilon: Float = 1e-6,
        _ weights: Weights
    ) throws(LoadError) {
        norm1 = try LayerNorm(size, epsilon, weights["norm1"])
        attention = try SAMAttention(
            size,
            heads: heads,
            height: window ?? height,
            width: window ?? width,
            window: window,
            weights["attn"]
        )
        norm2 = try LayerNorm(size, epsilon, weights["norm2"])
        mlp = try FeedForward(size, mlpRatio * size, .geluErf, names: ("lin1", "lin2"), weights["mlp"])
    }

    /// Whether the block attends to the whole map.
    var isGlobal: Bool { attention.window == nil }

    /// Updates `x`, [height * width, size], in place.
    package func callAsFunction(_ x: Matrix, height: Int, width: Int, _ run: Run) {
        run.scoped { run.add(attention(norm1(x, run), height: height, width: width, run), to: x) }
        run.scoped { run.add(mlp(norm2(x, run), run), to: x) }
    }
}
