import VLJSON

/// Texts in one block of memory: a vocabulary, a list of merges.
package struct TextList: Sendable {
    private var bytes: [UInt8] = []
    private var ends: [Int] = []

    /// An empty list with room for so many texts of so many bytes in all.
    package init(capacity: Int = 0, byteCount: Int = 0) {
        ends.reserveCapacity(capacity)
        bytes.reserveCapacity(byteCount)
    }

    /// Appends a text.
    package mutating func append(_ text: UnsafeBufferPointer<UInt8>) {
        bytes.append(contentsOf: text)
        ends.append(bytes.count)
    }

    /// Appends a text.
    package mutating func append(_ text: String) {
        bytes.append(contentsOf: text.utf8)
        ends.append(bytes.count)
    }

    /// Number of texts.
    package var count: Int { ends.count }

    /// The bytes of a text.
    package subscript(index: Int) -> ArraySlice<UInt8> {
        bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]]
    }

    /// The first text that is no UTF-8 by itself; nil if all are.
    var firstMalformed: Int? {
        // If all of them together are UTF-8 and none begins inside a character, each is.
        let isValid = bytes.withUnsafeBufferPointer { String(validating: $0, as: UTF8.self) != nil }
        for index in ends.indices {
            let text = self[index]
            if let first = text.first, first & 0xc0 == 0x80 { return index }
            if !isValid, String(validating: text, as: UTF8.self) == nil { return index }
        }
        return nil
    }
}

/// A byte-level vocabulary as GGUF files hold it: tokens in the order of their ids, merges in the order of their ranks.
package struct ListedVocabulary: Sendable {
    /// What a token is (`tokenizer.ggml.token_type`).
    package enum Kind: Int, Sendable {
        case normal = 1
        case unknown, control, userDefined, unused, byte
    }

    /// The file's name, for messages.
    package var file: String
    package var tokens: TextList
    /// The kinds of all tokens, as many as there are tokens; none if all are normal.
    package var kinds: [Int]
    /// Merges, "left right".
    package var merges: TextList
    /// The rule that cuts texts into pieces, by its name in GGUF files.
    package var preTokenizer: String
    /// The token before each text; nil for none.
    package var prefix: Int32?
    /// The token behind each text; nil for none.
    package var suffix: Int32?

    package init(
        file: String,
        tokens: TextList,
        kinds: [Int] = [],
        merges: TextList,
        preTokenizer: String,
        prefix: Int32? = nil,
        suffix: Int32? = nil
    ) {
        self.file = file
        self.tokens = tokens
        self.kinds = kinds
        self.merges = merges
        self.preTokenizer = preTokenizer
        self.prefix = prefix
        self.suffix = suffix
    }
}

extension Tokenizer {
    /// A tokenizer of a vocabulary that is given as lists.
    ///
    /// - Throws: `TokenizerError`.
    package init(_ listed: ListedVocabulary) throws(TokenizerError) {
        try self.init(TokenizerFile(listed))
    }
}

extension TokenizerFile {
    /// Checks the lists and takes them over.
    init(_ listed: ListedVocabulary) throws(TokenizerError) {
        self.init(named: listed.file)
        guard let rule = try PreTokenizer.named(listed.preTokenizer, file: name) else {
            throw .unsupported(
                file: name,
                part: "tokenizer.ggml.pre",
                expected: "one of " + PreTokenizer.knownNames.joined(separator: ", "),
                found: listed.preTokenizer.isEmpty ? "nothing" : "'\(listed.preTokenizer.excerpt(limit: 40))'"
            )
        }
        preTokenizer = PreTokenizer(steps: rule.steps)
        ignoresMerges = rule.ignoresMerges
        isByteLevel = true
        decodesBytes = true
        let count = listed.tokens.count
        guard count > 0, count <= Int(Self.idLimit) else {
            throw .unsupported(
                file: name,
                part: "tokenizer.ggml.tokens",
                expected: "1 to \(Self.idLimit) tokens",
                found: "\(count)"
            )
        }
        guard listed.kinds.isEmpty || listed.kinds.count == count else {
            throw .unsupported(
                file: name,
                part: "tokenizer.ggml.token_type",
                expected: "\(count) types, one for each token",
                found: "\(listed.kinds.count)"
            )
        }
        try takeTokens(listed)
        try takeMerges(listed.merges)
        func boundary(_ id: Int32?) throws(TokenizerError) -> [Int32] {
            guard let id else { return [] }
            guard id >= 0, Int(id) < count else {
                throw .badID(
                    file: name,
                    token: "begin or end",
                    found: "\(id)",
                    expected: "an id below \(count)"
                )
            }
            return [id]
        }
        prefix = try boundary(listed.prefix)
        suffix = try boundary(listed.suffix)
    }

    private mutating func takeTokens(_ listed: ListedVocabulary) throws(TokenizerError) {
        if let index = listed.tokens.firstMalformed {
            throw .unsupported(
                file: name,
                part: "tokenizer.ggml.tokens[\(index)]",
                expected: "UTF-8",
                found: "other bytes"
            )
        }
        for id in 0..<listed.tokens.count {
            let text = listed.tokens[id]
            let isNew = text.withUnsafeBufferPointer { vocabulary.add($0, id: Int32(id)) }
            guard isNew else {
                throw .badID(
                    file: name,
                    token: String(decoding: text, as: UTF8.self),
                    found: "it twice",
                    expected: "each token once"
                )
            }
            guard !listed.kinds.isEmpty else { continue }
            guard let kind = ListedVocabulary.Kind(rawValue: listed.kinds[id]) else {
                throw .unsupported(
                    file: name,
                    part: "tokenizer.ggml.token_type[\(id)]",
                    expected: "a type from 1 to 6",
                    found: "\(listed.kinds[id])"
                )
            }
            switch kind {
            case .control, .unknown, .userDefined:
                added.append(
                    AddedToken(
                        id: Int32(id),
                        text: Array(text),
                        isSpecial: kind != .userDefined,
                        isNormalized: false,
                        stripsLeft: false,
                        stripsRight: false,
                        isSingleWord: false
                    )
                )
            case .normal, .unused, .byte: break
            }
        }
    }

    private mutating func takeMerges(_ list: TextList) throws(TokenizerError) {
        merges.reserveCapacity(list.count)
        for index in 0..<list.count {
            let line = list[index]
            guard let space = line.firstIndex(of: 0x20), space > line.startIndex,
                space + 1 < line.endIndex, line[(space + 1)...].firstIndex(of: 0x20) == nil
            else {
                throw .badMerge(
                    file: name,
                    index: index,
                    expected: "two parts with a space between",
                    found: "'\(String(decoding: line.prefix(200), as: UTF8.self))'"
                )
            }
            merges.append((Array(line[..<space]), Array(line[(space + 1)...])))
        }
    }
}
