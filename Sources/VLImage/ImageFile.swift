import CVLCodecs

/// Decodes picture files to RGB, byte for byte as Pillow's `Image.open(f).convert("RGB")`.
package enum ImageFile {
    /// Formats that are read; the bytes decide, not the name.
    package enum Format: String, Sendable {
        case jpeg = "JPEG"
        case png = "PNG"
        case webp = "WebP"
        case gif = "GIF"
        case tiff = "TIFF"
        case bmp = "BMP"
    }

    /// A picture as it is stored, and how to turn it upright.
    package struct Decoded: Sendable {
        package let stored: PixelBuffer
        package let orientation: Orientation
        package let format: Format

        /// The picture as viewers show it.
        package var upright: PixelBuffer { orientation.apply(to: stored) }
    }

    /// Reads a picture.
    ///
    /// - Parameters:
    ///   - name: what messages call it.
    ///   - limits: checked against the file's size and its header before memory is taken.
    /// - Throws: `ImageError`.
    package static func decode(
        _ bytes: [UInt8],
        name: String,
        limits: ImageLimits = ImageLimits()
    ) throws(ImageError) -> Decoded {
        guard !bytes.isEmpty else { throw .empty(name: name) }
        guard bytes.count <= limits.maxBytes else {
            throw .fileTooLarge(name: name, bytes: bytes.count, limit: limits.maxBytes)
        }
        if Bitmap.isBitmap(bytes) { return try decodeBitmap(bytes, name, limits) }
        let format: Format
        switch vl_image_sniff(bytes, bytes.count) {
        case VL_IMAGE_JPEG: format = .jpeg
        case VL_IMAGE_PNG: format = .png
        case VL_IMAGE_WEBP: format = .webp
        case VL_IMAGE_GIF: format = .gif
        case VL_IMAGE_TIFF: format = .tiff
        default: throw .unknownFormat(name: name)
        }
        var info = vl_image_info()
        var text = [CChar](repeating: 0, count: Int(VL_IMAGE_ERROR_SIZE))
        guard vl_image_probe(bytes, bytes.count, &info, &text) == 0 else {
            throw .damaged(name: name, format: format.rawValue, reason: message(text))
        }
        let width = Int(info.width)
        let height = Int(info.height)
        try check(width, height, name, limits)
        var failed = false
        let pixels = [UInt8](unsafeUninitializedCapacity: width * height * 3) { buffer, initialized in
            guard let base = buffer.baseAddress else { return }
            base.initialize(repeating: 0, count: width * height * 3)
            failed = vl_image_decode(bytes, bytes.count, &info, base, &text) != 0
            initialized = width * height * 3
        }
        if failed { throw .damaged(name: name, format: format.rawValue, reason: message(text)) }
        let picture = PixelBuffer(width: width, height: height, bytes: pixels)
        if format == .tiff {
            // Pillow turns a TIFF while it reads it: there the tag belongs to the format, not to EXIF.
            let turn = Orientation(rawValue: Int(info.orientation)) ?? .upright
            return Decoded(stored: turn.apply(to: picture), orientation: .upright, format: format)
        }
        return Decoded(
            stored: picture,
            orientation: EXIF.orientation(bytes, format: format),
            format: format
        )
    }

    private static func decodeBitmap(
        _ bytes: [UInt8],
        _ name: String,
        _ limits: ImageLimits
    ) throws(ImageError) -> Decoded {
        func damaged(_ fault: Bitmap.Fault) -> ImageError {
            .damaged(name: name, format: Format.bmp.rawValue, reason: fault.reason)
        }
        let bitmap: Bitmap
        do { bitmap = try Bitmap(bytes) } catch { throw damaged(error) }
        try check(bitmap.width, bitmap.height, name, limits)
        do {
            return Decoded(stored: try bitmap.decode(), orientation: .upright, format: .bmp)
        } catch {
            throw damaged(error)
        }
    }

    private static func check(
        _ width: Int,
        _ height: Int,
        _ name: String,
        _ limits: ImageLimits
    ) throws(ImageError) {
        guard width > 0, height > 0 else { throw .noPixels(name: name, width: width, height: height) }
        let (pixels, overflows) = width.multipliedReportingOverflow(by: height)
        guard width <= limits.maxSide, height <= limits.maxSide, !overflows, pixels <= limits.maxPixels else {
            throw .tooLarge(
                name: name,
                width: width,
                height: height,
                maxPixels: limits.maxPixels,
                maxSide: limits.maxSide
            )
        }
    }

    private static func message(_ text: [CChar]) -> String {
        String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The picture as a PNG file.
    ///
    /// - Throws: `ImageError.encoding`.
    package static func png(_ picture: PixelBuffer) throws(ImageError) -> [UInt8] {
        var size = 0
        var text = [CChar](repeating: 0, count: Int(VL_IMAGE_ERROR_SIZE))
        guard
            let block = vl_png_encode(
                picture.bytes,
                Int64(picture.width),
                Int64(picture.height),
                &size,
                &text
            )
        else {
            throw .encoding(reason: message(text))
        }
        defer { vl_codecs_free(block) }
        return Array(UnsafeBufferPointer(start: block, count: size))
    }
}
