import VLFormats
import VLTensor

/// A packed matrix's numbers: codes, zeros and scales one by one, and rows of blocks and of values.
extension PackedMatrix {
    /// Where in a word AutoAWQ puts each of eight rows.
    private static let interleaved = [0, 4, 1, 5, 2, 6, 3, 7]

    private static func word(_ bytes: UnsafeRawBufferPointer, _ place: Int) -> UInt32 {
        // Tensors of a file may lie at any address.
        bytes.loadUnaligned(fromByteOffset: 4 * place, as: UInt32.self)
    }

    /// The 4 bits at a place of a word.
    private static func nibble(_ word: UInt32, _ place: Int) -> Int { Int(word >> UInt32(4 * place) & 15) }

    /// The zero of a row in a group, 0 to 15.
    func zero(_ row: Int, _ group: Int) -> Int {
        switch layout {
        case .gptq:
            // GPTQModel subtracts one from each zero of a word at once, borrowing from neighbours, and adds it so.
            let word = Self.word(zeros.bytes, group * zeroStride + row / 8) &+ 0x1111_1111
            return Self.nibble(word, row % 8)
        case .gptqV2: return Self.nibble(Self.word(zeros.bytes, group * zeroStride + row / 8), row % 8)
        case .gemm:
            let word = Self.word(zeros.bytes, group * zeroStride + row / 8)
            return Self.nibble(word, Self.interleaved[row % 8])
        case .gemv: return Self.nibble(Self.word(zeros.bytes, row * zeroStride + group / 8), group % 8)
        }
    }

    private func scalePlace(_ row: Int, _ group: Int) -> Int {
        layout == .gemv ? row * scaleStride + group : group * scaleStride + row
    }

    /// The scale of a row in a group as a half; nil if it is none.
    func half(_ row: Int, _ group: Int) -> UInt16? {
        let place = scalePlace(row, group)
        switch scaleType {
        case .float16: return scales.bytes.loadUnaligned(fromByteOffset: 2 * place, as: UInt16.self)
        default: return HalfFloat.bits(exactly: scale(place))
        }
    }

    /// A scale of float32 or bfloat16.
    private func scale(_ place: Int) -> Float {
        if scaleType == .bfloat16 {
            let bits = scales.bytes.loadUnaligned(fromByteOffset: 2 * place, as: UInt16.self)
            return Float(bitPattern: UInt32(bits) << 16)
        }
        return Float(bitPattern: scales.bytes.loadUnaligned(fromByteOffset: 4 * place, as: UInt32.self))
    }

    /// The code of an element, 0 to 15.
    private func code(_ row: Int, _ column: Int) -> Int {
        switch layout {
        case .gptq, .gptqV2: Self.nibble(Self.word(codes.bytes, column / 8 * rows + row), column % 8)
        case .gemm:
            Self.nibble(
                Self.word(codes.bytes, column * ((rows + 7) / 8) + row / 8),
                Self.interleaved[row % 8]
            )
        case .gemv: Self.nibble(Self.word(codes.bytes, row * ((columns + 7) / 8) + column / 8), column % 8)
        }
    }

    // MARK: Blocks

    /// Half-bytes of a word as bytes, the lowest first.
    private static func spread(_ word: UInt32) -> UInt64 {
        var bits = UInt64(word)
        bits = (bits | bits << 16) & 0x0000_FFFF_0000_FFFF
        bits = (bits | bits << 8) & 0x00FF_00FF_00FF_00FF
        return (bits | bits << 4) & 0x0F0F_0F0F_0F0F_0F0F
    }

    /// Writes the codes of some rows as bytes, in the order of the matrix's columns.
    ///
    /// - Parameters:
    ///   - rows: at most eight, none of them in another eight than the first: these share AutoAWQ's words.
    ///   - stride: bytes from one row to the next, a multiple of 8 that holds the columns.
    ///   - bytes: `rows.count * stride` bytes.
    private func spread(
        rows range: Range<Int>,
        stride: Int,
        into bytes: UnsafeMutablePointer<UInt8>
    ) {
        guard let words = codes.bytes.baseAddress else { return }
        func word(_ place: Int) -> UInt32 { words.loadUnaligned(fromByteOffset: 4 * place, as: UInt32.self) }
        switch layout {
        case .gptq, .gptqV2:
            for eight in 0..<(columns + 7) / 8 {
                for row in range {
                    let target = bytes + (row - range.lowerBound) * stride + 8 * eight
                    UnsafeMutableRawPointer(target)
                        .storeBytes(of: Self.spread(word(eight * rows + row)).littleEndian, as: UInt64.self)
                }
            }
        case .gemv:
            for row in range {
                let target = UnsafeMutableRawPointer(bytes + (row - range.lowerBound) * stride)
                let first = row * ((columns + 7) / 8)
                for eight in 0..<(columns + 7) / 8 {
                    target.storeBytes(
                        of: Self.spread(word(first + eight)).littleEndian,
                        toByteOffset: 8 * eight,
                        as: UInt64.self
                    )
                }
            }
        case .gemm:
            let step = (rows + 7) / 8
            for row in range {
                let shift = UInt32(4 * Self.interleaved[row % 8])
                let target = bytes + (row - range.lowerBound) * stride
                var place = range.lowerBound / 8
                for column in 0..<columns {
                    target[column] = UInt8(truncatingIfNeeded: word(place) >> shift & 15)
                    place += step
                }
            }
        }
    }

