import CVLKernels

extension Run {
    /// Brings a stored matrix into the form and type that kernels read.
    ///
    /// Groups of rows are shared between threads; the bytes do not depend on their number.
    ///
    /// - Parameters:
    ///   - stored: [rows, columns] as files hold it: row after row, block formats unpacked.
    ///   - type: the wanted type; equal to `stored`'s to pack without loss.
    ///   - order: for each stored column its place in the matrix, `columns` numbers; nil if it is the same. In another
    ///     type, columns go to their places; in the same they stay, as `WeightMatrix.inputOrder` wants them.
    ///   - target: `WeightMatrix.byteCount` bytes.
    package func pack(
        _ stored: UnsafeRawPointer,
        _ storedType: DType,
        rows: Int,
        columns: Int,
        as type: DType,
        order: UnsafePointer<Int32>? = nil,
        into target: UnsafeMutableRawPointer
    ) {
        let groupRows = WeightMatrix.groupRows
        let storedRow = storedType.rowBytes(columns)
        let row = type.rowBytes(columns)
        pool.parallel((rows + groupRows - 1) / groupRows) { group in
            let first = group * groupRows
            let count = min(groupRows, rows - first)
            let place = target + WeightMatrix.byteCount(type, rows: first, columns: columns)
            if type == storedType {
                if type.isBlock {
                    vl_pack_group(type.kernelType, stored, Int64(rows), Int64(columns), Int64(group), place)
                } else {
                    place.copyMemory(from: stored + first * storedRow, byteCount: count * row)
                }
                return
            }
            withUnsafeTemporaryAllocation(byteCount: columns * 8 + row * groupRows, alignment: 64) {
                scratch in
                guard let values = scratch.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
                let decoded = order == nil ? values : values + columns
                let blocks = UnsafeMutableRawPointer(values + 2 * columns)
                for index in 0..<count {
                    decode(stored + (first + index) * storedRow, storedType, count: columns, into: decoded)
                    if let order {
                        for column in 0..<columns { values[Int(order[column])] = decoded[column] }
                    }
                    let out = type.isBlock ? blocks + index * row : place + index * row
                    if type.isBlock {
                        vl_encode(type.kernelType, values, nil, out, Int64(columns))
                    } else {
                        store(values, count: columns, as: type, into: out)
                    }
                }
                if type.isBlock {
                    vl_pack_group(type.kernelType, blocks, Int64(count), Int64(columns), 0, place)
                }
            }
        }
    }

    /// `count` stored values of any type as float32.
    package func decode(
        _ stored: UnsafeRawPointer,
        _ type: DType,
        count: Int,
        into values: UnsafeMutablePointer<Float>
    ) {
        switch type {
        // Bytes of a file may lie at any address; the vector kernels take that, typed loads do not.
        case .bfloat16:
            kernels.pointee.f32_from_bf16(values, stored.assumingMemoryBound(to: UInt16.self), Int64(count))
        case .float16:
            kernels.pointee.f32_from_f16(values, stored.assumingMemoryBound(to: UInt16.self), Int64(count))
        default: vl_decode(type.kernelType, stored, values, Int64(count))
        }
    }
}
