import CVLKernels

/// Element type of a stored matrix.
package enum DType: String, Sendable, CaseIterable {
    case float32 = "f32"
    case bfloat16 = "bf16"
    case float16 = "f16"

    /// Bytes of one element.
    package var byteCount: Int {
        switch self {
        case .float32: 4
        case .bfloat16, .float16: 2
        }
    }

    /// The C floor's number for this type.
    package var kernelType: vl_type {
        switch self {
        case .float32: VL_TYPE_F32
        case .bfloat16: VL_TYPE_BF16
        case .float16: VL_TYPE_F16
        }
    }
}
