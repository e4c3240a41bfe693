/// Sizes of a SAM image encoder (ViTDet) with DeepSeek-VL's down-sampling behind it.
package struct SAMConfig: Sendable, Equatable {
    /// Side of a picture in pixels.
    package var imageSize = 1024
    /// Side of a patch in pixels.
    package var patchSize = 16
    package var width = 768
    package var layers = 12
    package var heads = 12
    package var mlpRatio = 4
    /// Side of a window, in patches, of the layers that do not attend globally.
    package var windowSize = 14
    /// Layers that attend globally (`global_attn_indexes`).
    package var globalLayers = [2, 5, 8, 11]
    /// Channels of the neck (`prompt_embed_dim`).
    package var neckChannels = 256
    /// Channels of the convolutions that each halve the map.
    package var downsampleChannels = [512, 1024]
    package let epsilon: Float = 1e-6
    /// Side to which the neck's map is stretched before it is halved.
    package let stretchedSide = 96

    package init() {}

    /// Patches along a side.
    package var grid: Int { imageSize / patchSize }
    /// Places along a side of the result.
    package var outputSide: Int { downsampleChannels.reduce(stretchedSide) { side, _ in (side + 1) / 2 } }
    /// Channels of the result.
    package var outputChannels: Int { downsampleChannels.last ?? neckChannels }
    /// Side of the square of patches that the windows of a layer cover together.
    package var windowsAcross: Int { (grid + windowSize - 1) / windowSize }

    /// Numbers in all matrices.
    package var parameterCount: Int {
        var total = layers * width * width * (4 + 2 * mlpRatio) + 3 * patchSize * patchSize * width
        total += 2 * neckChannels * (width + 9 * neckChannels)
        var channels = neckChannels
        for next in downsampleChannels {
            total += 9 * channels * next
            channels = next
        }
        return total
    }

    /// Multiply-adds of one picture, times two.
    package var flopsPerImage: Double {
        let places = Double(grid * grid)
        let wide = Double(width)
        let window =
            Double(windowsAcross * windowsAcross) * Double(windowSize * windowSize * windowSize * windowSize)
        var total = Double(layers) * 2 * places * wide * wide * Double(4 + 2 * mlpRatio)
        total += Double(globalLayers.count) * 4 * places * places * wide
        total += Double(layers - globalLayers.count) * 4 * window * wide
        total += 2 * places * Double(3 * patchSize * patchSize) * wide
        total += 4 * places * Double(neckChannels) * (wide + 9 * Double(neckChannels))
        var side = stretchedSide
        var channels = neckChannels
        for next in downsampleChannels {
            side = (side + 1) / 2
            // Once for the last layer's map and once for the first global one's.
            total += 2 * 2 * Double(side * side) * 9 * Double(channels) * Double(next)
            channels = next
        }
        return total
    }
}
