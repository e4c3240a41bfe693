import VLTensor

/// One layer of a decoder, over weights of its own: for work that goes through a model layer by layer.
package struct DecoderStage {
    private let layer: DecoderLayer
    private let owner: WeightOwner
    private let hiddenSize: Int
    /// What a cached position of this one layer takes.
    package let cacheLayout: CacheLayout
    /// Names of the layer's matrices, by `WeightMatrix.Origin.index`.
    package let names: [String]

    /// Reads a layer.
    ///
    /// - Parameters:
    ///   - index: number of the layer.
    ///   - source: weights of the whole model, or of one like it.
    ///   - cacheType: type of the keys and values.
    /// - Throws: `LoadError`.
    package init(
        _ decoder: Decoder,
        _ index: Int,
        _ source: any WeightSource,
        cacheType: DType,
        _ run: Run
    ) throws(LoadError) {
        let loader = WeightLoader(source, run)
        layer = try decoder.makeLayer(index, Weights(loader, path: decoder.layersPath)[index])
        names = loader.names
        owner = loader.owner
        hiddenSize = decoder.hiddenSize
        cacheLayout = CacheLayout(layers: 1, width: decoder.sizes.cacheWidth, type: cacheType)
    }

    /// Updates the rows of one sequence, [rows, hidden], in place; they are all of it.
    ///
    /// - Parameter cache: of `cacheLayout`; what it holds is forgotten.
    package func callAsFunction(_ x: Matrix, _ cache: KVCache, _ run: Run) {
        precondition(x.columns == hiddenSize && cache.layout == cacheLayout, "rows of another model")
        run.scoped {
            cache.truncate(to: 0)
            cache.advance(x.rows)
            let batch = Batch([Segment(rows: 0..<x.rows, cache: cache, firstPosition: 0)])
            layer(x, batch, layer: 0, batch.positions(run), run)
        }
    }
}

extension Decoder {
    /// Layers of the decoder.
    package var layerCount: Int { layers.count }
}
