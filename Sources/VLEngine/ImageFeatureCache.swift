/// Where encoded pictures are kept beyond memory and beyond one run.
package protocol FeatureStore: AnyObject {
    /// A picture's embeddings, `count` values; nil if there are none, or none that are whole.
    func load(_ digest: SHA256.Digest, count: Int) -> [Float]?
    /// Keeps a picture's embeddings, as well as it can.
    func save(_ values: [Float], for digest: SHA256.Digest)
}

/// Token embeddings of pictures that were encoded already, by the pictures' content.
///
/// Those that were not used for the longest time leave when the budget is reached. Confined to the thread that runs
/// the model.
package final class ImageFeatureCache {
    private struct Entry {
        let values: [Float]
        var lastUse: Int
    }

    /// Most bytes that are kept.
    package let budget: Int
    /// Bytes that are kept now.
    package private(set) var byteCount = 0
    /// Pictures that were found, and those that were not.
    package private(set) var hits = 0
    package private(set) var misses = 0
    private var entries: [ImageKey: Entry] = [:]
    private var uses = 0

    package init(budget: Int) { self.budget = budget }

    /// Pictures that are kept.
    package var count: Int { entries.count }

    /// Whether a picture is kept; this is no use of it.
    package func contains(_ key: ImageKey) -> Bool { entries[key] != nil }

    /// The embeddings of a picture, [tokens, hidden].
    package func features(_ key: ImageKey) -> [Float]? {
        guard entries[key] != nil else {
            misses += 1
            return nil
        }
        hits += 1
        uses += 1
        entries[key]?.lastUse = uses
        return entries[key]?.values
    }

    /// Keeps the embeddings of a picture, unless they are larger than the whole budget.
    package func store(_ values: [Float], for key: ImageKey) {
        remove(key)
        let size = Self.size(values)
        guard size <= budget else { return }
        while byteCount + size > budget, let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse })
        {
            remove(oldest.key)
        }
        uses += 1
        entries[key] = Entry(values: values, lastUse: uses)
        byteCount += size
    }

    private func remove(_ key: ImageKey) {
        if let entry = entries.removeValue(forKey: key) { byteCount -= Self.size(entry.values) }
    }

    private static func size(_ values: [Float]) -> Int { values.count * MemoryLayout<Float>.size }
}
