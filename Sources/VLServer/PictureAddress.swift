import DeepSeekVL
import Foundation
import VLFormats
import VLImage

/// Reads pictures by the addresses that clients send.
enum PictureAddress {
    /// Whether an address is one of the web.
    static func isWeb(_ url: String) -> Bool {
        let start = url.prefix(8).lowercased()
        return start.hasPrefix("http://") || start.hasPrefix("https://")
    }

    /// The picture of a `data:` URL, of a `file:` URL below the folder that the server was given, or of an address of
    /// the web.
    ///
    /// - Parameter fetched: what was fetched from the web before, by its address.
    static func read(
        _ url: String,
        _ settings: ServerSettings,
        fetched: [String: [UInt8]] = [:]
    ) throws(APIError) -> ConversationPicture {
        do throws(DeepSeekVLError) {
            if url.utf8.starts(with: "data:".utf8) {
                let bytes = try PictureSource.decode(url, settings.imageLimits)
                return try PictureSource.decode(bytes, "image", settings.imageLimits)
            }
            if url.utf8.starts(with: "file:".utf8) {
                return try PictureSource.decode(try file(url, settings), "image", settings.imageLimits)
            }
            if let bytes = fetched[url] {
                return try PictureSource.decode(bytes, "image", settings.imageLimits)
            }
        } catch {
            throw APIError(error)
        }
        let isWeb = isWeb(url)
        throw APIError(
            400,
            isWeb
                ? "image: expected a data: URL, found a web address, which this server does not fetch"
                : "image: expected a data: URL",
            code: isWeb ? "image_url_not_allowed" : "invalid_image_url"
        )
    }

    /// The bytes of a file below the folder; links and `..` may not lead out of it.
    private static func file(_ url: String, _ settings: ServerSettings) throws(DeepSeekVLError) -> [UInt8] {
        func refused(_ text: String) -> DeepSeekVLError {
            .image(name: "image", description: "image: \(text)")
        }
        guard let folder = settings.fileFolder, let root = real(folder) else {
            throw refused("expected a data: URL, found a file: URL, and this server has no folder for these")
        }
        var path = String(url.dropFirst("file:".count))
        if path.hasPrefix("//localhost/") { path = String(path.dropFirst("//localhost".count)) }
        if path.hasPrefix("///") { path = String(path.dropFirst(2)) }
        guard let plain = path.removingPercentEncoding, !plain.utf8.contains(0), plain.hasPrefix("/"),
            !plain.hasPrefix("//"), let found = real(plain), found.hasPrefix(root + "/")
        else { throw refused("expected a file below the server's folder for pictures") }
        do throws(FormatError) {
            return try FileContents.read(found, limit: settings.imageLimits.maxBytes)
        } catch {
            throw refused("expected a file below the server's folder for pictures")
        }
    }

    private static func real(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
