import VLText

/// What grammars are written in: the 256 bytes, and behind them symbols for tokens that are more than their text.
package enum GrammarSymbol {
    package static let openReference = 256
    package static let closeReference = 257
    package static let openDetection = 258
    package static let closeDetection = 259
    /// Any other special token.
    package static let control = 260
    /// A token without a text: a row of the model that the tokenizer does not know.
    package static let void = 261
    /// How many symbols there are.
    package static let count = 262

    /// The tags of grounding, by their symbols from `openReference` on.
    package static let tags = ["<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>"]
}

/// A model's vocabulary as a tree of spellings, in which all tokens that begin alike are refused or passed together.
///
/// The tree's nodes stand in arrays in the order of a walk from the root, children by symbol, so that a walk goes
/// straight through memory and leaves a branch by one jump. Immutable; one value serves any number of threads.
package final class Lexicon: Sendable {
    /// Tokens that the model knows, whether the tokenizer does or not.
    package let vocabularySize: Int
    /// Tokens that end an answer, in ascending order; they are no part of the tree.
    package let endTokens: [Int32]
    /// Symbols that a token spells alone.
    let isSingle: [Bool]
    /// Symbols of the longest token.
    let depth: Int

    /// The symbol that leads to each node of the tree.
    let symbols: [UInt16]
    /// How many symbols lead to each node.
    let depths: [UInt16]
    /// The next node outside each node's branch.
    let skips: [Int32]
    /// The tokens that end at node `i` are `tokens[tokenStarts[i]..<tokenStarts[i + 1]]`.
    let tokenStarts: [Int32]
    let tokens: [Int32]

    /// The nodes behind the root, by their symbols; -1 for none.
    private let firstNodes: [Int32]

    /// The symbols of token `id` are `spellings[spellingStarts[id]..<spellingStarts[id + 1]]`.
    private let spellings: [UInt16]
    private let spellingStarts: [Int32]

    /// Number of nodes.
    var nodeCount: Int { symbols.count }

    /// Reads a tokenizer's vocabulary; takes some tenths of a second for a large one.
    ///
    /// - Parameters:
    ///   - vocabularySize: the model's rows of logits; tokens beyond are left out.
    ///   - endTokens: tokens that end an answer.
    /// - Throws: `GrammarError.tokenizer` for a vocabulary that does not spell bytes.
    package init(
        _ tokenizer: Tokenizer,
        vocabularySize: Int,
        endTokens: [Int32]
    ) throws(GrammarError) {
        guard !tokenizer.joinsBySpaces else { throw .tokenizer }
        self.vocabularySize = vocabularySize
        self.endTokens = endTokens.filter { $0 >= 0 && Int($0) < vocabularySize }.sorted()
        let ends = Set(endTokens)
        var tags: [Int32: Int] = [:]
        for (index, tag) in GrammarSymbol.tags.enumerated() {
            if let id = tokenizer.tokenID(of: tag) { tags[id] = GrammarSymbol.openReference + index }
        }
        var spellings: [UInt16] = []
        var starts: [Int32] = [0]
        starts.reserveCapacity(vocabularySize + 1)
        var order: [Int32] = []
        order.reserveCapacity(vocabularySize)
        for id in 0..<Int32(vocabularySize) {
            if let tag = tags[id] {
                spellings.append(UInt16(tag))
            } else if tokenizer.isSpecial(id) {
                spellings.append(UInt16(GrammarSymbol.control))
            } else {
                let bytes = tokenizer.bytes(of: id)
                if bytes.isEmpty { spellings.append(UInt16(GrammarSymbol.void)) }
                for byte in bytes { spellings.append(UInt16(byte)) }
            }
            starts.append(Int32(spellings.count))
            if !ends.contains(id) { order.append(id) }
        }
        spellings.withUnsafeBufferPointer { spellings in
            starts.withUnsafeBufferPointer { starts in
                func spelling(_ id: Int32) -> UnsafeBufferPointer<UInt16> {
                    UnsafeBufferPointer(rebasing: spellings[Int(starts[Int(id)])..<Int(starts[Int(id) + 1])])
                }
                order.sort { left, right in
                    let a = spelling(left)
                    let b = spelling(right)
                    for index in 0..<min(a.count, b.count) where a[index] != b[index] {
                        return a[index] < b[index]
                    }
                    return a.count == b.count ? left < right : a.count < b.count
                }
            }
        }
        self.spellings = spellings
        spellingStarts = starts
        tokens = order

        var tree = Tree()
        for (place, id) in order.enumerated() {
            tree.add(spellings[Int(starts[Int(id)])..<Int(starts[Int(id) + 1])], place: place)
        }
        tree.finish(count: order.count)
        symbols = tree.symbols
        depths = tree.depths
        skips = tree.skips
        tokenStarts = tree.tokenStarts
        depth = Int(tree.depths.max() ?? 0)
        var isSingle = [Bool](repeating: false, count: GrammarSymbol.count)
        var firstNodes = [Int32](repeating: -1, count: GrammarSymbol.count)
        for node in symbols.indices where depths[node] == 1 {
            firstNodes[Int(symbols[node])] = Int32(node)
            if tokenStarts[node + 1] > tokenStarts[node] { isSingle[Int(symbols[node])] = true }
        }
        self.isSingle = isSingle
        self.firstNodes = firstNodes
    }

    /// Calls `body` with each symbol of a token until it returns false.
    ///
    /// - Returns: whether the token is known and `body` never returned false.
    @inline(__always)
    func spells(_ id: Int32, _ body: (Int) -> Bool) -> Bool {
        guard id >= 0, Int(id) < vocabularySize else { return false }
        for place in Int(spellingStarts[Int(id)])..<Int(spellingStarts[Int(id) + 1]) {
            if !body(Int(spellings[place])) { return false }
        }
        return true
    }

    /// The node behind a symbol; -1 is the root.
    func child(_ node: Int, _ symbol: Int) -> Int? {
        if node < 0 {
            let first = firstNodes[symbol]
            return first < 0 ? nil : Int(first)
        }
        var next = node + 1
        let end = Int(skips[node])
        while next < end {
            if Int(symbols[next]) == symbol { return next }
            next = Int(skips[next])
        }
        return nil
    }

    /// Whether tokens end at a node.
    func hasTokens(_ node: Int) -> Bool { tokenStarts[node] < tokenStarts[node + 1] }

    /// Whether a token ends an answer.
    func isEnd(_ id: Int32) -> Bool { endTokens.contains(id) }
}

/// The tree while it is built from spellings in their order.
private struct Tree {
    var symbols: [UInt16] = []
    var depths: [UInt16] = []
    var skips: [Int32] = []
    var tokenStarts: [Int32] = []
    /// The nodes that lead to the last spelling.
    private var path: [Int] = []

    mutating func add(_ spelling: ArraySlice<UInt16>, place: Int) {
        var common = 0
        while common < path.count, common < spelling.count,
            symbols[path[common]] == spelling[spelling.startIndex + common]
        {
            common += 1
        }
        close(downTo: common)
        for index in common..<spelling.count {
            path.append(symbols.count)
            symbols.append(spelling[spelling.startIndex + index])
            depths.append(UInt16(clamping: index + 1))
            skips.append(0)
            // Nodes on the way have no token: theirs begin where the next one's do.
            tokenStarts.append(Int32(place))
        }
    }

    mutating func finish(count: Int) {
        close(downTo: 0)
        tokenStarts.append(Int32(count))
    }

    private mutating func close(downTo length: Int) {
        while path.count > length { skips[path.removeLast()] = Int32(symbols.count) }
    }
}
