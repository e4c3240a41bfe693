import Testing
import VLImage
import VLTestSupport

@Suite struct LetterboxTests {
    private static let gray: (UInt8, UInt8, UInt8) = (127, 127, 127)

    @Test("small pictures become the official squares and numbers of DeepSeek-VL")
    func small() throws {
        let rows = try table("image/vl_views.tsv")
        #expect(rows.count == 48)
        for row in rows {
            let side = try #require(Int(row[1]))
            let color = row[3].split(separator: " ").compactMap { UInt8($0) }
            let picture = try decoded("sources/\(row[0])").stored
            let square = Geometry.letterbox(picture, side: side, color: (color[0], color[1], color[2]))
            #expect(SHA256.hex(square.bytes) == row[4], "\(row)")
            let numbers: [Float] =
                switch row[2] {
                case "half":
                    Normalize.planes([square], mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5])
                case "clip_norm":
                    Normalize.planes(
                        [square],
                        mean: [0.48145466, 0.4578275, 0.40821073],
                        deviation: [0.26862954, 0.26130258, 0.27577711]
                    )
                default:
                    Normalize.planes([square], mean: nil, deviation: [])
                }
            #expect(SHA256.hex(littleEndian(numbers)) == row[5], "\(row)")
        }
    }

    @Test("pictures become the official squares of 384 and 1024")
    func full() throws {
        let rows = try table("image/vl_views_full.tsv")
        #expect(rows.count == 12)
        for row in rows {
            let side = try #require(Int(row[1]))
            let picture = try decoded("files/\(row[0])").stored
            // The larger of DeepSeek-VL's towers has CLIP's mean as its background.
            let color: (UInt8, UInt8, UInt8) = side == 1024 ? (122, 116, 104) : Self.gray
            let square = Geometry.letterbox(picture, side: side, color: color)
            #expect(SHA256.hex(square.bytes) == row[2], "\(row)")
        }
    }

    @Test("whole views of 384 are the official ones of DeepSeek-VL2")
    func views() throws {
        // Pixels that the list of candidates leads to, in its order.
        let shapes = [
            (1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (4, 1), (2, 2), (1, 5), (5, 1), (1, 6), (6, 1),
            (2, 3), (3, 2), (1, 7), (7, 1), (4, 2), (2, 4), (1, 8), (8, 1), (3, 3), (1, 9), (9, 1),
        ]
        let candidates = shapes.map { (width: $0.0 * 384, height: $0.1 * 384) }
        for row in try table("image/vl2_views_384.tsv") {
            let picture = try decoded("files/\(row[0])").stored
            let resolution = Geometry.bestResolution(
                width: picture.width,
                height: picture.height,
                candidates: candidates
            )
            let tiled = TiledPicture(picture, tile: 384, resolution: resolution, color: Self.gray)
            let found = [tiled.tilesAcross, tiled.tilesDown, tiled.views.count]
            #expect(found == row[1...3].compactMap { Int($0) }, "\(row[0])")
            for (view, digest) in zip(tiled.views, row[4].split(separator: " ")) {
                #expect(SHA256.hex(view.bytes) == digest, "\(row[0])")
            }
        }
    }

    @Test("the square is never smaller than the shortest side it asks for")
    func tiny() {
        let thin = PixelBuffer(width: 1, height: 300, color: (255, 0, 0))
        for side in [1, 5, 14, 15] {
            let square = Geometry.letterbox(thin, side: side, color: Self.gray)
            #expect(square.width == side && square.height == side)
        }
    }
}
