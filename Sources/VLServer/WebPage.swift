#if Network
import CVLWeb
import HTTPTypes
import Hummingbird
import NIOCore

/// The web page that is built into the program: its files, and what browsers are told about them.
enum WebPage {
    /// A file of the page.
    struct Asset: Sendable {
        var type: String
        var tag: String
        var bytes: ByteBuffer
    }

    /// The files by their paths in an address.
    static let assets: [String: Asset] = {
        var assets: [String: Asset] = [:]
        for index in 0..<vl_web_count() {
            let asset = vl_web_asset_at(index)
            let bytes = UnsafeBufferPointer(start: asset.bytes, count: asset.count)
            assets["/" + String(cString: asset.path)] = Asset(
                type: String(cString: asset.type),
                tag: "\"" + String(vl_web_hash(asset), radix: 16) + "\"",
                bytes: ByteBuffer(bytes: bytes)
            )
        }
        return assets
    }()

    /// What the page may do: load its own files, show pictures that it was given, and speak to its own server.
    ///
    /// Nothing that a model writes can become a script: there are no inline ones, and no text can become markup.
    static let policy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:",
        "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ].joined(separator: "; ")

    private static let headers: [(String, String)] = [
        ("Content-Security-Policy", policy), ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"), ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"), ("Cache-Control", "no-cache"),
    ]

    /// The answer to a request for a file of the page.
    ///
    /// - Throws: `APIError` if there is none.
    static func response(_ path: String, _ request: Request) throws(APIError) -> Response {
        guard let asset = assets[path] else {
            throw APIError(404, "there is nothing at this path", code: "unknown_url")
        }
        let known = request.headers[.ifNoneMatch]?.split(separator: ",").map { $0.filter { $0 != " " } } ?? []
        let isKnown = known.contains { $0 == asset.tag || $0 == "W/" + asset.tag || $0 == "*" }
        var response =
            isKnown
            ? Response(status: .notModified)
            : Response(status: .ok, body: ResponseBody(byteBuffer: asset.bytes))
        response.headers[.eTag] = asset.tag
        if !isKnown { response.headers[.contentType] = asset.type }
        for (name, value) in headers {
            if let name = HTTPField.Name(name) { response.headers[name] = value }
        }
        return response
    }
}

/// Takes the path that a proxy left in front away, before anything looks at it.
struct PathPrefix<Inner: HTTPResponder>: HTTPResponder {
    typealias Context = Inner.Context

    private let prefix: String
    private let inner: Inner

    /// - Parameter prefix: such as `/vl`; empty for none.
    init(_ prefix: String, _ inner: Inner) {
        self.prefix = prefix
        self.inner = inner
    }

    func respond(to request: Request, context: Context) async throws -> Response {
        guard !prefix.isEmpty, let path = request.head.path, path.hasPrefix(prefix + "/") else {
            return try await inner.respond(to: request, context: context)
        }
        var head = request.head
        head.path = String(path.dropFirst(prefix.count))
        return try await inner.respond(to: Request(head: head, body: request.body), context: context)
    }
}
#endif
