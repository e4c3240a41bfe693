import CVLKernels

/// Relative positions of a grid's places: a vector for each distance of rows and of columns, which the query meets.
package struct GridDistances {
    package var height: Int
    package var width: Int
    /// [2 * height - 1, head], from 1 - height on.
    package var rows: WeightVector
    /// [2 * width - 1, head].
    package var columns: WeightVector
}

extension Run {
    /// Whether attention after products with weights of this type may round to bfloat16: on the fast path, unless the
    /// weights are wider, where the processor multiplies such numbers.
    package func hasDenseAttention(for type: DType) -> Bool {
        compute == .auto && type != .float32 && type != .float16 && kernels.pointee.nt_bf16_bf16 != nil
            && kernels.pointee.attend_dense != nil
    }

    /// Softmax attention in bfloat16 within equal parts of the rows, every query seeing every key of its part.
    ///
    /// A row's result depends neither on the rows that are computed with it nor on the threads.
    /// - Parameters:
    ///   - fused: [rows, query | key | value], heads side by side in each.
    ///   - count: of parts.
    ///   - scale: multiplies a query's product with a key.
    ///   - distances: what scores gain by the places of query and key, if the parts are grids.
    ///   - out: [rows, heads * head].
    package func attendDense(
        _ fused: Matrix,
        count: Int,
        heads: Int,
        scale: Float,
        distances: GridDistances? = nil,
        to out: Matrix
    ) {
        let size = out.columns
        let head = size / heads
        let places = fused.rows / count
        precondition(
            fused.columns == 3 * size && out.rows == fused.rows && places * count == fused.rows
                && head % 2 == 0,
            "dense attention of \(count) parts of [\(fused.rows), \(fused.columns)] into [\(out.rows), \(size)]"
        )
        precondition(
            distances.map {
                $0.height * $0.width == places && $0.rows.count == (2 * $0.height - 1) * head
                    && $0.columns.count == (2 * $0.width - 1) * head
            } ?? true,
            "distances in a grid of \(places) places"
        )
        guard let attend = kernels.pointee.attend_dense else { preconditionFailure("no dense attention") }
        scoped {
            let keySize = Int(vl_dense_keys_size(Int64(places), Int64(head)))
            let valueSize = Int(vl_dense_values_size(Int64(places), Int64(head)))
            let keys = workspace.allocate(UInt16.self, count * heads * keySize)
            let values = workspace.allocate(UInt16.self, count * heads * valueSize)
            pool.parallel(count * heads) { index in
                let part = fused[rows: index / heads * places..<(index / heads + 1) * places]
                let column = index % heads * head
                vl_dense_pack_keys(
                    keys + index * keySize,
                    part[row: 0] + size + column,
                    Int64(part.stride),
                    Int64(places),
                    Int64(head)
                )
                vl_dense_pack_values(
                    values + index * valueSize,
                    part[row: 0] + 2 * size + column,
                    Int64(part.stride),
                    Int64(places),
                    Int64(head)
                )
            }
            let byRow = distances.map { packed($0.rows, side: $0.height, head: head) }
            let byColumn = distances.map { packed($0.columns, side: $0.width, head: head) }
            func attention(_ index: Int) -> vl_dense_attention {
                let top = index / heads * places
                let column = index % heads * head
                return vl_dense_attention(
                    q: UnsafePointer(fused[row: top] + column),
                    q_stride: Int64(fused.stride),
                    out: out[row: top] + column,
                    out_stride: Int64(out.stride),
                    keys: UnsafePointer(keys + index * keySize),
                    values: UnsafePointer(values + index * valueSize),
                    distance_rows: byRow,
                    distance_columns: byColumn,
                    grid_height: Int64(distances?.height ?? 0),
                    grid_width: Int64(distances?.width ?? 0),
                    key_count: Int64(places),
                    qk_dim: Int64(head),
                    v_dim: Int64(head),
                    scale: scale
                )
            }
            var first = attention(0)
            let scratchSize = Int(vl_dense_scratch(&first))
            let scratch = UnsafeMutableRawPointer(workspace.allocate(UInt8.self, pool.threads * scratchSize))
            let tiles = (places + Int(VL_DENSE_ROWS) - 1) / Int(VL_DENSE_ROWS)
            pool.parallelByWorker(count * heads * tiles) { unit, worker in
                var part = attention(unit / tiles)
                let first = unit % tiles * Int(VL_DENSE_ROWS)
                let last = min(first + Int(VL_DENSE_ROWS), places)
                attend(&part, Int64(first), Int64(last), scratch + worker * scratchSize)
            }
        }
    }

    private func packed(_ table: WeightVector, side: Int, head: Int) -> UnsafePointer<UInt16> {
        let made = workspace.allocate(UInt16.self, Int(vl_dense_distances_size(Int64(side), Int64(head))))
        vl_dense_pack_distances(made, table.pointer, Int64(side), Int64(head))
        return UnsafePointer(made)
    }
}
