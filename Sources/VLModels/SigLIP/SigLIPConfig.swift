import VLTensor

/// Sizes of a SigLIP vision transformer.
///
/// `vision_config` of DeepSeek-VL2; the defaults for omitted keys are those of `VisionEncoderConfig` in the official
/// `modeling_deepseek_vl_v2.py` (SigLIP-L/16-384).
package struct SigLIPConfig: Sendable, Equatable {
    /// Side of a tile in pixels.
    package var imageSize: Int
    /// Side of a patch in pixels; what does not fill a patch at the right and bottom is not seen.
    package var patchSize: Int
    package var width: Int
    package var layers: Int
    package var heads: Int
    /// Width of the MLP, `Int(width * mlp_ratio)`.
    package var mlpWidth: Int
    /// VL2 uses the tanh form, VL the error function.
    package var activation: Activation
    package var epsilon: Float = 1e-6

    /// Patches along a side.
    package var grid: Int { imageSize / patchSize }
    /// Patches of a tile.
    package var tokens: Int { grid * grid }
    /// Multiply-adds of one tile, times two.
    package var flopsPerTile: Double {
        let rows = Double(tokens)
        let width = Double(width)
        let layer = 2 * rows * width * (4 * width + 2 * Double(mlpWidth)) + 4 * rows * rows * width
        return Double(layers) * layer + 2 * rows * Double(3 * patchSize * patchSize) * width
    }
}
