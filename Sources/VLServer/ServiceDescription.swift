#if Network
import CVLWeb
import VLJSON

/// The OpenAPI description of the service, which is built into the program.
enum ServiceDescription {
    /// The description as it holds for a server of these settings: where its paths begin, whether they need a key, and
    /// whether the page is among them.
    ///
    /// - Throws: what `JSONScanner` throws, for a file that is none.
    static func json(_ settings: ServerSettings) throws(JSONError) -> JSONValue {
        let file = vl_web_description()
        let bytes = Array(UnsafeBufferPointer(start: file.bytes, count: file.count))
        var description = try JSONValue(parsing: bytes).asObject ?? JSONObject()
        description["servers"] = [["url": .string(settings.rootPath.isEmpty ? "/" : settings.rootPath)]]
        if settings.keys.isEmpty { description["security"] = [] }
        if !settings.servesPage, var paths = description["paths"]?.asObject {
            for path in ["/", "/assets/{path}"] { paths[path] = nil }
            description["paths"] = .object(paths)
        }
        return .object(description)
    }
}
#endif
