/// The element type of a tensor in a file; the raw value is its name in safetensors or, for blocks, in GGUF.
///
/// Block types hold a row's elements in groups that share a scale; a row has whole blocks. All types of GGUF
/// are here, so that what cannot be computed can still be listed and named.
package enum StoredDType: String, Sendable, CaseIterable {
    case bool = "BOOL"
    case uint8 = "U8"
    case int8 = "I8"
    case float8E4M3 = "F8_E4M3"
    case float8E5M2 = "F8_E5M2"
    case int16 = "I16"
    case uint16 = "U16"
    case float16 = "F16"
    case bfloat16 = "BF16"
    case int32 = "I32"
    case uint32 = "U32"
    case float32 = "F32"
    case float64 = "F64"
    case int64 = "I64"
    case uint64 = "U64"
    case q4_0 = "Q4_0"
    case q4_1 = "Q4_1"
    case q5_0 = "Q5_0"
    case q5_1 = "Q5_1"
    case q8_0 = "Q8_0"
    case q8_1 = "Q8_1"
    case q2_k = "Q2_K"
    case q3_k = "Q3_K"
    case q4_k = "Q4_K"
    case q5_k = "Q5_K"
    case q6_k = "Q6_K"
    case q8_k = "Q8_K"
    case iq2_xxs = "IQ2_XXS"
    case iq2_xs = "IQ2_XS"
    case iq3_xxs = "IQ3_XXS"
    case iq1_s = "IQ1_S"
    case iq4_nl = "IQ4_NL"
    case iq3_s = "IQ3_S"
    case iq2_s = "IQ2_S"
    case iq4_xs = "IQ4_XS"
    case iq1_m = "IQ1_M"
    case tq1_0 = "TQ1_0"
    case tq2_0 = "TQ2_0"
    case mxfp4 = "MXFP4"
    case nvfp4 = "NVFP4"
    case q1_0 = "Q1_0"
    case q2_0 = "Q2_0"

    /// Elements of one block: 1 for a plain type.
    package var blockSize: Int { layout.elements }

    /// Bytes of one block: of one element for a plain type.
    package var blockBytes: Int { layout.bytes }

    /// Whether several elements share a block.
    package var isBlock: Bool { blockSize > 1 }

    /// Whether a safetensors file can hold it.
    package var isSafetensors: Bool { !isBlock }

    private var layout: (elements: Int, bytes: Int) {
        switch self {
        case .bool, .uint8, .int8, .float8E4M3, .float8E5M2: (1, 1)
        case .int16, .uint16, .float16, .bfloat16: (1, 2)
        case .int32, .uint32, .float32: (1, 4)
        case .float64, .int64, .uint64: (1, 8)
        case .q4_0, .iq4_nl: (32, 18)
        case .q4_1: (32, 20)
        case .q5_0: (32, 22)
        case .q5_1: (32, 24)
        case .q8_0: (32, 34)
        case .q8_1: (32, 36)
        case .mxfp4: (32, 17)
        case .q2_0: (64, 18)
        case .nvfp4: (64, 36)
        case .q1_0: (128, 18)
        case .q2_k: (256, 84)
        case .q3_k, .iq3_s: (256, 110)
        case .q4_k: (256, 144)
        case .q5_k: (256, 176)
        case .q6_k: (256, 210)
        case .q8_k: (256, 292)
        case .iq1_s: (256, 50)
        case .iq1_m: (256, 56)
        case .iq2_xxs, .tq2_0: (256, 66)
        case .iq2_xs: (256, 74)
        case .iq2_s: (256, 82)
        case .iq3_xxs: (256, 98)
        case .iq4_xs: (256, 136)
        case .tq1_0: (256, 54)
        }
    }

    /// The bytes of a tensor of `shape`, or nil if its rows are no whole blocks or 63 bits cannot count them.
    package func byteCount(shape: [Int]) -> Int? {
        // Zeros are counted as ones, so that none hides an overflow of the other dimensions.
        var bytes = blockBytes
        for (index, size) in shape.enumerated() {
            let isRow = index == shape.count - 1
            guard size >= 0, !isRow || size % blockSize == 0 else { return nil }
            let (product, overflows) = bytes.multipliedReportingOverflow(
                by: max(isRow ? size / blockSize : size, 1)
            )
            guard !overflows else { return nil }
            bytes = product
        }
        guard !shape.isEmpty || !isBlock else { return nil }
        return shape.contains(0) ? 0 : bytes
    }

    /// The elements of a tensor of `shape`, or nil if 63 bits cannot count them.
    package static func elementCount(shape: [Int]) -> Int? {
        StoredDType.uint8.byteCount(shape: shape)
    }
}

extension StoredDType {
    /// GGUF's number of the type; nil for types that it does not have.
    package var ggufNumber: UInt32? { Self.ggufTable.first { $0.type == self }?.number }

    /// The type of GGUF's number; nil for numbers that were never given or have been withdrawn.
    package init?(ggufNumber: UInt32) {
        guard let type = Self.ggufTable.first(where: { $0.number == ggufNumber })?.type else { return nil }
        self = type
    }

    private static let ggufTable: [(number: UInt32, type: StoredDType)] = [
        (0, .float32), (1, .float16), (2, .q4_0), (3, .q4_1), (6, .q5_0), (7, .q5_1), (8, .q8_0), (9, .q8_1),
        (10, .q2_k), (11, .q3_k), (12, .q4_k), (13, .q5_k), (14, .q6_k), (15, .q8_k), (16, .iq2_xxs),
        (17, .iq2_xs), (18, .iq3_xxs), (19, .iq1_s), (20, .iq4_nl), (21, .iq3_s), (22, .iq2_s), (23, .iq4_xs),
        (24, .int8), (25, .int16), (26, .int32), (27, .int64), (28, .float64), (29, .iq1_m), (30, .bfloat16),
        (34, .tq1_0), (35, .tq2_0), (39, .mxfp4), (40, .nvfp4), (41, .q1_0), (42, .q2_0),
    ]
}