    /// Writes blocks of some rows, in the order of the blocks' columns.
    ///
    /// - Parameters:
    ///   - wanted: the matrix's type, or Q5_0, which holds what Q4_0 does.
    ///   - target: `wanted.rowBytes(columns)` bytes for each row.
    package func writeBlocks(rows range: Range<Int>, as wanted: DType, into target: UnsafeMutableRawPointer) {
        precondition(
            type.isBlock && (wanted == type || wanted == .q5_0),
            "\(type.rawValue) as \(wanted.rawValue)"
        )
        let stride = (columns + 7) / 8 * 8
        let rowBytes = wanted.rowBytes(columns)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 9 * stride) { scratch in
            guard let bytes = scratch.baseAddress else { return }
            let sorted = bytes + 8 * stride
            var first = range.lowerBound
            while first < range.upperBound {
                let part = first..<min(first / 8 * 8 + 8, range.upperBound)
                spread(rows: part, stride: stride, into: bytes)
                for row in part {
                    var codes = bytes + (row - first) * stride
                    if let order {
                        order.withUnsafeBufferPointer { order in
                            for place in 0..<columns { sorted[place] = codes[Int(order[place])] }
                        }
                        codes = sorted
                    }
                    writeBlocks(
                        row: row,
                        codes,
                        isWide: wanted == .q5_0,
                        into: target + (row - range.lowerBound) * rowBytes
                    )
                }
                first = part.upperBound
            }
        }
    }

    /// Writes a row's blocks of codes that lie in their order.
    private func writeBlocks(
        row: Int,
        _ bytes: UnsafePointer<UInt8>,
        isWide: Bool,
        into target: UnsafeMutableRawPointer
    ) {
        let (ones, low): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x0F0F_0F0F_0F0F_0F0F)
        let blockBytes = isWide ? 22 : 18
        var known: (group: Int32, scale: UInt16, shift: UInt64) = (-1, 0, 0)
        for block in 0..<columns / 32 {
            let first = 32 * block
            let group = groups[order.map { Int($0[first]) } ?? first]
            if group != known.group {
                let zero = isWide ? zero(row, Int(group)) : 8
                known = (group, half(row, Int(group)) ?? 0, UInt64(16 - zero) &* ones)
            }
            func eight(_ place: Int) -> UInt64 {
                UnsafeRawPointer(bytes)
                    .loadUnaligned(fromByteOffset: first + 8 * place, as: UInt64.self).littleEndian
            }
            var eights = (eight(0), eight(1), eight(2), eight(3))
            let start = target + block * blockBytes
            start.storeBytes(of: known.scale.littleEndian, as: UInt16.self)
            var codes = start + 2
            if isWide {
                let shift = known.shift
                eights = (eights.0 &+ shift, eights.1 &+ shift, eights.2 &+ shift, eights.3 &+ shift)
                // The fifth bits of eight bytes, gathered by a product into its highest byte.
                func high(_ bytes: UInt64) -> UInt32 {
                    UInt32(truncatingIfNeeded: ((bytes >> 4 & ones) &* 0x0102_0408_1020_4080) >> 56)
                }
                let bits =
                    high(eights.0) | high(eights.1) << 8 | high(eights.2) << 16 | high(eights.3) << 24
                codes.storeBytes(of: bits.littleEndian, as: UInt32.self)
                codes += 4
            }
            let pair = (
                eights.0 & low | (eights.2 & low) << 4, eights.1 & low | (eights.3 & low) << 4
            )
            codes.storeBytes(of: pair.0.littleEndian, as: UInt64.self)
            (codes + 8).storeBytes(of: pair.1.littleEndian, as: UInt64.self)
        }
    }

    // MARK: Values

    /// Writes values of a row, in the order of the matrix's columns: (code - zero) * scale in float32.
    package func writeValues(
        row: Int,
        columns range: Range<Int>,
        _ run: Run,
        into values: UnsafeMutablePointer<Float>
    ) {
        var known: (group: Int32, zero: Int, scale: Float) = (-1, 0, 0)
        for column in range {
            let group = groups[column]
            if group != known.group {
                var scale: Float = 0
                if scaleType == .float16, let base = scales.bytes.baseAddress {
                    run.decode(base + 2 * scalePlace(row, Int(group)), .float16, count: 1, into: &scale)
                } else {
                    scale = self.scale(scalePlace(row, Int(group)))
                }
                known = (group, zero(row, Int(group)), scale)
            }
            values[column - range.lowerBound] = Float(code(row, column) - known.zero) * known.scale
        }
    }
}
