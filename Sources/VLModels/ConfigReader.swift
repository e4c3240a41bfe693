import VLJSON

/// Reads the fields of a configuration object with their kinds and ranges; every error names file and field.
package struct ConfigReader {
    /// File name, for messages.
    package let file: String
    /// Dotted path of this object, empty at the root.
    private let path: String
    private let object: JSONObject

    /// Parses a file's bytes.
    ///
    /// - Throws: `LoadError.json` if they are no strict JSON or no object.
    package init(bytes: [UInt8], file: String) throws(LoadError) {
        self.file = file
        path = ""
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw .json(file: file, reason: error.description)
        }
        guard case .object(let object) = value else {
            throw .json(file: file, reason: "expected a JSON object, found \(value.summary)")
        }
        self.object = object
    }

    /// Reads an object that comes from elsewhere than a JSON file.
    ///
    /// - Parameter file: the file's name, for messages.
    package init(_ object: JSONObject, file: String) {
        self.init(file: file, path: "", object: object)
    }

    private init(file: String, path: String, object: JSONObject) {
        self.file = file
        self.path = path
        self.object = object
    }

    private func full(_ key: String) -> String { path.isEmpty ? key : path + "." + key }

    /// The error of a field.
    package func error(_ key: String, expected: String, found: String) -> LoadError {
        .field(file: file, field: full(key), expected: expected, found: found)
    }

    /// What stands in a field: nil if it is absent.
    package subscript(key: String) -> JSONValue? { object[key] }

    /// Whether a field is there, `null` included.
    package func contains(_ key: String) -> Bool { object[key] != nil }

    /// Whether a field is absent or `null`.
    package func isNull(_ key: String) -> Bool {
        switch object[key] {
        case nil, .null?: true
        default: false
        }
    }

    /// A whole number in a range; the default stands for an absent field, not for `null`.
    package func int(
        _ key: String,
        _ range: ClosedRange<Int>,
        default fallback: Int? = nil
    ) throws(LoadError) -> Int {
        guard let value = object[key] else {
            if let fallback { return fallback }
            throw error(key, expected: "a whole number", found: "nothing")
        }
        guard case .integer(let number) = value else {
            throw error(key, expected: "a whole number", found: value.summary)
        }
        guard let found = Int(exactly: number), range.contains(found) else {
            throw error(
                key,
                expected: "a whole number from \(range.lowerBound) to \(range.upperBound)",
                found: "\(number)"
            )
        }
        return found
    }

    /// As `int`, with nil for `null`.
    package func intOrNull(
        _ key: String,
        _ range: ClosedRange<Int>,
        default fallback: Int?
    ) throws(LoadError) -> Int? {
        guard let value = object[key] else { return fallback }
        if case .null = value { return nil }
        return try int(key, range)
    }

    /// A finite number for which `isValid` holds.
    package func double(
        _ key: String,
        default fallback: Double? = nil,
        _ rule: String = "a number",
        where isValid: (Double) -> Bool = { _ in true }
    ) throws(LoadError) -> Double {
        guard let value = object[key] else {
            if let fallback { return fallback }
            throw error(key, expected: rule, found: "nothing")
        }
        let found: Double
        switch value {
        case .integer(let number): found = Double(number)
        case .number(let number): found = number
        default: throw error(key, expected: rule, found: value.summary)
        }
        guard found.isFinite, isValid(found) else { throw error(key, expected: rule, found: "\(found)") }
        return found
    }

    /// True or false.
    package func bool(_ key: String, default fallback: Bool) throws(LoadError) -> Bool {
        guard let value = object[key] else { return fallback }
        guard case .bool(let found) = value else {
            throw error(key, expected: "true or false", found: value.summary)
        }
        return found
    }

    /// A text; nil if absent or `null`.
    package func string(_ key: String) throws(LoadError) -> String? {
        guard let value = object[key] else { return nil }
        switch value {
        case .null: return nil
        case .string(let found): return found
        default: throw error(key, expected: "a text", found: value.summary)
        }
    }

    /// One of an enumeration's raw values; the default stands for an absent field.
    package func choice<Choice>(_ key: String, default fallback: Choice? = nil) throws(LoadError) -> Choice
    where Choice: RawRepresentable & CaseIterable, Choice.RawValue == String {
        let known = Choice.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
        guard let found = try string(key) else {
            if let fallback, !contains(key) { return fallback }
            throw error(key, expected: "one of \(known)", found: contains(key) ? "null" : "nothing")
        }
        guard let choice = Choice(rawValue: found) else {
            throw error(key, expected: "one of \(known)", found: "\"\(found)\"")
        }
        return choice
    }

    /// An object below this one; nil if absent or `null`.
    package func object(_ key: String) throws(LoadError) -> ConfigReader? {
        guard let value = object[key] else { return nil }
        switch value {
        case .null: return nil
        case .object(let found): return ConfigReader(file: file, path: full(key), object: found)
        default: throw error(key, expected: "an object", found: value.summary)
        }
    }

    /// An array; nil if absent or `null`.
    package func array(_ key: String) throws(LoadError) -> [JSONValue]? {
        guard let value = object[key] else { return nil }
        switch value {
        case .null: return nil
        case .array(let found): return found
        default: throw error(key, expected: "an array", found: value.summary)
        }
    }

    /// Three numbers: a mean or a deviation of colour channels.
    package func channels(_ key: String, default fallback: [Double]) throws(LoadError) -> [Double] {
        guard let values = try array(key) else { return fallback }
        var found: [Double] = []
        for value in values {
            switch value {
            case .integer(let number): found.append(Double(number))
            case .number(let number) where number.isFinite: found.append(number)
            default: throw error(key, expected: "three numbers", found: value.summary)
            }
        }
        guard found.count == 3 else { throw error(key, expected: "three numbers", found: "\(found.count)") }
        return found
    }

    /// Checks that begin and end tokens are of the vocabulary where the configuration names them.
    ///
    /// - Throws: `LoadError.field`.
    package func checkBoundaryTokens(below vocabularySize: Int) throws(LoadError) {
        for key in ["bos_token_id", "eos_token_id"] {
            guard case .integer(let id)? = object[key] else { continue }
            guard id >= 0 && id < vocabularySize else {
                throw error(
                    key,
                    expected: "a token below vocab_size (\(vocabularySize))",
                    found: "\(id)"
                )
            }
        }
    }
}
