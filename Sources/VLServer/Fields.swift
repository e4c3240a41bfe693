import VLJSON

/// Reads a request's fields: null is as good as absent, every number has a range, and what is wrong is named.
struct Fields {
    let object: JSONObject
    /// What comes before names in messages.
    let path: String
    /// Told the name of each field that is looked for, so that tests can hold the service's description against it.
    @TaskLocal static var onRead: (@Sendable (String) -> Void)?

    init(_ object: JSONObject, path: String = "") {
        self.object = object
        self.path = path
    }

    func name(_ field: String) -> String { path.isEmpty ? field : "\(path).\(field)" }

    /// A field's value, unless it is null.
    func value(_ field: String) -> JSONValue? {
        Self.onRead?(name(field))
        guard let value = object[field], !value.isNull else { return nil }
        return value
    }

    private func wrong(_ field: String, _ expected: String, _ found: JSONValue) -> APIError {
        .field(name(field), expected: expected, found: found.summary)
    }

    func int(_ field: String, _ range: ClosedRange<Int>) throws(APIError) -> Int? {
        guard let value = value(field) else { return nil }
        guard let number = value.asInt, range.contains(number) else {
            throw wrong(field, "a whole number from \(range.lowerBound) to \(range.upperBound)", value)
        }
        return number
    }

    /// - Parameter isOpen: whether the lower bound itself is too small.
    func double(
        _ field: String,
        _ range: ClosedRange<Double>,
        isOpen: Bool = false
    ) throws(APIError) -> Double? {
        guard let value = value(field) else { return nil }
        guard let number = value.asDouble, range.contains(number), !isOpen || number > range.lowerBound else {
            let bound = isOpen ? "above \(range.lowerBound) and at most" : "from \(range.lowerBound) to"
            throw wrong(field, "a number \(bound) \(range.upperBound)", value)
        }
        return number
    }

    func bool(_ field: String) throws(APIError) -> Bool? {
        guard let value = value(field) else { return nil }
        guard let flag = value.asBool else { throw wrong(field, "true or false", value) }
        return flag
    }

    func string(_ field: String) throws(APIError) -> String? {
        guard let value = value(field) else { return nil }
        guard let text = value.asString else { throw wrong(field, "a text", value) }
        return text
    }

    /// A text that has to be there.
    func requiredString(_ field: String) throws(APIError) -> String {
        guard let text = try string(field) else {
            throw .field(name(field), expected: "a text", found: "none")
        }
        return text
    }

    func choice(_ field: String, _ choices: [String]) throws(APIError) -> String? {
        guard let value = value(field) else { return nil }
        guard let text = value.asString, choices.contains(text) else {
            throw wrong(field, choices.map { "'\($0)'" }.joined(separator: ", "), value)
        }
        return text
    }

    func array(_ field: String) throws(APIError) -> [JSONValue]? {
        guard let value = value(field) else { return nil }
        guard let list = value.asArray else { throw wrong(field, "a list", value) }
        return list
    }

    func fields(_ field: String) throws(APIError) -> Fields? {
        guard let value = value(field) else { return nil }
        guard let object = value.asObject else { throw wrong(field, "an object", value) }
        return Fields(object, path: name(field))
    }

    /// The elements of a list, all of them objects.
    func objects(_ field: String) throws(APIError) -> [Fields]? {
        guard let list = try array(field) else { return nil }
        var objects: [Fields] = []
        for (index, item) in list.enumerated() {
            let path = name("\(field)[\(index)]")
            guard let object = item.asObject else {
                throw .field(path, expected: "an object", found: item.summary)
            }
            objects.append(Fields(object, path: path))
        }
        return objects
    }

    /// Texts, given as one or as a list.
    func strings(_ field: String, most: Int) throws(APIError) -> [String] {
        guard let value = value(field) else { return [] }
        let expected = "a text or a list of at most \(most) texts, none of them empty"
        let list = value.asArray ?? [value]
        let texts = list.compactMap(\.asString)
        guard texts.count == list.count, texts.count <= most, texts.allSatisfy({ !$0.isEmpty }) else {
            throw wrong(field, expected, value)
        }
        return texts
    }

    /// A field that is known but not served, unless it has a value that changes nothing.
    func refuse(_ field: String, unless isHarmless: (JSONValue) -> Bool = { _ in false }) throws(APIError) {
        if let value = value(field), !isHarmless(value) { throw .unsupported(name(field), "it") }
    }
}
