import Testing
import VLImage
import VLTestSupport

/// A small picture of one of the many kinds, and what Pillow makes of it.
struct GoldenPicture: CustomTestStringConvertible, Sendable {
    let name: String
    let width: Int
    let height: Int
    let orientation: Int
    let stored: String
    let upright: String

    var testDescription: String { name }

    static func all() throws -> [GoldenPicture] {
        try table("image/formats.tsv").map { row in
            GoldenPicture(
                name: row[0],
                width: Int(row[1]) ?? 0,
                height: Int(row[2]) ?? 0,
                orientation: Int(row[3]) ?? 0,
                stored: row[4],
                upright: row[5]
            )
        }
    }
}

@Suite struct FormatsTests {
    @Test("the collection is there")
    func listsFiles() throws {
        #expect(try GoldenPicture.all().count == 131)
    }

    @Test("every kind of picture decodes to the bytes that Pillow gives", arguments: try GoldenPicture.all())
    func decodes(_ golden: GoldenPicture) throws {
        let found = try decoded("formats/\(golden.name)")
        #expect(found.stored.width == golden.width && found.stored.height == golden.height)
        #expect(found.orientation.rawValue == golden.orientation)
        #expect(SHA256.hex(found.stored.bytes) == golden.stored)
        #expect(SHA256.hex(found.upright.bytes) == golden.upright)
    }

    @Test("the bytes decide what a picture is, not its name")
    func names() throws {
        let formats: [(String, ImageFile.Format)] = [
            ("h_2_8_0_1_17x9.png", .png), ("o_6_17x9.jpg", .jpeg), ("w_rgb_17x9_30.webp", .webp),
            ("g_p_17x9_1.gif", .gif), ("hb_8_0_17x9.bmp", .bmp), ("t_i16_17x9.tif", .tiff),
        ]
        for (path, format) in formats {
            let bytes = try fixtureBytes("image/formats/\(path)")
            #expect(try ImageFile.decode(bytes, name: "a.jpg").format == format, "\(path)")
        }
    }

    @Test(
        "a bomb is refused for its size, before anything is unpacked",
        arguments: [
            "png_bomb_1bit.png", "png_bomb_gray.png", "png_bomb_wide.png", "jpg_bomb_header.jpg",
            "webp_bomb_lossless.webp", "webp_bomb_animated.webp",
        ]
    )
    func bombs(_ name: String) throws {
        let bytes = try fixtureBytes("badfiles/images/\(name)")
        do throws(ImageError) {
            _ = try ImageFile.decode(bytes, name: name)
            Issue.record("accepted")
        } catch {
            guard case .tooLarge = error else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test(
        "the beginning of a picture file is refused unless it has all pixels",
        arguments: [
            "badfiles/images/png_ok_interlaced.png", "badfiles/images/jpg_ok_progressive.jpg",
            "badfiles/images/webp_ok_animated.webp", "image/formats/g_p_17x9_1.gif",
            "image/formats/hb_8_0_17x9.bmp", "image/formats/t_p_17x9_packbits.tif",
            "image/formats/cmyk_17x9_sr5_separate_lzw.tif",
        ]
    )
    func prefixes(_ path: String) throws {
        let bytes = try fixtureBytes(path)
        let whole = try ImageFile.decode(bytes, name: "whole").stored
        for length in 0..<bytes.count {
            guard let part = try? ImageFile.decode(Array(bytes.prefix(length)), name: "part") else {
                continue
            }
            #expect(part.stored == whole, "\(length) of \(bytes.count) bytes")
        }
    }

    @Test(
        "no change of one byte traps",
        arguments: [
            "badfiles/images/png_ok_palette4.png", "badfiles/images/jpg_ok_orient_6.jpg",
            "badfiles/images/webp_ok_exif.webp",
            "image/formats/gif_20_20_3_4_10_9_10_3_1_5_16_2.gif", "image/formats/hbu_4_5_17x9.bmp",
            "image/formats/hbos2_8_17x9.bmp", "image/formats/hand_2_16_4_1_1_1_none_17x9.tif",
            "image/formats/cmyk_17x9_sr5_separate_lzw.tif",
            "image/formats/ycbcr_17x9_tw32l16_contig_jpeg80.tif", "image/formats/t_1_17x9_group3.tif",
        ]
    )
    func changes(_ path: String) throws {
        let bytes = try fixtureBytes(path)
        var limits = ImageLimits()
        limits.maxPixels = 1 << 20
        for index in bytes.indices {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[index] ^ 0x10] where value != bytes[index] {
                var changed = bytes
                changed[index] = value
                if let found = try? ImageFile.decode(changed, name: "changed", limits: limits) {
                    #expect(found.stored.bytes.count == found.stored.width * found.stored.height * 3)
                }
            }
        }
    }

    @Test("kinds that are not read are refused in words")
    func refusals() throws {
        var bitmap = try fixtureBytes("image/formats/hb_24_0_17x9.bmp")
        bitmap[30] = 1
        #expect(
            throws: ImageError.damaged(
                name: "b",
                format: "BMP",
                reason: "compression 1, which is not supported"
            )
        ) {
            try ImageFile.decode(bitmap, name: "b")
        }
        #expect(throws: ImageError.unknownFormat(name: "text")) {
            try ImageFile.decode(Array("What is this?".utf8), name: "text")
        }
        let error = ImageError.unknownFormat(name: "text")
        #expect(
            error.description
                == "text: expected a JPEG, PNG, WebP, GIF, BMP or TIFF picture, found something else"
        )
    }
}
