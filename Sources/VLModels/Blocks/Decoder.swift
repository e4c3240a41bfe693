import VLTensor

/// What a decoder is besides its layers.
struct DecoderSizes: Sendable, Equatable {
    var hiddenSize: Int
    var vocabularySize: Int
    var layers: Int
    var maxPositions: Int
    /// Epsilon of the last norm.
    var epsilon: Float
    /// Whether the embedding is the output head where the checkpoint has none.
    var tiedEmbeddings: Bool
    /// Elements of a cached position in one layer.
    var cacheWidth: Int
    /// Number that divides the widths of all vectors that a cached position holds.
    var cacheUnit: Int
    /// Weights that one token's forward pass reads.
    var activeParameters: Int
}

/// A decoder of the Llama shape: embedding, layers, norm and head, the layers being what a family makes them.
///
/// Stateless: caches and scratch memory are arguments.
package struct Decoder: LanguageModel {
    let sizes: DecoderSizes
    let embedding: WeightMatrix
    let layers: [DecoderLayer]
    let norm: RMSNorm
    let head: Linear
    private let owner: WeightOwner
    /// Where the layers lie in the checkpoint, and how one is made of what lies there.
    let layersPath: String
    let makeLayer: LayerMaker

    /// Makes the layer of a number from its place in the checkpoint.
    typealias LayerMaker = @Sendable (Int, Weights) throws(LoadError) -> DecoderLayer

    /// Reads `model.embed_tokens`, `model.layers.*`, `model.norm` and `lm_head`.
    ///
    /// - Parameters:
    ///   - onLayer: called with the number of layers read, for a progress bar.
    ///   - layer: makes the layer of a number from its place in the checkpoint.
    init(
        _ sizes: DecoderSizes,
        _ weights: Weights,
        onLayer: (Int) -> Void,
        layer: @escaping LayerMaker
    ) throws(LoadError) {
        self.sizes = sizes
        let model = weights["model"]
        makeLayer = layer
        layersPath = model["layers"].path
        embedding = try model["embed_tokens"].matrix("weight", sizes.vocabularySize, sizes.hiddenSize)
        var layers: [DecoderLayer] = []
        for index in 0..<sizes.layers {
            layers.append(try layer(index, model["layers"][index]))
            onLayer(index + 1)
        }
        self.layers = layers
        norm = try RMSNorm(sizes.hiddenSize, sizes.epsilon, model["norm"])
        // The checkpoint decides whether there is an output head; the configurations are known to be wrong there.
        if weights["lm_head"].contains("weight") || !sizes.tiedEmbeddings {
            head = Linear(
                weight: try weights["lm_head"].matrix("weight", sizes.vocabularySize, sizes.hiddenSize)
            )
        } else {
            head = Linear(weight: embedding)
        }
        owner = weights.loader.owner
    }

    /// Type of the embedding, which stands for the matrices' type.
    package var weightType: DType { embedding.type }
    package var hiddenSize: Int { sizes.hiddenSize }
    package var vocabularySize: Int { sizes.vocabularySize }
    package var maxPositions: Int { sizes.maxPositions }
    package var activeParameters: Int { sizes.activeParameters }
    package var cacheUnit: Int { sizes.cacheUnit }

    package func cacheLayout(_ type: DType) -> CacheLayout {
        CacheLayout(layers: layers.count, width: sizes.cacheWidth, type: type)
    }

    package func embed(_ ids: UnsafeBufferPointer<Int32>, into out: Matrix, _ run: Run) {
        run.gather(embedding, ids, into: out)
    }

    package func forward(_ x: Matrix, _ batch: Batch, _ run: Run) {
        precondition(x.rows == batch.rowCount && x.columns == sizes.hiddenSize, "a step of other rows")
        let positions = batch.positions(run)
        for segment in batch.segments { segment.cache.advance(segment.rows.count) }
        run.trace?.record("hidden_states.0", x)
        for (index, layer) in layers.enumerated() {
            layer(x, batch, layer: index, positions, run)
            run.trace?.record("hidden_states.\(index + 1)", x)
        }
    }

    package func finalNorm(_ x: Matrix, _ run: Run) -> Matrix { norm(x, run) }

    package func logits(_ normed: Matrix, _ run: Run) -> Matrix { run.linear(normed, head) }
}
