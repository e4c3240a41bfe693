import VLImage
import VLTensor
import VLText

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

    /// Number that divides the widths of all vectors that a cached position holds: a cache in a block format wants it to be
    /// a multiple of the block.
    var cacheUnit: Int { get }
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

extension LanguageModel {
    /// The type of the keys and values where none is asked for: float32 on the reference path; else bfloat16, which is what
    /// the official code keeps, where the processor multiplies such numbers: attention over many positions then takes half
    /// the time (docs/numerics.md has what it costs); else float16.
    package func cacheType(_ asked: DType?, _ run: Run) -> DType {
        if let asked { return asked }
        if run.compute == .float32 { return .float32 }
        return run.roundsAttention ? .bfloat16 : .float16
    }
}

/// What turns pictures into rows of a language model's input: a vision tower and its projector.
///
/// Stateless.
package protocol VisionEncoder: Sendable {
    /// Floating-point operations of encoding one tile.
    var visionFlopsPerTile: Double { get }

    /// Side of a tile in pixels.
    var tileSize: Int { get }

    /// Token embeddings of tiles, [tiles * tokens, hidden], in the workspace.
    ///
    /// - Parameter pixels: normalised tiles, [tiles, 3, tileSize, tileSize].
    func encode(_ pixels: UnsafePointer<Float>, tiles: Int, _ run: Run) -> Matrix
    /// A picture's way to its token embeddings, of which nothing is done yet.
    func encoding(_ image: PreparedImage) -> PictureEncoding
}

/// Turns messages and pictures into token ids and tiles, as a model family's official processor does.
package protocol Processor: Sendable {
    /// Replaced where texts of strangers are guarded against becoming control tokens.
    var tokenizer: Tokenizer { get set }
    /// What stands for a picture in a text; nil for a model that sees nothing.
    var imageTag: String? { get }
    /// Names of the user and the assistant in the messages of a conversation.
    var roles: (user: String, assistant: String) { get }
    /// Whether the repetition penalty counts the prompt's tokens besides the answer's, as the official program's does.
    var penalizesPrompt: Bool { get }
    /// Texts that end an answer in a chat besides the end token: what the official chat programs watch for.
    var chatStops: [String] { get }
    /// Side of a tile in pixels; 0 for a model that sees nothing.
    var tileSize: Int { get }

    /// The tiles of a conversation's pictures, as bytes.
    func tiles(_ pictures: [PixelBuffer], _ rule: TilingRule, pool: ThreadPool) -> [TiledPicture]
    /// Tiles as the vision tower takes them, [views, 3, tileSize, tileSize].
    func normalize(_ views: [PixelBuffer]) -> [Float]
    /// Shapes that pictures are cut into, in tiles; none for a model that sees nothing.
    var tileShapes: [(across: Int, down: Int)] { get }
    /// What conversations are written by: the name of a template that we know; nil for none.
    var templateName: String? { get }
    /// Tokens of a picture with so many local tiles.
    func imageTokens(tilesAcross: Int, tilesDown: Int) -> Int

    /// What a rule comes to in a conversation with so many pictures.
    func resolve(_ rule: TilingRule, pictures: Int) -> TilingRule

    /// Checks roles and image tags of a conversation before any picture is cut.
    ///
    /// - Throws: `PromptError`.
    func check(_ messages: [Message]) throws(PromptError)
    /// The prompt of a conversation.
    ///
    /// - Parameter images: the pictures of all messages, in order.
    /// - Throws: `PromptError`.
    func prompt(_ messages: [Message], images: [PreparedImage]) throws(PromptError) -> PreparedPrompt
    /// The prompt of a ready text, or of that text in the family's template.
    ///
    /// - Throws: `PromptError`.
    func prompt(
        text: String,
        appliesTemplate: Bool,
        system: String,
        images: [PreparedImage]
    ) throws(PromptError) -> PreparedPrompt
}

extension Processor {
    /// Families that always cut a picture the same way.
    package func resolve(_ rule: TilingRule, pictures: Int) -> TilingRule { .always }
    package var penalizesPrompt: Bool { true }
    package var chatStops: [String] { [] }

    /// How often a text says where a picture goes.
    package func imageTags(_ text: String) -> Int {
        guard let imageTag else { return 0 }
        return ConversationTemplate.imageTags(text, tag: imageTag)
    }

    /// One question about pictures: if its text does not say where they go, they come first, one a line.
    package func question(_ text: String, system: String?, imageCount: Int) -> [Message] {
        let tag = imageTag.map { $0 + "\n" } ?? ""
        let places = imageTags(text) == 0 ? String(repeating: tag, count: imageCount) : ""
        let system = system.map { [Message(role: "system", content: $0)] } ?? []
        return system + [
            Message(role: roles.user, content: places + text, imageCount: imageCount),
            Message(role: roles.assistant, content: ""),
        ]
    }

    /// All pictures of a conversation as the vision tower takes them, in its order.
    package func prepare(_ pictures: [PixelBuffer], _ rule: TilingRule, pool: ThreadPool) -> [PreparedImage] {
        tiles(pictures, rule, pool: pool).map { cut in
            PreparedImage(
                pixels: normalize(cut.views),
                tiles: cut.views.count,
                size: tileSize,
                tilesAcross: cut.tilesAcross,
                tilesDown: cut.tilesDown
            )
        }
    }
}
