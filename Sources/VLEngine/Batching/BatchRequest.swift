import VLModels

/// A request to a `BatchRunner`.
package struct BatchRequest: Sendable {
    package var prompt: PreparedPrompt
    package var options: GenerationOptions
    /// Digests of the prompt's pictures, by their index.
    package var pictures: [SHA256.Digest]
    /// Whose requests share prefixes with each other.
    package var salt: SHA256.Digest
    /// Greater goes first.
    package var priority = 0
    /// When it is given up.
    package var deadline: ContinuousClock.Instant?
    /// A request with the same prompt that was submitted before, so that this one shares what that one computes.
    package var after: Int?

    /// - Parameter salt: as it comes, the one of requests without a key.
    package init(
        _ prompt: PreparedPrompt,
        _ options: GenerationOptions,
        salt: SHA256.Digest = SHA256.digest([])
    ) {
        self.prompt = prompt
        self.options = options
        self.salt = salt
        pictures = prompt.images.map { Self.digest($0) }
    }

    /// A hash of a picture's pixels and of how it is cut.
    package static func digest(_ image: PreparedImage) -> SHA256.Digest {
        var hash = SHA256()
        hash.update(image.tiles, image.size, image.tilesAcross, image.tilesDown)
        image.pixels.withUnsafeBytes { hash.update($0) }
        return hash.finish()
    }
}

/// What happens to a request.
package enum BatchEvent: Sendable {
    /// It began; so many tokens of its prompt were computed for another one before.
    case started(cachedTokens: Int)
    /// So many of its pictures are encoded, or were found encoded.
    case pictures(Int, of: Int)
    case prefilled(Int, of: Int)
    /// Probabilities of the prompt's tokens, in their order, as they become known.
    case scored([GeneratedToken])
    /// A token was chosen; an end token is no part of the answer.
    case token(GeneratedToken, isEnd: Bool)
    case finished(FinishReason)
    /// Its time is over.
    case expired
}

/// Why a request does not run.
package enum BatchRefusal: Error, Sendable {
    case request(EngineError)
    /// The cache is smaller than the request, in bytes.
    case neverFits(needed: Int, budget: Int)
    case queueFull(Int)
}

/// Counts of a `BatchRunner` since it was made, and what it holds now.
package struct BatchStatistics: Sendable {
    package var steps = 0
    package var rows = 0
    package var waiting = 0
    package var running = 0
    package var blocksInUse = 0
    package var blocksReserved = 0
    package var blocksCached = 0
    package var blockLimit = 0
    package var blockBytes = 0
    package var promptTokens = 0
    package var cachedTokens = 0
    package var decodedTokens = 0
    package var encodedTiles = 0
    /// Requests that gave back their blocks to go on later.
    package var preempted = 0
    /// Pictures that requests were given, encoded or kept.
    package var placedPictures = 0
    /// Pictures that were found beyond memory.
    package var storedPictures = 0
    package var pictureHits = 0
    package var pictureMisses = 0
    package var featureBytes = 0

    package init() {}
}
