import CVLKernels

/// Places that attend to each other: some grids of equal size, with some heads.
package struct AttentionGrid: Sendable {
    package var count: Int
    package var height: Int
    package var width: Int
    package var heads: Int

    package init(count: Int, height: Int, width: Int, heads: Int) {
        self.count = count
        self.height = height
        self.width = width
        self.heads = heads
    }

    /// Places of one grid.
    package var places: Int { height * width }
}

extension Run {
    /// Queries that are attended together: what of the scores exists at a time, for each thread.
    private static var gridTile: Int { 32 }

    /// Softmax attention within each grid, a score gaining the query's products with the distance of rows and of columns
    /// (decomposed relative positions, arXiv:2112.01526).
    ///
    /// Everything is float32, unless `type` allows dense attention in bfloat16. A row's result depends neither on the
    /// tile it is in nor on the threads.
    /// - Parameters:
    ///   - type: of the weights that made `fused`.
    ///   - fused: [count * places, query | key | value], heads side by side in each.
    ///   - rowTable: a vector for each distance of rows from 1 - height to height - 1, [2 * height - 1, head].
    ///   - columnTable: the same for columns.
    ///   - out: [count * places, heads * head].
    package func attend(
        _ fused: Matrix,
        _ grid: AttentionGrid,
        rows rowTable: WeightVector,
        columns columnTable: WeightVector,
        type: DType,
        to out: Matrix
    ) {
        let size = out.columns
        let head = size / grid.heads
        precondition(
            fused.columns == 3 * size && fused.rows == grid.count * grid.places && out.rows == fused.rows
                && rowTable.count == (2 * grid.height - 1) * head
                && columnTable.count == (2 * grid.width - 1) * head,
            "attention over \(grid)"
        )
        if hasDenseAttention(for: type) {
            attendDense(
                fused,
                count: grid.count,
                heads: grid.heads,
                scale: 1 / Float(head).squareRoot(),
                distances: GridDistances(
                    height: grid.height,
                    width: grid.width,
                    rows: rowTable,
                    columns: columnTable
                ),
                to: out
            )
            return
        }
        scoped {
            let tile = min(Self.gridTile, grid.places)
            let tiles = (grid.places + tile - 1) / tile
            let scratches = (0..<pool.threads).map { _ in
                GridScratch(grid, tile: tile, head: head, workspace)
            }
            let heads = grid.count * grid.heads
            // Rows of keys are kept from falling into the same lines of the cache, as powers of two apart would.
            let keys = workspace.matrix(heads * head, grid.places + 16)
            let values = workspace.matrix(heads * grid.places, head)
            pool.parallel(heads) { index in
                let rows = index / grid.heads * grid.places..<(index / grid.heads + 1) * grid.places
                let column = size + index % grid.heads * head
                arrange(
                    fused[rows: rows][columns: column..<column + head],
                    fused[rows: rows][columns: size + column..<size + column + head],
                    keys[rows: index * head..<(index + 1) * head],
                    values[rows: index * grid.places..<(index + 1) * grid.places]
                )
            }
            pool.parallelByWorker(heads * tiles) { unit, worker in
                let index = unit / tiles
                let column = index % grid.heads * head
                let top = index / grid.heads * grid.places
                let first = unit % tiles * tile
                let places = first..<min(first + tile, grid.places)
                let rows = top + places.lowerBound..<top + places.upperBound
                attendTile(
                    fused[rows: rows][columns: column..<column + head],
                    keys[rows: index * head..<(index + 1) * head][columns: 0..<grid.places],
                    values[rows: index * grid.places..<(index + 1) * grid.places],
                    first: first,
                    grid,
                    (rows: rowTable, columns: columnTable),
                    scratches[worker],
                    to: out[rows: rows][columns: column..<column + head]
                )
            }
        }
    }

    /// Copies one head's keys, place after place in each row, and its values, so that tiles read both in a line.
    private func arrange(_ key: Matrix, _ value: Matrix, _ keys: Matrix, _ values: Matrix) {
        for place in 0..<key.rows {
            let source = key[row: place]
            for index in 0..<key.columns { keys[row: index][place] = source[index] }
            values[row: place].update(from: value[row: place], count: value.columns)
        }
    }

