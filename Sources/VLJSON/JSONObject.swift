/// A JSON object: its members in their order, found by key in constant time.
///
/// Keys are compared by their bytes.
package struct JSONObject: Sendable, Equatable, Sequence, ExpressibleByDictionaryLiteral {
    private var members: [(key: String, value: JSONValue)] = []
    private var places: [ExactString: Int] = [:]

    /// An object without members.
    package init() {}

    /// An object with these members; a later one replaces an earlier one of the same key.
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        for (key, value) in elements { self[key] = value }
    }

    /// The number of members.
    package var count: Int { members.count }

    /// Whether there are no members.
    package var isEmpty: Bool { members.isEmpty }

    /// The keys in their order.
    package var keys: [String] { members.map(\.key) }

    /// The value of `key`, or nil where there is none (JSON's null is `JSONValue.null`).
    ///
    /// A new key goes behind the others, a known one keeps its place; setting nil removes the member.
    package subscript(key: String) -> JSONValue? {
        get { places[ExactString(key)].map { members[$0].value } }
        set {
            let name = ExactString(key)
            switch (places[name], newValue) {
            case (let place?, let value?): members[place].value = value
            case (let place?, nil):
                members.remove(at: place)
                places[name] = nil
                for index in place..<members.count { places[ExactString(members[index].key)] = index }
            case (nil, let value?):
                places[name] = members.count
                members.append((key, value))
            case (nil, nil): break
            }
        }
    }

    package func makeIterator() -> IndexingIterator<[(key: String, value: JSONValue)]> {
        members.makeIterator()
    }

    /// Whether both have the same members in the same order.
    package static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count
            && zip(left.members, right.members).allSatisfy {
                ExactString($0.key) == ExactString($1.key) && $0.value == $1.value
            }
    }
}
