/// The tokens that are still possible while a token is chosen, in the order of their ids.
///
/// Nothing is sorted: what to keep is found by counting values into buckets by their leading bits, then those of the
/// bucket in question by the bits that follow. That takes a few passes over the vocabulary, whatever its values.
///
/// Only additions, multiplications, divisions and comparisons in a fixed order are used, so that a machine's
/// mathematical library has no influence on the choice.
struct Candidates: Sendable {
    /// First scores, then (after `weigh`) probabilities in relation to the best one's.
    ///
    /// Behind the first `count` come values of tokens that are not possible, up to a whole vector.
    private var values: [Float] = []
    /// The token of each value, unless `isWhole`.
    private var ids: [Int32] = []
    private var count = 0
    /// Whether the value at a place is the token of that number: nothing has been removed yet.
    private var isWhole = true
    private var counts: [Int32] = []
    private var masses: [Double] = []

    private static let lanes = 8
    private static let valueSize = MemoryLayout<Float>.size
    /// Vectors that are added in single precision before the sum goes on in double precision.
    private static let vectorsPerSum = 16
    /// Buckets of a pass of `keepBest`: 12, 10 and 10 of 32 bits.
    private static let scoreParts: [(shift: UInt32, bits: UInt32)] = [(20, 12), (10, 10), (0, 10)]
    /// Buckets of a pass of `keepMass`; no weight has one of the two highest bits.
    private static let weightParts: [(shift: UInt32, bits: UInt32)] = [(20, 10), (10, 10), (0, 10)]

    // MARK: Scores

    /// Takes the logits of a vocabulary, changed by penalties, and gives `body` a look at them.
    mutating func load<Result>(
        _ logits: UnsafeBufferPointer<Float>,
        _ penalties: Penalties,
        _ body: (UnsafeBufferPointer<Float>) -> Result
    ) -> Result {
        let size = Self.padded(logits.count)
        if values.count != size {
            values = [Float](repeating: -.infinity, count: size)
            ids = [Int32](repeating: 0, count: size)
            counts = [Int32](repeating: 0, count: 1 << 12)
            masses = [Double](repeating: 0, count: 1 << 10)
        }
        count = logits.count
        isWhole = true
        return values.withUnsafeMutableBufferPointer { values in
            let scores = UnsafeMutableBufferPointer(rebasing: values[..<logits.count])
            _ = scores.update(fromContentsOf: logits)
            values[logits.count...].update(repeating: -.infinity)
            penalties.apply(to: scores)
            return body(UnsafeBufferPointer(scores))
        }
    }

    /// Takes the logits of a vocabulary, changed by penalties and divided by the temperature (unless it is 0).
    mutating func load(_ logits: UnsafeBufferPointer<Float>, _ penalties: Penalties, temperature: Float) {
        let top = load(logits, penalties) { Self.greatest($0) }
        guard temperature > 0, temperature != 1, top > -.infinity else { return }
        values.withUnsafeMutableBufferPointer { values in
            if (top / temperature).isFinite {
                for index in values.indices { values[index] /= temperature }
            } else {
                // So little heat is left that only the best can be chosen.
                for index in values.indices { values[index] = values[index] == top ? 0 : -.infinity }
            }
        }
    }

    /// Keeps the `k` tokens of the greatest scores, and those whose score is the last one's.
    mutating func keepBest(_ k: Int) {
        guard k < count else { return }
        var prefix: UInt32 = 0
        var known: UInt32 = 0
        var missing = k
        for (shift, bits) in Self.scoreParts {
            let mask = UInt32(1) << bits - 1
            countScores(prefix: prefix, known: known, shift: shift, mask: mask)
            var bucket = Int(mask)
            while bucket >= 0, Int(counts[bucket]) < missing {
                missing -= Int(counts[bucket])
                bucket -= 1
            }
            // Fewer than k have a score at all.
            if bucket < 0 { return }
            prefix |= UInt32(bucket) << shift
            known |= mask << shift
        }
        let last = Float(bitPattern: prefix & 0x8000_0000 != 0 ? prefix & 0x7fff_ffff : ~prefix)
        compact(padding: -.infinity) { $0 >= last }
    }

