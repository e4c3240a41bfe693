import DeepSeekVL
import Testing
import VLFormats
import VLImage
import VLTestSupport

/// Boxes of photos whose files state an orientation: reported in the upright and in the stored picture.
@Suite("Boxes of turned pictures")
struct OrientedBoxesTests {
    /// A picture that is stored turned, as a PNG file that says how.
    private func file(_ upright: PixelBuffer, _ orientation: Orientation) throws -> (PixelBuffer, [UInt8]) {
        // Each way of turning undoes itself, but for the quarter turns, which undo each other.
        let back: Orientation =
            switch orientation {
            case .quarterTurn: .threeQuarterTurn
            case .threeQuarterTurn: .quarterTurn
            default: orientation
            }
        let stored = back.apply(to: upright)
        var bytes = try ImageFile.png(stored)
        // One big-endian TIFF directory with the tag 274.
        let tag: [UInt8] = [1, 0x12, 0, 3, 0, 0, 0, 1, 0, UInt8(orientation.rawValue), 0, 0]
        let exif = Array("eXIfMM".utf8) + [0, 42, 0, 0, 0, 8, 0, 1] + tag + [0, 0, 0, 0]
        let chunk = bigEndian(UInt32(exif.count - 4)) + exif + bigEndian(checksum(exif))
        bytes.insert(contentsOf: chunk, at: 8 + 25) // behind the header
        return (stored, bytes)
    }

    private func bigEndian(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
    }

    private func checksum(_ bytes: [UInt8]) -> UInt32 {
        var sum = UInt32.max
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 0 ? sum >> 1 : (sum >> 1) ^ 0xedb8_8320 }
        }
        return ~sum
    }

    private func part(_ picture: PixelBuffer, _ box: [Int]) -> PixelBuffer {
        picture.crop(x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1])
    }

    @Test(
        "both frames show the same pixels, turned upright or taken as stored",
        arguments: Orientation.allCases
    )
    func frames(_ orientation: Orientation) async throws {
        let picture = try FileContents.read(fixture("../../Examples/shapes.png"), limit: 1 << 20)
        let upright = try ImageFile.decode(picture, name: "shapes.png").stored
        let (stored, bytes) = try file(upright, orientation)
        let decoded = try ImageFile.decode(bytes, name: "turned.png")
        #expect(decoded.orientation == orientation && decoded.stored == stored && decoded.upright == upright)

        let model = try await DeepSeekModel.load(fixture("../../Models/shapes-vl2"), threads: 2)
        let question = "<image>\n<|grounding|>Describe the image."
        for exif in [EXIFOrientation.apply, .ignore] {
            let answer = try await model.answer(question, pictures: [.bytes(bytes)], exif: exif)
            let seen = exif == .apply ? upright : stored
            for object in answer.grounding {
                #expect(
                    orientation.apply(to: part(stored, object.storedPixels)) == part(upright, object.pixels)
                )
                // The official program multiplies by the sides of what the model saw and cuts the fraction off.
                let sides = [seen.width, seen.height, seen.width, seen.height]
                let own = zip(object.box, sides).map { Int(Double($0) / 999 * Double($1)) }
                #expect(own == (exif == .apply ? object.pixels : object.storedPixels))
            }
            if exif == .apply {
                #expect(
                    answer.grounding.map(\.label) == ["a green cross", "an orange square", "a blue square"]
                )
            }
        }
    }
}
