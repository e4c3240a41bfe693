/// Byte-level byte-pair encoding from a Hugging Face `tokenizer.json`, with its results to the id.
///
/// Immutable; one value serves any number of threads. Time is linear in the text but for long pieces without a break,
/// which take n log n.
package struct Tokenizer: Sendable {
    private let encoder: BytePairEncoder
    private let preTokenizer: PreTokenizer
    private let rawFinder: AddedTokenFinder
    private let normalizedFinder: AddedTokenFinder
    private let vocabulary: Vocabulary
    private let isByteLevel: Bool
    private let decodesBytes: Bool
    private let unknownID: Int32?
    private let prefix: [Int32]
    private let suffix: [Int32]
    /// Bytes of all tokens one after the other; token `id` has those from `starts[id]` to `starts[id + 1]`.
    private let texts: [UInt8]
    private let starts: [Int32]
    private let isKnown: [Bool]
    private let special: [Bool]
    private let addedIDs: [ByteKey: Int32]
    /// Tokens with a text of their own, in the file's order.
    package let added: [AddedToken]
    /// Whether texts may hold the marks of `GuardedText`, which are left out when the text is encoded.
    package var removesGuards = false

    /// Reads a `tokenizer.json`.
    ///
    /// - Parameters:
    ///   - file: its name, for messages.
    ///   - special: texts that are special tokens, whatever the file says of them.
    /// - Throws: `TokenizerError`.
    package init(json bytes: [UInt8], file: String, special: [String] = []) throws(TokenizerError) {
        let parts = try TokenizerFile(bytes, name: file, special: special)
        try self.init(parts)
    }

    init(_ parts: TokenizerFile) throws(TokenizerError) {
        let vocabulary = parts.vocabulary
        var merges = MergeTable(capacity: parts.merges.count)
        var joined: [UInt8] = []
        for (rank, merge) in parts.merges.enumerated() {
            func id(_ text: [UInt8], _ what: String) throws(TokenizerError) -> Int32 {
                if let id = vocabulary.id(text) { return id }
                throw .badMerge(
                    file: parts.name,
                    index: rank,
                    expected: "\(what) of the vocabulary",
                    found: "'\(String(decoding: text.prefix(100), as: UTF8.self))'"
                )
            }
            joined.removeAll(keepingCapacity: true)
            joined.append(contentsOf: merge.left)
            joined.append(contentsOf: merge.right)
            merges.add(
                try id(merge.left, "a token"),
                try id(merge.right, "a token"),
                rank: rank,
                result: try id(joined, "a result")
            )
        }

        var byteTokens = [Int32](repeating: -1, count: 256)
        for byte in 0..<256 {
            if let scalar = Unicode.Scalar(ByteAlphabet.points[byte]),
                let id = vocabulary.id(Array(String(scalar).utf8))
            {
                byteTokens[byte] = id
            }
        }
        var size = 0
        vocabulary.visit { size = max(size, Int($1) + 1) }
        for token in parts.added { size = max(size, Int(token.id) + 1) }
        var tokens = [[UInt8]?](repeating: nil, count: size)
        var whole: [ByteKey: Int32]? = parts.ignoresMerges ? [:] : nil
        vocabulary.visit { text, id in
            let plain = ByteAlphabet.decode(Array(text))
            tokens[Int(id)] = parts.decodesBytes ? plain ?? Array(text) : Array(text)
            if whole != nil, let plain { whole?[ByteKey(plain)] = id }
        }
        var special = [Bool](repeating: false, count: size)
        var addedIDs: [ByteKey: Int32] = [:]
        for token in parts.added {
            tokens[Int(token.id)] =
                parts.decodesBytes ? ByteAlphabet.decode(token.text) ?? token.text : token.text
            if token.isSpecial { special[Int(token.id)] = true }
            addedIDs[ByteKey(token.text)] = token.id
        }
        var texts: [UInt8] = []
        var starts: [Int32] = [0]
        starts.reserveCapacity(size + 1)
        for token in tokens {
            texts.append(contentsOf: token ?? [])
            starts.append(Int32(texts.count))
        }

        self.vocabulary = vocabulary
        self.texts = texts
        self.starts = starts
        self.special = special
        self.addedIDs = addedIDs
        isKnown = tokens.map { $0 != nil }
        encoder = BytePairEncoder(byteTokens: byteTokens, merges: merges, whole: whole)
        preTokenizer = parts.preTokenizer
        rawFinder = AddedTokenFinder(parts.added.filter { !$0.isNormalized })
        normalizedFinder = AddedTokenFinder(parts.added.filter(\.isNormalized))
        isByteLevel = parts.isByteLevel
        decodesBytes = parts.decodesBytes
        unknownID = parts.unknownToken.flatMap { vocabulary.id(Array($0.utf8)) }
        prefix = parts.prefix
        suffix = parts.suffix
        added = parts.added
    }

    /// The name that GGUF files have for the rule that cuts texts; nil for a rule without one.
    package var preTokenizerName: String? { preTokenizer.knownName }

    /// Number of merges.
    package var mergeCount: Int { encoder.mergeCount }

    /// One more than the largest id.
    package var vocabularySize: Int { special.count }

    /// The id of a token by its text as the file spells it: an added token, or one of the vocabulary.
    package func tokenID(of text: String) -> Int32? {
        let bytes = Array(text.utf8)
        return addedIDs[ByteKey(bytes)] ?? vocabulary.id(bytes)
    }

    /// Whether an id is a special token: not shown where special tokens are skipped.
    package func isSpecial(_ id: Int32) -> Bool { id >= 0 && Int(id) < special.count && special[Int(id)] }

    /// The bytes that a token stands for; none for an id that is not known.
    package func bytes(of id: Int32) -> ArraySlice<UInt8> {
        guard id >= 0, Int(id) < special.count else { return [] }
        return texts[Int(starts[Int(id)])..<Int(starts[Int(id) + 1])]
    }

    // MARK: Encoding

    /// The ids of a text.
    ///
    /// - Parameters:
    ///   - addsSpecial: whether the file's template puts tokens around the text.
    ///   - parsesSpecial: whether special tokens written in the text become those tokens; if not, they are text.
    /// - Throws: `TokenizerError.patternLimit` from a pattern that only this file has.
    package func encode(
        _ text: String,
        addsSpecial: Bool = false,
        parsesSpecial: Bool = true
    ) throws(TokenizerError) -> [Int32] {
        try encode(bytes: Array(text.utf8), addsSpecial: addsSpecial, parsesSpecial: parsesSpecial)
    }

    private func encode(
        bytes text: [UInt8],
        addsSpecial: Bool,
        parsesSpecial: Bool
    ) throws(TokenizerError) -> [Int32] {
        var ids: [Int32] = addsSpecial ? prefix : []
        ids.reserveCapacity(text.count / 3 + 8)
        var scratch = BytePairEncoder.Scratch()
        try text.span.withUnsafeBufferPointer { (bytes) throws(TokenizerError) in
            var start = 0
            for match in rawFinder.matches(bytes, 0..<bytes.count, parsesSpecial: parsesSpecial) {
                if removesGuards && GuardedText.isGuarded(bytes, match.range.lowerBound) { continue }
                try encodeNormalized(bytes, start..<match.range.lowerBound, parsesSpecial, &ids, &scratch)
                ids.append(match.id)
                start = match.range.upperBound
            }
            try encodeNormalized(bytes, start..<bytes.count, parsesSpecial, &ids, &scratch)
        }
        if addsSpecial { ids += suffix }
        return ids
    }

    private func encodeNormalized(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ range: Range<Int>,
        _ parsesSpecial: Bool,
        _ ids: inout [Int32],
        _ scratch: inout BytePairEncoder.Scratch
    ) throws(TokenizerError) {
        var start = range.lowerBound
        if !normalizedFinder.isEmpty {
            for match in normalizedFinder.matches(bytes, range, parsesSpecial: parsesSpecial) {
                if removesGuards && GuardedText.isGuarded(bytes, match.range.lowerBound) { continue }
                try encodePlain(bytes, start..<match.range.lowerBound, &ids, &scratch)
                ids.append(match.id)
                start = match.range.upperBound
            }
        }
        try encodePlain(bytes, start..<range.upperBound, &ids, &scratch)
    }

    private func encodePlain(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ range: Range<Int>,
        _ ids: inout [Int32],
        _ scratch: inout BytePairEncoder.Scratch
    ) throws(TokenizerError) {
        guard removesGuards, let plain = GuardedText.plain(bytes, range) else {
            return try encodePieces(bytes, range, &ids, &scratch)
        }
        try plain.span.withUnsafeBufferPointer { (bytes) throws(TokenizerError) in
            try encodePieces(bytes, 0..<bytes.count, &ids, &scratch)
        }
    }

    private func encodePieces(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ range: Range<Int>,
        _ ids: inout [Int32],
        _ scratch: inout BytePairEncoder.Scratch
    ) throws(TokenizerError) {
        try preTokenizer.split(bytes, range) { (piece) throws(TokenizerError) in
            let part = UnsafeBufferPointer(rebasing: bytes[piece])
            if isByteLevel {
                encoder.encode(part, into: &ids, &scratch)
            } else {
                encoder.encode(symbols: characters(part), into: &ids, &scratch)
            }
        }
    }

    /// Tokens of single characters, for vocabularies that do not spell bytes.
    private func characters(_ piece: UnsafeBufferPointer<UInt8>) -> [Int32] {
        var symbols: [Int32] = []
        var index = 0
        while index < piece.count {
            let length = UTF8Scan.decode(piece, index).length
            if let id = vocabulary.id(UnsafeBufferPointer(rebasing: piece[index..<index + length]))
                ?? unknownID
            {
                symbols.append(id)
            }
            index += length
        }
        return symbols
    }

    // MARK: Decoding

    /// Whether tokens spell texts that are joined by spaces: the file names no decoder.
    package var joinsBySpaces: Bool { !decodesBytes }

    /// Whether an id has a text at all.
    package func decodes(_ id: Int32) -> Bool { id >= 0 && Int(id) < isKnown.count && isKnown[Int(id)] }

    /// The text of ids.
    ///
    /// Malformed UTF-8 becomes U+FFFD; ids that are not known become nothing.
    package func decode(_ ids: [Int32], skipsSpecial: Bool = false) -> String {
        var bytes: [UInt8] = []
        var isFirst = true
        for id in ids where decodes(id) && !(skipsSpecial && isSpecial(id)) {
            if joinsBySpaces && !isFirst { bytes.append(0x20) }
            isFirst = false
            bytes.append(contentsOf: self.bytes(of: id))
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