    /// Counts the scores whose ordered bits are `prefix` under `known` by the bits that follow.
    private mutating func countScores(prefix: UInt32, known: UInt32, shift: UInt32, mask: UInt32) {
        let size = count
        counts.withUnsafeMutableBufferPointer { counts in
            counts.update(repeating: 0)
            values.withUnsafeBufferPointer { values in
                // The comparison excludes what is no number, too.
                for value in values[..<size] where value > -.infinity {
                    let key = Self.ordered(value)
                    if key & known == prefix { counts[Int(key >> shift & mask)] &+= 1 }
                }
            }
        }
    }

    /// A score's bits such that whole numbers compare as the scores do.
    @inline(__always)
    private static func ordered(_ value: Float) -> UInt32 {
        let bits = value.bitPattern
        return bits & 0x8000_0000 != 0 ? ~bits : bits | 0x8000_0000
    }

    // MARK: Weights

    /// Turns scores into weights: the exponential of their distance to the greatest one.
    mutating func weigh() {
        let size = Self.padded(count)
        values.withUnsafeMutableBytes { bytes in
            let bytes = UnsafeMutableRawBufferPointer(rebasing: bytes[..<(size * Self.valueSize)])
            let values = bytes.bindMemory(to: Float.self)
            let top = Self.greatest(UnsafeBufferPointer(values))
            if top == .infinity || top == -.infinity {
                for index in values.indices { values[index] = values[index] == top && top > 0 ? 1 : 0 }
                // Not one score is a number: some token has to be chosen.
                if top < 0, size > 0 { values[0] = 1 }
                return
            }
            for offset in stride(from: 0, to: bytes.count, by: Self.lanes * Self.valueSize) {
                let scores = bytes.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
                bytes.storeBytes(
                    of: Self.exponential(scores - top),
                    toByteOffset: offset,
                    as: SIMD8<Float>.self
                )
            }
        }
    }

    /// Keeps the tokens of the greatest weights until the ones before reach the share `p`; at least one stays.
    ///
    /// Of equal weights at the border those of the greatest ids stay, as in transformers, which removes from the
    /// beginning of an ascending order.
    mutating func keepMass(_ p: Float) {
        let wanted = Double(p) * total
        var before = 0.0
        var prefix: UInt32 = 0
        var known: UInt32 = 0
        for (shift, bits) in Self.weightParts {
            let mask = UInt32(1) << bits - 1
            sumWeights(prefix: prefix, known: known, shift: shift, mask: mask)
            // The lowest bucket that holds anything is the last one that can be the border.
            let lowest = masses[...Int(mask)].firstIndex { $0 > 0 } ?? 0
            var bucket = Int(mask)
            while bucket > lowest, masses[bucket] == 0 || before + masses[bucket] < wanted {
                before += masses[bucket]
                bucket -= 1
            }
            prefix |= UInt32(bucket) << shift
            known |= mask << shift
        }
        let last = Float(bitPattern: prefix)
        let equal = values[..<count].count { $0 == last }
        // The first of the equal ones stays if it begins below the wanted mass, and so on; one does in any case.
        let kept = min(Double(equal), (wanted - before) / Double(last))
        var removed = equal - max(1, Int(kept) + (kept > Double(Int(kept)) ? 1 : 0))
        compact(padding: 0) { weight in
            if weight != last { return weight > last }
            removed -= 1
            return removed < 0
        }
    }

    /// Sums the weights whose bits are `prefix` under `known` by the bits that follow.
    private mutating func sumWeights(prefix: UInt32, known: UInt32, shift: UInt32, mask: UInt32) {
        let size = count
        masses.withUnsafeMutableBufferPointer { masses in
            masses.update(repeating: 0)
            values.withUnsafeBufferPointer { values in
                for value in values[..<size] where value > 0 {
                    let bits = value.bitPattern
                    if bits & known == prefix { masses[Int(bits >> shift & mask)] += Double(value) }
                }
            }
        }
    }

    /// Keeps the tokens of at least `share` of the best one's probability.
    mutating func keepShare(_ share: Float) {
        // The best one's weight is 1.
        let least = min(share, 1)
        compact(padding: 0) { $0 >= least }
    }

