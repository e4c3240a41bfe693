import VLFormats
import VLJSON
import VLModels
import VLTensor
import VLText

/// The report of `inspect`, as tables and as JSON.
struct InspectReport {
    private let found: Inspection
    private let listsTensors: Bool
    private let listsMetadata: Bool
    /// Tensors and metadata that the text shows unless all are asked for.
    private static let shortList = 8

    init(_ found: Inspection, listsTensors: Bool, listsMetadata: Bool) {
        self.found = found
        self.listsTensors = listsTensors
        self.listsMetadata = listsMetadata
    }

    private var format: String {
        switch found.format {
        case .safetensors: "safetensors"
        case .gguf(let version): "GGUF version \(version)"
        }
    }

    // MARK: Text

    var text: String {
        var lines: [String] = []
        func line(_ label: String, _ value: String) {
            lines.append(label + String(repeating: " ", count: max(1, 14 - label.count)) + value)
        }
        let files = found.files.count == 1 ? found.files[0] : "\(found.files.count) files"
        line("file", "\(files.excerpt(limit: 200)) (\(format), \(Self.size(found.bytes)) of tensors)")
        if let name = found.name { line("name", name.excerpt(limit: 100)) }
        if let architecture = found.architecture {
            var detail = ""
            if let facts = found.facts {
                detail = " (\(facts.layers) layers of width \(facts.hiddenSize)"
                if let experts = facts.experts {
                    detail += ", \(experts.chosen) of \(experts.count) experts a token"
                }
                detail += ")"
            }
            line("architecture", architecture.excerpt(limit: 40) + detail)
        }
        if let reason = found.unsupported { line("not supported", reason) }
        if let packing = found.packing {
            line("quantization", "\(packing.summary); \(Self.grouped(found.packedLayers)) layers")
        }
        let active = found.facts.map { "; a token reads \(Self.grouped($0.activeParameters))" } ?? ""
        line("parameters", Self.grouped(found.parameters) + active)
        if let facts = found.facts {
            line("context", "\(Self.grouped(facts.maxPositions)) tokens")
            line(
                "cache",
                "\(Self.grouped(facts.cacheBytes(.bfloat16))) bytes a token in bfloat16, "
                    + "\(Self.grouped(facts.cacheBytes(.float32))) in float32"
            )
        }
        if let license = found.license { line("licence", license.excerpt(limit: 100)) }
        if found.hasChatTemplate {
            line(
                "chat",
                found.chatTemplate ?? "a template that is not known: 'complete' works, 'chat' does not"
            )
        }
        tokenizerLines(line)
        if !found.imageTokens.isEmpty {
            line("image tokens", Self.imageCosts(found.imageTokens))
        }
        lines.append("")
        lines += typeTable
        lines.append("")
        lines += tensorTable
        if listsMetadata, let gguf = found.gguf {
            lines.append("")
            lines += metadataTable(gguf)
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private func tokenizerLines(_ line: (String, String) -> Void) {
        guard let facts = found.tokenizer else { return }
        let tokenizer = facts.tokenizer
        line(
            "tokenizer",
            "\(Self.kind(tokenizer.joinsBySpaces)), \(Self.grouped(tokenizer.vocabularySize)) tokens, "
                + "\(Self.grouped(tokenizer.mergeCount)) merges, cut by "
                + (tokenizer.preTokenizerName ?? "a rule of its own")
        )
        func text(_ id: Int32) -> String {
            "\(id) '\(String(decoding: tokenizer.bytes(of: id), as: UTF8.self).excerpt(limit: 40))'"
        }
        if let begin = facts.begin { line("begin token", text(begin)) }
        if !facts.ends.isEmpty { line("end tokens", facts.ends.map(text).joined(separator: ", ")) }
        let special = tokenizer.added.filter(\.isSpecial).map(\.id)
        if !special.isEmpty {
            let shown = special.prefix(Self.shortList).map(text).joined(separator: ", ")
            line(
                "special tokens",
                "\(special.count): \(shown)" + (special.count > Self.shortList ? ", …" : "")
            )
        }
    }

    private static func kind(_ joinsBySpaces: Bool) -> String {
        joinsBySpaces ? "byte-pair encoding" : "byte-level byte-pair encoding"
    }

    /// "1 x 1 tiles 421, 2 x 1 …", shapes of equal cost together.
    private static func imageCosts(_ costs: [(across: Int, down: Int, tokens: Int)]) -> String {
        costs.map { "\($0.across) x \($0.down): \(grouped($0.tokens))" }.joined(separator: ", ")
    }

    private var typeTable: [String] {
        let rows = found.types.map { total in
            [
                total.dtype.rawValue, "\(total.tensors)", Self.grouped(total.elements),
                Self.grouped(total.bytes),
            ]
        }
        return Self.table(["dtype", "tensors", "parameters", "bytes"], rows, rightFrom: 1)
    }

    private var tensorTable: [String] {
        let shown = listsTensors ? found.tensors[...] : found.tensors.prefix(Self.shortList)
        let rows = shown.map { tensor in
            [
                tensor.name.excerpt(limit: 120), tensor.dtype.rawValue,
                tensor.shape.map(String.init).joined(separator: " x "), Self.grouped(tensor.byteCount),
            ]
        }
        let rest = found.tensors.count - shown.count
        return Self.table(["tensor", "dtype", "shape", "bytes"], rows, rightFrom: 3)
            + (rest > 0 ? ["… and \(rest) more (--tensors lists them)"] : [])
    }

    private func metadataTable(_ gguf: GGUF) -> [String] {
        gguf.pairs.map { pair in
            "\(pair.key.excerpt(limit: 120)) = \(Self.brief(gguf.value(of: pair)))"
        }
    }

    private static func brief(_ value: GGUFValue) -> String {
        switch value {
        case .integer(let number): return "\(number)"
        case .unsigned(let number): return "\(number)"
        case .number(let number): return "\(number)"
        case .bool(let flag): return "\(flag)"
        case .text(let text): return "'\(text.excerpt(limit: 120))'"
        case .array(let array):
            let first = array.prefix(6).map { brief($0) }.joined(separator: ", ")
            return "\(array.count) x \(array.element.name): \(first)" + (array.count > 6 ? ", …" : "")
        }
    }

    private static func table(_ header: [String], _ rows: [[String]], rightFrom: Int) -> [String] {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                if column > 0 { line += "  " }
                line += column >= rightFrom ? padding + cell : cell + padding
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }

    /// A number with spaces between its thousands.
    private static func grouped(_ number: Int) -> String {
        var digits = String(number.magnitude)
        var groups: [String] = []
        while digits.count > 3 {
            groups.insert(String(digits.suffix(3)), at: 0)
            digits.removeLast(3)
        }
        return (number < 0 ? "-" : "") + ([digits] + groups).joined(separator: " ")
    }

    private static func size(_ bytes: Int) -> String {
        let units = ["bytes", "kB", "MB", "GB", "TB"]
        var value = Double(bytes)
        var unit = 0
        while value >= 1000, unit + 1 < units.count {
            value /= 1000
            unit += 1
        }
        return unit == 0 ? "\(bytes) bytes" : "\((value * 10).rounded() / 10) \(units[unit])"
    }

    // MARK: JSON

    private static func int(_ number: Int) -> JSONValue { .integer(Int64(number)) }
    private static func text(_ text: String?) -> JSONValue { text.map { .string($0) } ?? .null }

    var json: String {
        var object: JSONObject = [
            "path": .string(found.path),
            "format": .string(found.format == .safetensors ? "safetensors" : "gguf"),
            "files": .array(found.files.map { .string($0) }),
            "name": Self.text(found.name),
            "architecture": Self.text(found.architecture),
            "supported": .bool(found.facts != nil && found.unsupported == nil),
            "unsupported": Self.text(found.unsupported),
            "license": Self.text(found.license),
            "parameters": [
                "total": Self.int(found.parameters),
                "active": found.facts.map { Self.int($0.activeParameters) } ?? .null,
            ],
            "bytes": Self.int(found.bytes),
            "context_length": found.facts.map { Self.int($0.maxPositions) } ?? .null,
            "layers": found.facts.map { Self.int($0.layers) } ?? .null,
            "hidden_size": found.facts.map { Self.int($0.hiddenSize) } ?? .null,
            "vocabulary_size": found.facts.map { Self.int($0.vocabularySize) } ?? .null,
            "experts": found.facts?.experts.map {
                ["count": Self.int($0.count), "chosen": Self.int($0.chosen)]
            } ?? .null,
            "cache_bytes_per_token": found.facts.map {
                ["bf16": Self.int($0.cacheBytes(.bfloat16)), "f32": Self.int($0.cacheBytes(.float32))]
            } ?? .null,
            "chat_template": Self.text(found.chatTemplate),
            "has_chat_template": .bool(found.hasChatTemplate),
            "image_tokens": .array(
                found.imageTokens.map {
                    [
                        "tiles": .array([Self.int($0.across), Self.int($0.down)]),
                        "tokens": Self.int($0.tokens),
                    ]
                }
            ),
            "quantization": packingJSON,
            "tokenizer": tokenizerJSON,
            "dtypes": .array(
                found.types.map {
                    [
                        "dtype": .string($0.dtype.rawValue), "tensors": Self.int($0.tensors),
                        "parameters": Self.int($0.elements), "bytes": Self.int($0.bytes),
                    ]
                }
            ),
            "tensors": .array(
                found.tensors.map {
                    [
                        "name": .string($0.name), "dtype": .string($0.dtype.rawValue),
                        "shape": .array($0.shape.map(Self.int)), "bytes": Self.int($0.byteCount),
                        "file": .string($0.file),
                    ]
                }
            ),
        ]
        if case .gguf(let version) = found.format { object["version"] = Self.int(version) }
        if listsMetadata, let gguf = found.gguf {
            var metadata = JSONObject()
            for pair in gguf.pairs { metadata[pair.key] = Self.json(gguf.value(of: pair)) }
            object["metadata"] = .object(metadata)
        }
        return String(decoding: JSONWriter.encode(.object(object)), as: UTF8.self) + "\n"
    }

    private var packingJSON: JSONValue {
        guard let packing = found.packing else { return .null }
        return [
            "method": .string(packing.method),
            "layout": .string(packing.layout.rawValue),
            "bits": Self.int(packing.bits),
            "group_size": packing.groupSize.map(Self.int) ?? .null,
            "act_order": .bool(packing.hasActOrder),
            "symmetric": packing.isSymmetric.map { .bool($0) } ?? .null,
            "layers": Self.int(found.packedLayers),
        ]
    }

    private var tokenizerJSON: JSONValue {
        guard let facts = found.tokenizer else { return .null }
        let tokenizer = facts.tokenizer
        func token(_ id: Int32) -> JSONValue {
            [
                "id": Self.int(Int(id)),
                "text": .string(String(decoding: tokenizer.bytes(of: id), as: UTF8.self)),
            ]
        }
        return [
            "kind": .string(Self.kind(tokenizer.joinsBySpaces)),
            "vocabulary_size": Self.int(tokenizer.vocabularySize),
            "merges": Self.int(tokenizer.mergeCount),
            "pre_tokenizer": Self.text(tokenizer.preTokenizerName),
            "begin": facts.begin.map(token) ?? .null,
            "ends": .array(facts.ends.map(token)),
            "special_tokens": .array(tokenizer.added.filter(\.isSpecial).map { token($0.id) }),
        ]
    }

    private static func json(_ value: GGUFValue) -> JSONValue {
        switch value {
        case .integer(let number): .integer(number)
        case .unsigned(let number): .number(Double(number))
        // JSON knows no infinities and no NaN.
        case .number(let number): number.isFinite ? .number(number) : .string("\(number)")
        case .bool(let flag): .bool(flag)
        case .text(let text): .string(text)
        case .array(let array):
            [
                "type": .string(array.element.name), "count": int(array.count),
                "first": .array(array.prefix(6).map { json($0) }),
            ]
        }
    }
}
