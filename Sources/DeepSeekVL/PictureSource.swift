import FoundationEssentials
import VLFormats
import VLImage

/// Where pictures come from: files and `data:` URLs.
package enum PictureSource {
    /// Reads and decodes a picture of the library's caller.
    ///
    /// - Parameter number: what messages call a picture without a name.
    /// - Throws: `DeepSeekVLError.image`, `.file`.
    package static func read(_ picture: Picture, number: Int) throws(DeepSeekVLError) -> ConversationPicture {
        switch picture {
        case .file(let path): try read(path)
        case .bytes(let bytes): try decode(bytes, "picture \(number)")
        }
    }

    /// Reads and decodes a picture.
    ///
    /// - Parameters:
    ///   - reference: a path, or a `data:` URL with base64.
    ///   - folder: what a relative path is relative to; nil for the working folder.
    /// - Throws: `DeepSeekVLError.image`, `.file`.
    package static func read(
        _ reference: String,
        folder: String? = nil,
        limits: ImageLimits = ImageLimits()
    ) throws(DeepSeekVLError) -> ConversationPicture {
        let isData = reference.utf8.starts(with: "data:".utf8)
        let name = isData ? "data: URL" : reference
        let bytes: [UInt8]
        if reference.hasPrefix("http://") || reference.hasPrefix("https://") {
            throw .image(
                name: name,
                description:
                    "\(reference): expected a file or a data: URL, found an address, which is not fetched"
            )
        }
        if isData {
            bytes = try decode(reference, limits)
        } else {
            let isRelative = !reference.hasPrefix("/")
            let path = isRelative ? folder.map { $0 + "/" + reference } ?? reference : reference
            do throws(FormatError) {
                bytes = try FileContents.read(path, limit: limits.maxBytes)
            } catch {
                throw .image(name: name, description: error.description)
            }
        }
        return try decode(bytes, name, limits)
    }

    /// Decodes a picture file's bytes.
    ///
    /// - Throws: `DeepSeekVLError.image`.
    package static func decode(
        _ bytes: [UInt8],
        _ name: String,
        _ limits: ImageLimits = ImageLimits()
    ) throws(DeepSeekVLError) -> ConversationPicture {
        do throws(ImageError) {
            return ConversationPicture(
                name: name,
                decoded: try ImageFile.decode(bytes, name: name, limits: limits)
            )
        } catch {
            throw .image(name: name, description: error.description)
        }
    }

    /// The bytes of `data:image/png;base64,…`.
    ///
    /// - Throws: `DeepSeekVLError.image`.
    package static func decode(
        _ url: String,
        _ limits: ImageLimits = ImageLimits()
    ) throws(DeepSeekVLError) -> [UInt8] {
        let wanted = "data: URL: expected 'data:<type>;base64,<data>', found "
        guard let comma = url.utf8.firstIndex(of: UInt8(ascii: ",")) else {
            throw .image(name: "data: URL", description: wanted + "no comma")
        }
        guard url[..<comma].hasSuffix(";base64") else {
            throw .image(name: "data: URL", description: wanted + "another encoding")
        }
        let text = url[url.utf8.index(after: comma)...]
        guard text.utf8.count / 4 * 3 <= limits.maxBytes else {
            throw .image(
                name: "data: URL",
                description:
                    "data: URL: expected a picture of at most \(limits.maxBytes) bytes, found about \(text.utf8.count / 4 * 3)"
            )
        }
        guard let data = Data(base64Encoded: String(text)) else {
            throw .image(name: "data: URL", description: wanted + "data that are no base64")
        }
        return [UInt8](data)
    }
}
