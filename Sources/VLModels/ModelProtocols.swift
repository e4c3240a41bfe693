import VLTensor

/// A decoder: embeddings in, hidden states and logits out.
///
/// Stateless; one value serves any number of sequences.
package protocol LanguageModel: Sendable {
    var hiddenSize: Int { get }
    var vocabularySize: Int { get }
    /// Positions that the model was made for (`max_position_embeddings`).
    var maxPositions: Int { get }
    /// Weights that one token's forward pass reads.
    var activeParameters: Int { get }

    /// What a cached position takes.
    func cacheLayout(_ type: DType) -> CacheLayout
    /// Writes the embeddings of `ids` into `out`, [ids, hidden].
    func embed(_ ids: UnsafeBufferPointer<Int32>, into out: Matrix, _ run: Run)
    /// Runs all layers over `x`, [rows, hidden], in place, and lets the segments' caches grow by their rows.
    func forward(_ x: Matrix, _ batch: Batch, _ run: Run)
    /// Hidden states after the final norm, new.
    func finalNorm(_ x: Matrix, _ run: Run) -> Matrix
    /// Logits of normed rows, [rows, vocabulary], new.
    func logits(_ normed: Matrix, _ run: Run) -> Matrix
}

/// A decoder that also takes pictures.
///
/// Stateless.
package protocol VisionLanguageModel: Sendable {
    var language: any LanguageModel { get }
    /// Floating-point operations of encoding one tile.
    var visionFlopsPerTile: Double { get }

    /// Side of a tile in pixels.
    var tileSize: Int { get }

    /// Token embeddings of tiles, [tiles * tokens, hidden], in the workspace.
    ///
    /// - Parameter pixels: normalised tiles, [tiles, 3, tileSize, tileSize].
    func encode(_ pixels: UnsafePointer<Float>, tiles: Int, _ run: Run) -> Matrix
    /// Tokens of a picture with so many local tiles.
    func imageTokens(tilesAcross: Int, tilesDown: Int) -> Int
    /// Writes a picture's token embeddings into `out`, [imageTokens, hidden].
    ///
    /// - Parameter onTiles: called with the number of tiles that are done.
    func embed(_ image: PreparedImage, into out: Matrix, _ run: Run, onTiles: (Int) -> Void)
}
