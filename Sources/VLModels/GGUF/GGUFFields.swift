import VLFormats
import VLJSON
import VLText

/// Reads the metadata of a GGUF file with their kinds and ranges; every error names file and key.
struct GGUFFields {
    let gguf: GGUF
    let file: String
    /// All pairs by their keys; arrays are empty here.
    let config: ConfigReader

    init(_ gguf: GGUF, file: String) {
        self.gguf = gguf
        self.file = file
        var object = JSONObject()
        for pair in gguf.pairs {
            switch gguf.value(of: pair) {
            case .integer(let value): object[pair.key] = .integer(value)
            case .unsigned(let value): object[pair.key] = .number(Double(value))
            case .number(let value): object[pair.key] = .number(value)
            case .bool(let value): object[pair.key] = .bool(value)
            case .text(let value): object[pair.key] = .string(value)
            // A stand-in: some other kind than any that is asked for.
            case .array: object[pair.key] = .array([])
            }
        }
        config = ConfigReader(object, file: file)
    }

    /// A text that must be there.
    func text(_ key: String) throws(LoadError) -> String {
        guard let text = try config.string(key) else {
            throw config.error(key, expected: "a text", found: "nothing")
        }
        return text
    }

    /// An array of a type and length; nil if there is none.
    func array(_ key: String, of type: GGUFType, count: Int) throws(LoadError) -> GGUFArray? {
        guard let value = gguf[key] else { return nil }
        guard let array = value.asArray, array.element == type else {
            throw config.error(key, expected: "an array of \(type.name)", found: value.kind)
        }
        guard array.count == count else {
            throw config.error(
                key,
                expected: "\(count) elements, one for each token",
                found: "\(array.count)"
            )
        }
        return array
    }

    /// An array of texts that must be there.
    func texts(_ key: String) throws(LoadError) -> TextList {
        guard let value = gguf[key] else {
            throw config.error(key, expected: "an array of texts", found: "nothing")
        }
        guard let array = value.asArray, array.element == .string else {
            throw config.error(key, expected: "an array of texts", found: value.kind)
        }
        var list = TextList(capacity: array.count, byteCount: array.textByteCount)
        array.forEachText { list.append($0) }
        return list
    }
}
