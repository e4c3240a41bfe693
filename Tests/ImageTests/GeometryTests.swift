import Testing
import VLImage
import VLJSON
import VLTestSupport

@Suite struct GeometryTests {
    private static let gray: (UInt8, UInt8, UInt8) = (127, 127, 127)

    /// The official list of resolutions, in tiles of a side.
    private func candidates(tile: Int) throws -> [(width: Int, height: Int)] {
        let table = try #require(ImageFixture.list("best_resolution.json").first)
        #expect(try table.text("name") == "tile384")
        return try table.rows("candidates").map { ($0[0] / 384 * tile, $0[1] / 384 * tile) }
    }

    @Test("the best resolution is the official one for every size of the tables")
    func bestResolution() throws {
        var count = 0
        for table in try ImageFixture.list("best_resolution.json") {
            let candidates = try table.rows("candidates").map { (width: $0[0], height: $0[1]) }
            let name = try table.text("name")
            for row in try table.rows("rows") {
                let best = Geometry.bestResolution(width: row[0], height: row[1], candidates: candidates)
                #expect(best == (row[2], row[3]), "\(row[0]) x \(row[1]) of \(name)")
                count += 1
            }
        }
        #expect(count == 338)
    }

    // MARK: Tiles

    /// A picture, and the tiles that the official processor cuts it into.
    struct Views: CustomTestStringConvertible, Sendable {
        let key: String
        let source: String
        let tile: Int
        let isCropped: Bool
        let crop: [Int]
        /// A file of the normalised planes, for a few.
        let planes: String?

        var testDescription: String { key }

        static func all() throws -> [Views] {
            try ImageFixture.list("views.json").map { value in
                Views(
                    key: try value.text("key"),
                    source: try value.text("source"),
                    tile: try value.int("tile"),
                    isCropped: try #require(value["cropping"]?.asBool as Bool?),
                    crop: try value.ints("crop"),
                    planes: value["planes"]?.asString
                )
            }
        }
    }

    @Test("global view and tiles are the official ones, byte for byte", arguments: try Views.all())
    func views(_ golden: Views) throws {
        let picture = try ImageFixture.picture("image/sources/\(golden.source)")
        let resolution =
            golden.isCropped
            ? Geometry.bestResolution(
                width: picture.width,
                height: picture.height,
                candidates: try candidates(tile: golden.tile)
            ) : (golden.tile, golden.tile)
        let tiled = TiledPicture(picture, tile: golden.tile, resolution: resolution, color: Self.gray)
        #expect([tiled.tilesAcross, tiled.tilesDown] == golden.crop)
        if golden.isCropped {
            let wanted = try ImageFixture.picture("image/views/\(golden.key).png")
            #expect(tiled.views.flatMap(\.bytes) == wanted.bytes)
        } else {
            // The whole view of the cropped picture, twice.
            let key = golden.key.dropLast("nocrop".count) + "crop"
            let all = try ImageFixture.picture("image/views/\(key).png")
            let wanted = all.crop(x: 0, y: 0, width: golden.tile, height: golden.tile)
            #expect(tiled.views == [wanted, wanted])
        }
        if let planes = golden.planes {
            let wanted = try fixtureBytes("image/views/\(planes)")
            let half = [0.5, 0.5, 0.5]
            let found = Normalize.planes(tiled.views, mean: half, deviation: half)
            var bytes: [UInt8] = []
            for value in found {
                let bits = value.bitPattern
                for shift: UInt32 in [0, 8, 16, 24] { bytes.append(UInt8(bits >> shift & 255)) }
            }
            #expect(bytes == wanted)
        }
    }

    @Test("there are tiles and planes to compare")
    func listsViews() throws {
        let all = try Views.all()
        #expect(all.count == 64)
        #expect(all.count { $0.planes != nil } == 2)
        #expect(try ImageFixture.list("full_views.json").count == 6)
    }

