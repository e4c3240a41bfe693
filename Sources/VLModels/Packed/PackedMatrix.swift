import VLFormats
import VLTensor

/// A matrix as GPTQ and AWQ store it, [rows, columns]: value = (code - zero) * scale, with a zero and a scale for each row
/// and group of columns.
///
/// Codes have 4 bits. A block of 32 columns with one zero and one scale is a block of Q4_0 where the zero is 8, and one of
/// Q5_0 with the code + 16 - zero elsewhere: the very same values, if the scale is a half. So a matrix runs in one of
/// these wherever its columns, sorted by group, make such blocks; else its values are float32.
package struct PackedMatrix: Sendable {
    package let rows: Int
    package let columns: Int
    /// The file that holds the codes, for messages.
    package let file: String
    /// The type that holds all values as they are: Q4_0, Q5_0 or float32.
    package private(set) var type: DType
    /// For each column of the blocks, the matrix's column that it is; nil if it is the same.
    package private(set) var order: [Int32]?

    let layout: PackedFormat.Layout
    let codes: StoredTensor
    let zeros: StoredTensor
    let scales: StoredTensor
    let scaleType: DType
    /// The group of each column.
    let groups: [Int32]
    /// Numbers from one row's or group's words and scales to the next.
    let zeroStride: Int
    let scaleStride: Int

    /// Finds and checks the tensors of a layer.
    ///
    /// - Parameters:
    ///   - weight: the name that the layer's matrix would have, "….weight".
    ///   - shape: of the matrix, as the model expects it.
    /// - Throws: `LoadError` that names the tensor.
    package init(
        _ weight: String,
        _ shape: [Int],
        _ format: PackedFormat,
        _ store: WeightStore
    ) throws(LoadError) {
        let stem = weight.dropLast(".weight".utf8.count)
        func find(_ ending: String) throws(LoadError) -> StoredTensor {
            do throws(FormatError) {
                return try store.tensor(named: stem + ending)
            } catch {
                throw .format(error)
            }
        }
        let codes = try find(WeightStore.codesEnding)
        guard shape.count == 2, shape[0] > 0, shape[1] > 0 else {
            throw .content(
                name: codes.name,
                expected: "a tensor of \(shape), as the model has it",
                found: "a packed matrix",
                file: codes.file
            )
        }
        guard !stem.hasSuffix("embed_tokens") else {
            throw .unsupported(
                file: codes.file,
                what: "a packed embedding ('\(codes.name)')",
                known: "layers"
            )
        }
        let (rows, columns) = (shape[0], shape[1])
        func words(_ count: Int) -> Int { (count + 7) / 8 }
        let groupSize = min(format.groupSize ?? columns, columns)
        let counted = (columns + groupSize - 1) / groupSize
        let (zeros, scales) = (try find(".qzeros"), try find(".scales"))
        // Rules for single matrices are patterns that only GPTQModel reads: the scales say what came of them.
        let count = format.isDynamic && scales.shape.count == 2 ? max(1, scales.shape[0]) : counted
        func check(_ tensor: StoredTensor, _ shape: [Int], _ types: [StoredDType]) throws(LoadError) {
            guard types.contains(tensor.dtype) else {
                throw .content(
                    name: tensor.name,
                    expected: types.map(\.rawValue).joined(separator: " or "),
                    found: tensor.dtype.rawValue,
                    file: tensor.file
                )
            }
            guard tensor.shape == shape else {
                throw .shape(name: tensor.name, expected: shape, found: tensor.shape, file: tensor.file)
            }
        }
        let floats: [StoredDType] = [.float16, .bfloat16, .float32]
        var groups = [Int32](repeating: 0, count: columns)
        switch format.layout {
        case .gptq, .gptqV2:
            try check(codes, [words(columns), rows], [.int32])
            try check(zeros, [count, words(rows)], [.int32])
            try check(scales, [count, rows], floats)
            (zeroStride, scaleStride) = (words(rows), rows)
            if store.peek(stem + ".g_idx") != nil || format.hasActOrder {
                let found = try find(".g_idx")
                try check(found, [columns], [.int32])
                for column in 0..<columns {
                    let group = found.bytes.loadUnaligned(fromByteOffset: 4 * column, as: Int32.self)
                    guard group >= 0, group < count else {
                        throw .content(
                            name: found.name,
                            expected: "groups from 0 to \(count - 1)",
                            found: "\(group)",
                            file: found.file
                        )
                    }
                    groups[column] = group
                }
            } else {
                let size = (columns + count - 1) / count
                for column in 0..<columns { groups[column] = Int32(column / size) }
            }
        case .gemm, .gemv:
            guard columns % groupSize == 0 else {
                throw .content(
                    name: codes.name,
                    expected: "rows of whole groups of \(groupSize)",
                    found: "rows of \(columns)",
                    file: codes.file
                )
            }
            let width = Self.zeroWords(columns, groupSize)
            if format.layout == .gemm {
                try check(codes, [columns, words(rows)], [.int32])
                try check(zeros, [counted, words(rows)], [.int32])
                try check(scales, [counted, rows], floats)
            } else {
                try check(codes, [rows, words(columns)], [.int32])
                try check(zeros, [rows, width], [.int32])
                try check(scales, [rows, 8 * width], floats)
            }
            zeroStride = format.layout == .gemm ? words(rows) : width
            scaleStride = format.layout == .gemm ? rows : 8 * width
            for column in 0..<columns { groups[column] = Int32(column / groupSize) }
        }
        (self.rows, self.columns, file) = (rows, columns, codes.file)
        (self.codes, self.zeros, self.scales, layout) = (codes, zeros, scales, format.layout)
        scaleType = scales.dtype == .float16 ? .float16 : scales.dtype == .bfloat16 ? .bfloat16 : .float32
        self.groups = groups
        let sorted = Self.sorted(groups, count: count)
        let isBlocks = Self.areBlocks(groups, sorted)
        (order, type) = (isBlocks ? sorted : nil, .float32)
        if isBlocks { type = Self.form(of: self, groups: count) }
        if type == .float32 { order = nil }
    }

    /// Words of zeros that a row has in AutoAWQ's layout for vectors, which rounds them up by the group's size.
    private static func zeroWords(_ columns: Int, _ groupSize: Int) -> Int {
        let multiple = groupSize >= 128 ? 1 : groupSize == 64 ? 2 : 4
        let needed = (columns / groupSize + 7) / 8
        return (needed + multiple - 1) / multiple * multiple
    }

    /// Columns sorted by group, those of a group in their order; nil if they lie so.
    private static func sorted(_ groups: [Int32], count: Int) -> [Int32]? {
        if zip(groups, groups.dropFirst()).allSatisfy({ $0 <= $1 }) { return nil }
        var next = [Int32](repeating: 0, count: count + 1)
        for group in groups { next[Int(group) + 1] += 1 }
        for group in 0..<count { next[group + 1] += next[group] }
        var order = [Int32](repeating: 0, count: groups.count)
        for (column, group) in groups.enumerated() {
            order[Int(next[Int(group)])] = Int32(column)
            next[Int(group)] += 1
        }
        return order
    }

    /// Whether each 32 columns in an order are of one group.
    private static func areBlocks(_ groups: [Int32], _ order: [Int32]?) -> Bool {
        guard groups.count % 32 == 0 else { return false }
        func group(_ place: Int) -> Int32 { groups[order.map { Int($0[place]) } ?? place] }
        return groups.indices.allSatisfy { group($0) == group($0 / 32 * 32) }
    }

    /// The block type whose zeros and scales are the matrix's; float32 if a scale is no half.
    private static func form(of matrix: PackedMatrix, groups: Int) -> DType {
        var isCentred = true
        for group in 0..<groups {
            for row in 0..<matrix.rows {
                if isCentred, matrix.zero(row, group) != 8 { isCentred = false }
                guard matrix.scaleType == .float16 || matrix.half(row, group) != nil else { return .float32 }
            }
        }
        return isCentred ? .q4_0 : .q5_0
    }
}
