import VLModels

/// What a request's positions are made of, for whom, and the names of its blocks.
package struct PrefixContent: Sendable {
    /// A block's content, compared whole when a block of the same name is found.
    package struct Block: Sendable, Equatable {
        /// A part of a picture that lies in the block.
        package struct Picture: Sendable, Equatable {
            var digest: SHA256.Digest
            /// First position in the block, and which token of the picture stands there.
            var place: Int
            var token: Int
        }

        var salt: SHA256.Digest
        var ids: [Int32]
        var pictures: [Picture]
    }

    private let salt: SHA256.Digest
    private let places: [(span: ImageSpan, digest: SHA256.Digest)]
    private let size: Int
    private(set) var ids: [Int32]
    private var names: [SHA256.Digest] = []

    /// - Parameters:
    ///   - pictures: digests of the prompt's pictures, by their index.
    ///   - salt: whose requests share with each other.
    package init(_ prompt: PreparedPrompt, pictures: [SHA256.Digest], salt: SHA256.Digest) {
        self.salt = salt
        ids = prompt.ids
        places = prompt.spans.map { ($0, pictures[$0.image]) }
        size = KVCache.blockPositions
    }

    /// Adds a token of the answer.
    mutating func append(_ id: Int32) { ids.append(id) }

    /// What a full block is made of.
    func block(_ index: Int) -> Block {
        let range = index * size..<(index + 1) * size
        var pictures: [Block.Picture] = []
        for (span, digest) in places {
            let first = max(span.start, range.lowerBound)
            guard first < min(span.start + span.count, range.upperBound) else { continue }
            pictures.append(
                Block.Picture(digest: digest, place: first - range.lowerBound, token: first - span.start)
            )
        }
        return Block(salt: salt, ids: Array(ids[range]), pictures: pictures)
    }

    /// The name of a full block: a hash of all that comes up to its end.
    mutating func name(_ index: Int) -> SHA256.Digest {
        while names.count <= index {
            let block = block(names.count)
            var hash = SHA256()
            hash.update((names.last ?? salt).bytes)
            hash.update(block.ids.count, block.pictures.count)
            block.ids.withUnsafeBytes { hash.update($0) }
            for picture in block.pictures {
                hash.update(picture.digest.bytes)
                hash.update(picture.place, picture.token)
            }
            names.append(hash.finish())
        }
        return names[index]
    }
}

/// Keys and values of prompts and answers that were computed, block by block, for requests that begin alike.
///
/// A block is found by the SHA-256 of everything up to its end, which begins with the salt of whoever asks, and its
/// content is compared before it is used. Confined to the thread that runs the model.
package final class PrefixCache {
    private struct Entry {
        let number: Int
        let parent: SHA256.Digest?
        let content: PrefixContent.Block
        var block: CacheBlock
        let depth: Int
        var lastUse: Int
    }

    private var entries: [SHA256.Digest: Entry] = [:]
    private var numbers = 0
    private var uses = 0
    /// Replaced by tests that want two contents of one name.
    var name: (inout PrefixContent, Int) -> SHA256.Digest = { $0.name($1) }

    package init() {}

    /// Blocks that are kept.
    package var count: Int { entries.count }

    /// The blocks that a request begins with, and their numbers.
    ///
    /// - Parameter most: blocks at most.
    package func match(_ content: inout PrefixContent, most: Int) -> [(number: Int, block: CacheBlock)] {
        var found: [(Int, CacheBlock)] = []
        var parent: SHA256.Digest?
        uses += 1
        while found.count < most {
            let key = name(&content, found.count)
            guard let entry = entries[key], entry.parent == parent, entry.depth == found.count,
                entry.content == content.block(found.count)
            else { break }
            entries[key]?.lastUse = uses
            found.append((entry.number, entry.block))
            parent = key
        }
        return found
    }

    /// Keeps the first `count` blocks of a request; what is kept already stays.
    package func publish(_ content: inout PrefixContent, _ blocks: [CacheBlock], count: Int) {
        var parent: SHA256.Digest?
        uses += 1
        for index in 0..<count {
            let key = name(&content, index)
            let block = content.block(index)
            if let entry = entries[key] {
                // Another content under the same name: nothing behind it could be found.
                guard entry.parent == parent, entry.content == block else { return }
                entries[key]?.lastUse = uses
            } else {
                numbers += 1
                entries[key] = Entry(
                    number: numbers,
                    parent: parent,
                    content: block,
                    block: blocks[index],
                    depth: index,
                    lastUse: uses
                )
            }
            parent = key
        }
    }

    /// Gives up the block that was not used for the longest time and that no request reads; ends of prefixes first.
    ///
    /// - Returns: whether there was one.
    package func evict() -> Bool {
        var oldest: (key: SHA256.Digest, entry: Entry)?
        for key in Array(entries.keys) {
            guard let index = entries.index(forKey: key),
                isKnownUniquelyReferenced(&entries.values[index].block)
            else { continue }
            let use = entries.values[index].lastUse
            let depth = entries.values[index].depth
            if let known = oldest, (use, -depth) >= (known.entry.lastUse, -known.entry.depth) { continue }
            oldest = (key, entries.values[index])
        }
        guard let key = oldest?.key else { return false }
        oldest = nil
        entries[key] = nil
        return true
    }
}