    /// One head's attention of some places of one grid, from `first` on.
    ///
    /// - Parameters:
    ///   - keys: [head, places].
    ///   - values: [places, head].
    private func attendTile(
        _ queries: Matrix,
        _ keys: Matrix,
        _ values: Matrix,
        first: Int,
        _ grid: AttentionGrid,
        _ tables: (rows: WeightVector, columns: WeightVector),
        _ scratch: GridScratch,
        to out: Matrix
    ) {
        let kernels = kernels.pointee
        let head = queries.columns
        let scaled = scratch.queries[rows: 0..<queries.rows]
        let scale = 1 / Float(head).squareRoot()
        for row in 0..<queries.rows {
            for index in 0..<head { scaled[row: row][index] = queries[row: row][index] * scale }
        }
        // The unscaled query meets the distances, the scaled one the keys.
        let byRow = scratch.byRow[rows: 0..<queries.rows]
        let byColumn = scratch.byColumn[rows: 0..<queries.rows]
        let scores = scratch.scores[rows: 0..<queries.rows]
        multiply(
            queries,
            Matrix(table: tables.rows, rows: 2 * grid.height - 1, columns: head),
            kernels.nt_f32_f32,
            to: byRow
        )
        multiply(
            queries,
            Matrix(table: tables.columns, rows: 2 * grid.width - 1, columns: head),
            kernels.nt_f32_f32,
            to: byColumn
        )
        multiply(scaled, keys, kernels.nn_f32_f32, to: scores)
        for row in 0..<queries.rows {
            let place = first + row
            let line = scores[row: row]
            for x in 0..<grid.width {
                scratch.line[x] = byColumn[row: row][place % grid.width + grid.width - 1 - x]
            }
            for y in 0..<grid.height {
                let part = line + y * grid.width
                let added = byRow[row: row][place / grid.width + grid.height - 1 - y]
                kernels.add_scaled(part, scratch.ones, added, Int64(grid.width))
                kernels.add(part, scratch.line, Int64(grid.width))
            }
            kernels.add_scaled(line, scratch.ones, -maximum(line, count: grid.places), Int64(grid.places))
            kernels.exponential(line, line, Int64(grid.places))
            scratch.sums[row] = sum(line, count: grid.places)
        }
        multiply(scores, values, kernels.nn_f32_f32, to: out)
        for row in 0..<queries.rows {
            let factor = 1 / scratch.sums[row]
            for index in 0..<head { out[row: row][index] *= factor }
        }
    }

    /// A product on this thread, B being a float32 matrix as the kernel takes it.
    private func multiply(_ a: Matrix, _ b: Matrix, _ kernel: vl_product_fn, to out: Matrix) {
        var product = vl_product(
            a: UnsafeRawPointer(a.pointer),
            a_stride: Int64(a.stride),
            b: UnsafeRawPointer(b.pointer),
            b_stride: Int64(b.stride),
            c: out.pointer,
            c_stride: Int64(out.stride),
            bias: nil,
            rows: Int64(a.rows),
            columns: Int64(out.columns),
            depth: Int64(a.columns),
            accumulate: 0,
            ahead: 0
        )
        kernel(&product, 0, Int64(out.columns))
    }
}

/// Scratch memory of one thread.
private struct GridScratch {
    let queries: Matrix
    let byRow: Matrix
    let byColumn: Matrix
    let scores: Matrix
    let line: UnsafeMutablePointer<Float>
    let ones: UnsafeMutablePointer<Float>
    let sums: UnsafeMutablePointer<Float>

    init(_ grid: AttentionGrid, tile: Int, head: Int, _ workspace: Workspace) {
        queries = workspace.matrix(tile, head)
        byRow = workspace.matrix(tile, 2 * grid.height - 1)
        byColumn = workspace.matrix(tile, 2 * grid.width - 1)
        scores = workspace.matrix(tile, grid.places)
        line = workspace.allocate(Float.self, grid.width)
        ones = workspace.allocate(Float.self, grid.places)
        ones.update(repeating: 1, count: grid.places)
        sums = workspace.allocate(Float.self, tile)
    }
}
