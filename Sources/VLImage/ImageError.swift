/// Why bytes are no picture that is taken.
package enum ImageError: Error, Equatable, CustomStringConvertible {
    /// No bytes at all.
    case empty(name: String)
    /// A file over the limit.
    case fileTooLarge(name: String, bytes: Int, limit: Int)
    /// None of the formats that are read.
    case unknownFormat(name: String)
    /// More pixels or a longer side than the limits allow; judged from the header.
    case tooLarge(name: String, width: Int, height: Int, maxPixels: Int, maxSide: Int)
    /// A side of zero.
    case noPixels(name: String, width: Int, height: Int)
    /// Data that do not decode; `reason` is the codec's word.
    case damaged(name: String, format: String, reason: String)
    /// A picture that could not be encoded.
    case encoding(reason: String)

    package var description: String {
        switch self {
        case .empty(let name):
            "\(name): expected a picture, found an empty file"
        case .fileTooLarge(let name, let bytes, let limit):
            "\(name): expected a picture file of at most \(limit) bytes, found \(bytes)"
        case .unknownFormat(let name):
            "\(name): expected a JPEG, PNG, WebP, GIF, BMP or TIFF picture, found something else"
        case .tooLarge(let name, let width, let height, let maxPixels, let maxSide):
            "\(name): expected at most \(maxPixels) pixels and sides of at most \(maxSide), found \(width) x \(height)"
        case .noPixels(let name, let width, let height):
            "\(name): expected a picture of at least one pixel, found \(width) x \(height)"
        case .damaged(let name, let format, let reason):
            "\(name): expected a whole \(format) picture, found: \(reason)"
        case .encoding(let reason):
            "picture: cannot encode: \(reason)"
        }
    }
}

/// What a picture may take; checked before memory is taken for it.
package struct ImageLimits: Sendable, Equatable {
    package var maxPixels = 89_478_485
    package var maxSide = 16_384
    package var maxBytes = 20 << 20

    package init() {}
}