    /// The sum of the weights.
    private var total: Double {
        values.withUnsafeBytes { bytes in
            let step = Self.lanes * Self.valueSize
            let end = Self.padded(count) * Self.valueSize
            var total = 0.0
            for start in stride(from: 0, to: end, by: step * Self.vectorsPerSum) {
                var sum = SIMD8<Float>.zero
                let part = min(end, start + step * Self.vectorsPerSum)
                for offset in stride(from: start, to: part, by: step) {
                    sum += bytes.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
                }
                total += Double(sum.sum())
            }
            return total
        }
    }

    // MARK: Choice

    /// Chooses a token by its weight.
    ///
    /// - Parameter place: a random number from 0 up to but not including 1.
    func draw(_ place: Double) -> Int32 {
        var rest = place * total
        let last = values.withUnsafeBufferPointer { values in
            var last = 0
            for index in 0..<count where values[index] > 0 {
                last = index
                rest -= Double(values[index])
                if rest < 0 { break }
            }
            return last
        }
        return isWhole ? Int32(last) : ids[last]
    }

    /// The probability of each token of the vocabulary.
    func probabilities(_ vocabularySize: Int) -> [Float] {
        var result = [Float](repeating: 0, count: vocabularySize)
        let total = total
        for index in 0..<count {
            result[isWhole ? index : Int(ids[index])] = Float(Double(values[index]) / total)
        }
        return result
    }

    // MARK: Helpers

    private static func padded(_ count: Int) -> Int { (count + lanes - 1) / lanes * lanes }

    /// Drops what does not pass; the order stays.
    private mutating func compact(padding: Float, _ passes: (Float) -> Bool) {
        let size = count
        let isWhole = isWhole
        count = values.withUnsafeMutableBufferPointer { values in
            ids.withUnsafeMutableBufferPointer { ids in
                var kept = 0
                for index in 0..<size where passes(values[index]) {
                    values[kept] = values[index]
                    ids[kept] = isWhole ? Int32(index) : ids[index]
                    kept += 1
                }
                for index in kept..<Self.padded(kept) { values[index] = padding }
                return kept
            }
        }
        self.isWhole = false
    }

    /// The greatest score, minus infinity if there is none; what is no number is passed over.
    static func greatest(_ scores: UnsafeBufferPointer<Float>) -> Float {
        let bytes = UnsafeRawBufferPointer(scores)
        let whole = scores.count / lanes * lanes
        var best = SIMD8<Float>(repeating: -.infinity)
        for offset in stride(from: 0, to: whole * valueSize, by: lanes * valueSize) {
            let next = bytes.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
            best.replace(with: next, where: next .> best)
        }
        var top = -Float.infinity
        for lane in best.indices where best[lane] > top { top = best[lane] }
        for score in scores[whole...] where score > top { top = score }
        return top
    }

    /// The exponential of numbers up to 0, within two units in the last place; 0 below -87 and for what is no number.
    ///
    /// Powers of 2 by the exponent's bits, the rest (at most half of ln 2 in size) by a polynomial.
    @inline(__always)
    private static func exponential(_ x: SIMD8<Float>) -> SIMD8<Float> {
        let least = SIMD8<Float>(repeating: -87)
        let isRegular = x .>= least
        let y = least.replacing(with: x, where: isRegular)
        // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits.
        let shifted = y * 1.442_695_04 + 12_582_912
        let power = shifted - 12_582_912
        // ln 2 in two parts; the products with the first one are exact.
        let rest = y - power * 0.693_359_375 - power * -2.121_944_4e-4
        var sum = SIMD8<Float>(repeating: 1.0 / 5040)
        sum = sum * rest + 1.0 / 720
        sum = sum * rest + 1.0 / 120
        sum = sum * rest + 1.0 / 24
        sum = sum * rest + 1.0 / 6
        sum = sum * rest + 0.5
        sum = sum * rest * rest + rest + 1
        let bits = unsafeBitCast(shifted, to: SIMD8<UInt32>.self) &<< 23 &+ (127 << 23)
        let scale = unsafeBitCast(bits, to: SIMD8<Float>.self)
        return SIMD8<Float>.zero.replacing(with: sum * scale, where: isRegular)
    }
}
