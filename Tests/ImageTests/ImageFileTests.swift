import Testing
import VLImage
import VLJSON
import VLTestSupport

@Suite struct ImageFileTests {
    /// A picture file, and what Pillow's `convert("RGB")` makes of it.
    struct Golden: CustomTestStringConvertible, Sendable {
        let name: String
        let format: String
        let width: Int
        let height: Int
        let orientation: Int
        /// FNV-1a of the pixels.
        let hash: String
        /// A plain PNG of the pixels, if there is one.
        let decoded: String?

        var testDescription: String { name }

        static func all() throws -> [Golden] { try ImageFixture.list("files.json").map(Golden.init) }

        init(_ value: JSONValue) throws {
            name = try value.text("name")
            format = try value.text("format")
            width = try value.int("width")
            height = try value.int("height")
            orientation = try value.int("orientation")
            hash = try value.text("fnv")
            decoded = value["decoded"]?.asString
        }
    }

    private func hash(_ bytes: [UInt8]) -> String {
        var value: UInt64 = 0xcbf2_9ce4_8422_2325
        bytes.withUnsafeBufferPointer { bytes in
            for byte in bytes { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        }
        let text = String(value, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }

    @Test("there are pictures of every kind to compare")
    func listsPictures() throws {
        let all = try Golden.all()
        #expect(all.count == 38)
        #expect(Set(all.map(\.format)) == ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
    }

    @Test("a picture has Pillow's pixels, byte for byte", arguments: try Golden.all())
    func pixels(_ golden: Golden) throws {
        let found = try ImageFile.decode(fixtureBytes("image/files/\(golden.name)"), name: golden.name)
        #expect(found.format.rawValue.uppercased() == golden.format)
        #expect(found.orientation.rawValue == golden.orientation)
        #expect(found.stored.width == golden.width && found.stored.height == golden.height)
        if let decoded = golden.decoded {
            let wanted = try ImageFixture.picture("image/decoded/\(decoded)")
            let differences = zip(found.stored.bytes, wanted.bytes).count { $0 != $1 }
            #expect(differences == 0, "\(differences) bytes differ")
        }
        #expect(hash(found.stored.bytes) == golden.hash)
    }

    // MARK: Bad files

    /// A file of `Tests/Fixtures/badfiles/images`, and what must happen with it.
    struct BadFile: CustomTestStringConvertible, Sendable {
        let name: String
        let expected: String
        let fault: String
        /// Width and height of the upright picture, if they matter.
        let size: String?

        var testDescription: String { "\(name): \(fault)" }

        static func all() throws -> [BadFile] {
            let list = try fixtureBytes("badfiles/images/expectations.tsv")
            return String(decoding: list, as: UTF8.self).split(separator: "\n").dropFirst().map { line in
                let fields = line.split(separator: "\t").map(String.init)
                return BadFile(
                    name: fields[0],
                    expected: fields[1],
                    fault: fields[2],
                    size: fields.count > 3 ? fields[3] : nil
                )
            }
        }
    }

    @Test("the collection of bad files is there")
    func listsBadFiles() throws {
        #expect(try BadFile.all().count == 125)
    }

    @Test("a bad picture is refused by name, and an odd one has its size", arguments: try BadFile.all())
    func badFile(_ file: BadFile) throws {
        let bytes = try fixtureBytes("badfiles/images/\(file.name)")
        do throws(ImageError) {
            let upright = try ImageFile.decode(bytes, name: file.name).upright
            #expect(file.expected != "reject", "accepted")
            #expect(upright.bytes.count == upright.width * upright.height * 3)
            if let size = file.size { #expect("\(upright.width)x\(upright.height)" == size) }
        } catch {
            #expect(file.expected != "accept", "\(error)")
            #expect(error.description.hasPrefix("\(file.name): expected"), "\(error)")
        }
    }

    @Test("the orientation of a JPEG, PNG or WebP is found, and an impossible one ignored")
    func orientations() throws {
        var wanted: [(String, Int)] = (1...8).map { ("jpg_ok_orient_\($0).jpg", $0) }
        wanted += [("png_ok_exif.png", 6), ("webp_ok_exif.webp", 6), ("jpg_ok_orient_bad.jpg", 1)]
        wanted += [("jpg_ok_exif_offset.jpg", 1), ("jpg_ok_baseline.jpg", 1)]
        for (name, orientation) in wanted {
            let found = try ImageFile.decode(fixtureBytes("badfiles/images/\(name)"), name: name)
            #expect(found.orientation.rawValue == orientation, "\(name)")
        }
    }

    // MARK: Cut files

    @Test(
        "each beginning of a file is refused or gives the whole picture",
        arguments: [
            "image/files/tiny.png", "image/files/bilevel.png", "image/files/palette_transparent.png",
            "image/files/jpeg_q20.jpg", "image/files/progressive.jpg", "image/files/gray.jpg",
            "image/files/alpha.webp", "image/files/lossy.webp", "badfiles/images/webp_ok_lossless.webp",
            "image/files/still.gif", "image/files/plain.bmp", "badfiles/images/other_tiff.webp",
        ]
    )
    func beginnings(_ path: String) throws {
        let bytes = try fixtureBytes(path)
        let whole = try ImageFile.decode(bytes, name: path).stored
        for count in bytes.indices {
            do throws(ImageError) {
                let part = try ImageFile.decode(Array(bytes[..<count]), name: path).stored
                #expect(part == whole, "\(count) of \(bytes.count) bytes give another picture")
            } catch {
                #expect(error.description.hasPrefix("\(path): expected"), "\(error)")
            }
        }
    }

    @Test(
        "no changed byte of a small file traps or gives a picture of a wrong length",
        arguments: [
            "image/files/tiny.png", "image/files/jpeg_q20.jpg", "image/files/alpha.webp",
            "image/files/still.gif", "image/files/plain.bmp", "badfiles/images/other_tiff.webp",
        ]
    )
    func changedBytes(_ path: String) throws {
        var limits = ImageLimits()
        limits.maxPixels = 1 << 20
        let bytes = try fixtureBytes(path)
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= [0x01, 0x80, 0xff][index % 3]
            do throws(ImageError) {
                let picture = try ImageFile.decode(changed, name: path, limits: limits).upright
                #expect(picture.bytes.count == picture.width * picture.height * 3)
            } catch {
                #expect(error.description.hasPrefix(path), "\(error)")
            }
        }
    }

    // MARK: Limits

    @Test("limits are kept, to the pixel and the byte")
    func limits() throws {
        let bytes = try fixtureBytes("image/files/landscape.jpg")
        let size = try ImageFile.decode(bytes, name: "a").stored
        func decode(_ change: (inout ImageLimits) -> Void) throws(ImageError) {
            var limits = ImageLimits()
            change(&limits)
            _ = try ImageFile.decode(bytes, name: "a", limits: limits)
        }
        try decode {
            $0.maxPixels = size.width * size.height
            $0.maxSide = max(size.width, size.height)
            $0.maxBytes = bytes.count
        }
        let side = max(size.width, size.height) - 1
        #expect(
            throws: ImageError.tooLarge(
                name: "a",
                width: size.width,
                height: size.height,
                maxPixels: ImageLimits().maxPixels,
                maxSide: side
            )
        ) { try decode { $0.maxSide = side } }
        #expect(
            throws: ImageError.tooLarge(
                name: "a",
                width: size.width,
                height: size.height,
                maxPixels: size.width * size.height - 1,
                maxSide: ImageLimits().maxSide
            )
        ) { try decode { $0.maxPixels = size.width * size.height - 1 } }
        #expect(throws: ImageError.fileTooLarge(name: "a", bytes: bytes.count, limit: bytes.count - 1)) {
            try decode { $0.maxBytes = bytes.count - 1 }
        }
        #expect(throws: ImageError.empty(name: "b")) { try ImageFile.decode([], name: "b") }
        #expect(throws: ImageError.unknownFormat(name: "b")) {
            try ImageFile.decode(Array("<svg/>".utf8), name: "b")
        }
    }

    // MARK: Encoding

    @Test(
        "a picture written as PNG is read back the same",
        arguments: [(1, 1), (1, 300), (300, 1), (7, 3), (64, 64), (257, 31)]
    )
    func pngRoundTrip(_ width: Int, _ height: Int) throws {
        for picture in [
            ImageFixture.noise(width: width, height: height),
            PixelBuffer(width: width, height: height, color: (1, 2, 255)),
        ] {
            let found = try ImageFile.decode(ImageFile.png(picture), name: "round trip")
            #expect(found.stored == picture)
            #expect(found.format == .png)
            #expect(found.orientation == .upright)
        }
    }
}
