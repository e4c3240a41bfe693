import Dispatch
import Testing
import VLImage
import VLTestSupport

@Suite struct ResizeTests {
    /// The pictures that the goldens were made from.
    private func source(_ width: Int, _ height: Int, _ kind: String) -> PixelBuffer {
        var bytes = [UInt8](repeating: 0, count: width * height * 3)
        var state = UInt32(width * 7919 + height)
        for index in bytes.indices {
            switch kind {
            case "noise":
                state = state &* 1_664_525 &+ 1_013_904_223
                bytes[index] = UInt8(state >> 24)
            case "edges":
                let pixel = index / 3
                bytes[index] = (pixel % width * 3 / width + pixel / width) & 1 == 1 ? 255 : 0
            default:
                bytes[index] = UInt8(truncatingIfNeeded: index * 7)
            }
        }
        return PixelBuffer(width: width, height: height, bytes: bytes)
    }

    private func filter(_ name: String) throws -> ResamplingFilter {
        switch name {
        case "bilinear": .bilinear
        case "bicubic": .bicubic
        case "lanczos": .lanczos
        default: try #require(nil, "no filter \(name)")
        }
    }

    @Test("240 resizes give Pillow's bytes")
    func goldens() throws {
        let rows = try table("image/resize.tsv")
        #expect(rows.count == 240)
        for row in rows {
            let sides = row.prefix(4).compactMap { Int($0) }
            let picture = source(sides[0], sides[1], row[5])
            let resized = picture.resized(width: sides[2], height: sides[3], try filter(row[4]))
            #expect(resized.width == sides[2] && resized.height == sides[3])
            #expect(SHA256.hex(resized.bytes) == row[6], "\(row.prefix(6))")
        }
    }

    @Test("threads change nothing")
    func threads() {
        let picture = source(333, 217, "noise")
        for (width, height) in [(100, 50), (500, 300), (333, 10), (10, 217), (1, 1)] {
            let alone = picture.resized(width: width, height: height, .bicubic)
            let shared = picture.resized(width: width, height: height, .bicubic) { count, body in
                nonisolated(unsafe) let body = body
                DispatchQueue.concurrentPerform(iterations: count) { body($0) }
            }
            #expect(alone == shared)
        }
    }

    @Test("the same size is the same picture")
    func identity() {
        let picture = source(31, 17, "noise")
        for filter in [ResamplingFilter.bilinear, .bicubic, .lanczos] {
            #expect(picture.resized(width: 31, height: 17, filter) == picture)
        }
    }

    @Test("a picture of one colour keeps it", arguments: [UInt8(0), 1, 127, 254, 255])
    func flat(_ value: UInt8) {
        let picture = PixelBuffer(width: 13, height: 7, color: (value, value, value))
        for (width, height) in [(5, 3), (40, 30), (1, 200), (700, 1)] {
            for filter in [ResamplingFilter.bilinear, .bicubic, .lanczos] {
                let resized = picture.resized(width: width, height: height, filter)
                #expect(resized.bytes.allSatisfy { $0 == value })
            }
        }
    }
}