    @Test("real pictures in real tiles have the official rows", arguments: 0..<6)
    func fullViews(_ index: Int) throws {
        let golden = try ImageFixture.list("full_views.json")[index]
        let picture = try ImageFixture.picture("image/files/\(golden.text("source"))")
        let resolution = Geometry.bestResolution(
            width: picture.width,
            height: picture.height,
            candidates: try candidates(tile: 384)
        )
        let tiled = TiledPicture(picture, tile: 384, resolution: resolution, color: Self.gray)
        #expect(try [tiled.tilesAcross, tiled.tilesDown] == golden.ints("crop"))
        #expect(tiled.views.count == 1 + tiled.tilesAcross * tiled.tilesDown)
        let wanted = try ImageFixture.picture("image/views/\(golden.text("key")).png")
        let rows = try golden.ints("rows")
        for line in 0..<wanted.height {
            let view = tiled.views[line / rows.count]
            let row = view.crop(x: 0, y: rows[line % rows.count], width: 384, height: 1)
            let golden = wanted.crop(x: 0, y: line, width: 384, height: 1)
            #expect(row == golden, "view \(line / rows.count), row \(rows[line % rows.count])")
        }
    }

    // MARK: Resampling

    @Test(
        "the order in which rows are made, and by whom, does not matter",
        arguments: [(40, 30), (7, 100), (100, 7), (3, 2), (1, 1), (61, 47)]
    )
    func parallel(_ width: Int, _ height: Int) {
        let picture = ImageFixture.noise(width: 61, height: 47)
        for filter in [ResamplingFilter.bilinear, .bicubic, .lanczos] {
            let plain = picture.resized(width: width, height: height, filter)
            #expect(plain.width == width && plain.height == height)
            let backwards = picture.resized(width: width, height: height, filter) { count, body in
                for index in (0..<count).reversed() { body(index) }
            }
            #expect(plain == backwards)
            if (width, height) == (picture.width, picture.height) { #expect(plain == picture) }
        }
    }

    @Test("one colour stays that colour in any size")
    func oneColor() {
        let picture = PixelBuffer(width: 13, height: 9, color: (0, 255, 101))
        for filter in [ResamplingFilter.bilinear, .bicubic, .lanczos] {
            for (width, height) in [(1, 1), (5, 40), (130, 2), (26, 18)] {
                let found = picture.resized(width: width, height: height, filter)
                #expect(found == PixelBuffer(width: width, height: height, color: (0, 255, 101)))
            }
        }
    }

    @Test("a padded picture is centred on its background")
    func pad() {
        let white = PixelBuffer(width: 4, height: 2, color: (255, 255, 255))
        let found = Geometry.pad(white, width: 6, height: 6, color: (1, 2, 3))
        var wanted = PixelBuffer(width: 6, height: 6, color: (1, 2, 3))
        // 1.5 rows above: to the even number.
        wanted.paste(PixelBuffer(width: 6, height: 3, color: (255, 255, 255)), x: 0, y: 2)
        #expect(found == wanted)
        #expect(Geometry.pad(white, width: 4, height: 2, color: (0, 0, 0)) == white)
        let thin = PixelBuffer(width: 1, height: 2000, color: (9, 9, 9))
        #expect(
            Geometry.pad(thin, width: 32, height: 32, color: (1, 2, 3))
                == PixelBuffer(width: 32, height: 32, color: (1, 2, 3))
        )
    }

    // MARK: Planes

    @Test("planes without a mean are the bytes between 0 and 1, channel by channel")
    func unitPlanes() {
        let picture = PixelBuffer(width: 2, height: 1, bytes: [0, 51, 255, 102, 1, 254])
        let found = Normalize.planes([picture, picture], mean: nil, deviation: [1, 1, 1])
        let wanted: [Float] = [0, 102, 51, 1, 255, 254].map { $0 / 255 }
        #expect(found == wanted + wanted)
        let scaled = Normalize.planes([picture], mean: [0, 0.2, 0.5], deviation: [1, 0.5, 0.25])
        #expect(scaled[0] == 0)
        #expect(scaled[2] == (Float(51) / 255 - Float(0.2)) / Float(0.5))
        #expect(scaled[4] == 2)
        #expect(Normalize.planes([], mean: nil, deviation: [1, 1, 1]).isEmpty)
    }
}
