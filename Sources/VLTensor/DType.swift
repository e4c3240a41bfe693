import CVLKernels

/// Element type of a stored matrix: a float type, or a block format of GGUF.
package enum DType: String, Sendable, CaseIterable {
    case float32 = "f32"
    case bfloat16 = "bf16"
    case float16 = "f16"
    case q8_0
    case q4_0
    case q4_1
    case q5_0
    case q5_1
    case q4_k
    case q5_k
    case q6_k

    /// Whether values are codes with scales, in blocks of 32 or 256.
    package var isBlock: Bool { blockLength > 1 }

    /// Values in a block; 1 for float types.
    package var blockLength: Int { Int(vl_block_length(kernelType)) }

    /// Bytes of one element of a float type.
    package var elementBytes: Int {
        precondition(!isBlock, "an element of \(rawValue)")
        return Int(vl_block_bytes(kernelType))
    }

    /// Bytes of a stored row; `columns` is a multiple of the block length.
    package func rowBytes(_ columns: Int) -> Int {
        precondition(columns % blockLength == 0, "\(columns) columns in blocks of \(blockLength)")
        return columns / blockLength * Int(vl_block_bytes(kernelType))
    }

    /// Average bits of a stored value.
    package var bitsPerValue: Double { 8 * Double(vl_block_bytes(kernelType)) / Double(blockLength) }

    /// The C floor's number for this type.
    package var kernelType: vl_type {
        switch self {
        case .float32: VL_TYPE_F32
        case .bfloat16: VL_TYPE_BF16
        case .float16: VL_TYPE_F16
        case .q8_0: VL_TYPE_Q8_0
        case .q4_0: VL_TYPE_Q4_0
        case .q4_1: VL_TYPE_Q4_1
        case .q5_0: VL_TYPE_Q5_0
        case .q5_1: VL_TYPE_Q5_1
        case .q4_k: VL_TYPE_Q4_K
        case .q5_k: VL_TYPE_Q5_K
        case .q6_k: VL_TYPE_Q6_K
        }
    }
}
