import CFontconfig
import CFreeType

/// A character as it is painted.
struct Glyph {
    /// The size of `coverage`.
    let width: Int
    let height: Int
    /// From the pen to the left edge.
    let left: Int
    /// From the baseline up to the upper edge.
    let top: Int
    /// How far the pen moves.
    let advance: Int
    /// width * height values, 255 where the glyph covers the pixel.
    let coverage: [UInt8]

    /// Stands for a character that no font has.
    static func hollowBox(size: Int) -> Glyph {
        let width = max(size / 2, 4)
        let height = max(size * 7 / 10, 4)
        let line = max(size / 14, 1)
        var coverage = [UInt8](repeating: 0, count: width * height)
        for row in 0..<height {
            for column in 0..<width {
                let inside = row >= line && row < height - line && column >= line && column < width - line
                if !inside { coverage[row * width + column] = 255 }
            }
        }
        return Glyph(
            width: width,
            height: height,
            left: line,
            top: height,
            advance: width + 2 * line,
            coverage: coverage
        )
    }

    /// Stands for a kind of blank that no font has.
    static func blank(size: Int) -> Glyph {
        Glyph(width: 0, height: 0, left: 0, top: 0, advance: size / 3, coverage: [])
    }
}

/// The system's sans-serif font at one size, with other fonts for the characters that it lacks.
///
/// Belongs to one drawing: FreeType's faces are not to be shared between threads.
final class LabelFont {
    /// Where a font is; collections hold several.
    private struct Source: Hashable {
        let path: String
        let index: Int
    }

    let size: Int
    /// From the baseline to the top of the line.
    let ascent: Int
    /// From the baseline to the bottom of the line.
    let descent: Int

    private let library: FT_Library
    private var faces: [FT_Face]
    /// Faces by where they are from; nil is one that did not open.
    private var opened: [Source: FT_Face?]
    private var glyphs: [Unicode.Scalar: Glyph] = [:]

    /// Opens the font.
    ///
    /// - Returns: nil if the system has none.
    init?(size: Int) {
        var made: FT_Library?
        guard FT_Init_FreeType(&made) == 0, let library = made else { return nil }
        guard let source = Self.find(nil), let face = Self.open(source, library, size) else {
            FT_Done_FreeType(library)
            return nil
        }
        self.size = size
        self.library = library
        faces = [face]
        opened = [source: face]
        // Fonts' own words about their lines are not trusted beyond reason.
        let metrics = face.pointee.size?.pointee.metrics
        ascent = min(max((metrics?.ascender ?? 0) >> 6, size / 2), 2 * size)
        descent = min(max(-((metrics?.descender ?? 0) >> 6), size / 5), size)
    }

    deinit {
        // Takes the faces with it.
        FT_Done_FreeType(library)
    }

    /// The glyphs of a text from left to right, as many as begin within `limit` pixels, and their width.
    func line(_ text: String, limit: Int) -> (glyphs: [Glyph], width: Int) {
        var line: [Glyph] = []
        var width = 0
        for scalar in text.unicodeScalars where !Self.isUnseen(scalar) {
            guard width < limit else { break }
            let glyph = glyph(scalar)
            line.append(glyph)
            width += glyph.advance
        }
        return (line, width)
    }

    private func glyph(_ scalar: Unicode.Scalar) -> Glyph {
        if let known = glyphs[scalar] { return known }
        let glyph =
            render(scalar) ?? (scalar.properties.isWhitespace ? .blank(size: size) : .hollowBox(size: size))
        glyphs[scalar] = glyph
        return glyph
    }

    private func render(_ scalar: Unicode.Scalar) -> Glyph? {
        for face in faces {
            if let glyph = render(scalar, face) { return glyph }
        }
        guard let source = Self.find(scalar), opened[source] == nil else { return nil }
        let face = Self.open(source, library, size)
        opened.updateValue(face, forKey: source)
        guard let face else { return nil }
        faces.append(face)
        return render(scalar, face)
    }

    private func render(_ scalar: Unicode.Scalar, _ face: FT_Face) -> Glyph? {
        let index = FT_Get_Char_Index(face, FT_ULong(scalar.value))
        // Some Chinese fonts carry black-and-white bitmaps for small sizes; outlines are read better.
        guard index != 0, FT_Load_Glyph(face, index, FT_Int32(FT_LOAD_RENDER | FT_LOAD_NO_BITMAP)) == 0,
            let slot = face.pointee.glyph?.pointee
        else { return nil }
        let bitmap = slot.bitmap
        let width = Int(bitmap.width)
        let height = Int(bitmap.rows)
        // A damaged font must not take the memory or throw the pen far off.
        let most = 8 * size
        let left = Int(slot.bitmap_left)
        let top = Int(slot.bitmap_top)
        let advance = min(max(slot.advance.x >> 6, 0), most)
        guard width <= most, height <= most, abs(left) <= most, abs(top) <= most else { return nil }
        guard width > 0, height > 0 else {
            return Glyph(width: 0, height: 0, left: 0, top: 0, advance: advance, coverage: [])
        }
        let pitch = Int(bitmap.pitch)
        guard UInt32(bitmap.pixel_mode) == UInt32(FT_PIXEL_MODE_GRAY.rawValue), pitch >= width,
            let start = bitmap.buffer
        else { return nil }
        let rows = UnsafeBufferPointer(start: start, count: pitch * (height - 1) + width)
        var coverage: [UInt8] = []
        coverage.reserveCapacity(width * height)
        for row in 0..<height { coverage.append(contentsOf: rows[row * pitch..<row * pitch + width]) }
        return Glyph(width: width, height: height, left: left, top: top, advance: advance, coverage: coverage)
    }

    /// Characters that only steer how others look; painted alone they would be boxes.
    private static func isUnseen(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.generalCategory == .format || scalar.properties.isVariationSelector
    }

    private static func open(_ source: Source, _ library: FT_Library, _ size: Int) -> FT_Face? {
        var made: FT_Face?
        guard FT_New_Face(library, source.path, FT_Long(source.index), &made) == 0, let face = made else {
            return nil
        }
        guard FT_Set_Pixel_Sizes(face, 0, FT_UInt(size)) == 0 else {
            FT_Done_Face(face)
            return nil
        }
        return face
    }

    /// The system's sans-serif font, or the one nearest to it that has a character.
    private static func find(_ scalar: Unicode.Scalar?) -> Source? {
        guard FcInit() != 0, let pattern = FcPatternCreate() else { return nil }
        defer { FcPatternDestroy(pattern) }
        FcPatternAddString(pattern, FC_FAMILY, "sans-serif")
        // Bitmap fonts have one size only.
        FcPatternAddBool(pattern, FC_SCALABLE, 1)
        if let scalar, let characters = FcCharSetCreate() {
            FcCharSetAddChar(characters, scalar.value)
            FcPatternAddCharSet(pattern, FC_CHARSET, characters)
            // The pattern keeps its own.
            FcCharSetDestroy(characters)
        }
        FcConfigSubstitute(nil, pattern, FcMatchPattern)
        FcDefaultSubstitute(pattern)
        var result = FcResultNoMatch
        guard let match = FcFontMatch(nil, pattern, &result) else { return nil }
        defer { FcPatternDestroy(match) }
        var file: UnsafeMutablePointer<FcChar8>?
        guard FcPatternGetString(match, FC_FILE, 0, &file) == FcResultMatch, let file else { return nil }
        var index: Int32 = 0
        if FcPatternGetInteger(match, FC_INDEX, 0, &index) != FcResultMatch { index = 0 }
        return Source(path: String(cString: file), index: Int(index))
    }
}
