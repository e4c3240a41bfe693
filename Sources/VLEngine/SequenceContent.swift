import VLModels

/// Tells one picture's token embeddings from another's: a hash of its pixels and of how they are cut.
///
/// 128 bits under a key that is drawn when the program starts, so that nobody can make two pictures collide on purpose.
/// Of use within one run of the program only.
package struct ImageKey: Hashable, Sendable {
    private let words: [Int]

    package init(_ image: PreparedImage) {
        words = [Self.hash(image, part: 1), Self.hash(image, part: 2)]
    }

    /// The key of a picture whose SHA-256 is known already; other than the one of its pixels.
    package init(_ digest: SHA256.Digest) { words = digest.words.map { Int($0) } }

    private static func hash(_ image: PreparedImage, part: Int) -> Int {
        var hasher = Hasher()
        hasher.combine(part)
        hasher.combine(image.tiles)
        hasher.combine(image.size)
        hasher.combine(image.tilesAcross)
        hasher.combine(image.tilesDown)
        image.pixels.withUnsafeBytes { hasher.combine(bytes: $0) }
        return hasher.finalize()
    }
}

/// What the positions of a sequence are made of: tokens, and pictures by their content.
package struct SequenceContent: Sendable, Equatable {
    /// A picture's positions.
    package struct Place: Sendable, Equatable {
        package var start: Int
        package var count: Int
        package var key: ImageKey
    }

    package private(set) var ids: [Int32] = []
    /// In the order of their starts.
    package private(set) var places: [Place] = []

    package init() {}

    /// What a prompt is made of.
    package init(_ prompt: PreparedPrompt) {
        let keys = prompt.images.map { ImageKey($0) }
        ids = prompt.ids
        places = prompt.spans.map { Place(start: $0.start, count: $0.count, key: keys[$0.image]) }
    }

    package var count: Int { ids.count }

    /// Positions at the beginning that are the same in both.
    package func commonCount(with other: SequenceContent) -> Int {
        var common = min(ids.count, other.ids.count)
        for index in 0..<common where ids[index] != other.ids[index] {
            common = index
            break
        }
        for index in 0..<max(places.count, other.places.count) {
            let mine = index < places.count ? places[index] : nil
            let theirs = index < other.places.count ? other.places[index] : nil
            if mine != theirs {
                return min(common, mine?.start ?? common, theirs?.start ?? common)
            }
        }
        return common
    }

    /// Adds tokens of an answer.
    package mutating func append(_ tokens: some Collection<Int32>) { ids += tokens }

    /// Forgets the positions from `count` on.
    package mutating func truncate(to count: Int) {
        ids.removeLast(max(0, ids.count - count))
        places.removeAll { $0.start >= count }
    }
}

/// Keys and values of a sequence that the next one may continue, and what they are of.
///
/// Confined to the thread that runs the model; belongs to one sequence at a time.
package final class SequenceCache {
    package let cache: KVCache
    /// What the cache's positions are made of.
    package private(set) var content = SequenceContent()
    /// Counts the sequences that it was given to: only the last one may use it.
    private(set) var claims = 0

    package init(_ layout: CacheLayout, maximum: Int) {
        cache = KVCache(layout, maximum: maximum)
    }

    /// Bytes that it holds.
    package var byteCount: Int { cache.capacity * cache.layout.bytesPerToken }

    /// Makes this the cache of a sequence that begins with `content`, of which it holds the first `count` positions.
    func claim(_ content: SequenceContent, keeping count: Int) -> Int {
        cache.truncate(to: count)
        self.content = content
        self.content.truncate(to: count)
        claims += 1
        return claims
    }

    /// Says what it holds now: as much of `content` as was computed.
    func settle(_ content: SequenceContent) {
        self.content = content
        self.content.truncate(to: cache.count)
    }
}
