import Testing
import VLImage
import VLTestSupport

@Suite struct EXIFTests {
    /// EXIF data with one directory of one entry.
    private func exif(
        big: Bool,
        tag: Int = 274,
        type: Int = 3,
        value: Int,
        offset: Int = 8,
        entries: Int = 1
    ) -> [UInt8] {
        func number(_ value: Int, _ size: Int) -> [UInt8] {
            let little = (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
            return big ? little.reversed() : little
        }
        let order = Array((big ? "MM" : "II").utf8)
        let start = number(42, 2) + number(offset, 4) + number(entries, 2)
        let entry = number(tag, 2) + number(type, 2) + number(1, 4) + number(value, 2) + [0, 0]
        return order + start + entry + number(0, 4)
    }

    /// The orientation of a JPEG with these EXIF data.
    private func orientation(_ data: [UInt8]) throws -> Int {
        let plain = try fixtureBytes("badfiles/images/jpg_ok_baseline.jpg")
        let segment = Array("Exif\0\0".utf8) + data
        let length = segment.count + 2
        let marker: [UInt8] = [0xff, 0xe1, UInt8(length >> 8), UInt8(length & 255)]
        let file = plain[..<2] + marker + segment + plain[2...]
        return try ImageFile.decode(Array(file), name: "made").orientation.rawValue
    }

    @Test("the tag is read in both byte orders", arguments: 1...8)
    func byteOrders(_ value: Int) throws {
        #expect(try orientation(exif(big: true, value: value)) == value)
        #expect(try orientation(exif(big: false, value: value)) == value)
    }

    @Test("data that make no sense count as upright", arguments: [true, false])
    func nonsense(_ big: Bool) throws {
        for value in [0, 9, 255, 65_535] { #expect(try orientation(exif(big: big, value: value)) == 1) }
        #expect(try orientation(exif(big: big, tag: 275, value: 6)) == 1)
        #expect(try orientation(exif(big: big, type: 2, value: 6)) == 1)
        #expect(try orientation(exif(big: big, tag: 1, value: 6, entries: 65_535)) == 1)
        for offset in [24, 25, 26, 1000, Int(Int32.max), Int(UInt32.max)] {
            #expect(try orientation(exif(big: big, value: 6, offset: offset)) == 1, "\(offset)")
        }
    }

    @Test("data that end early count as upright", arguments: [true, false])
    func cut(_ big: Bool) throws {
        let whole = exif(big: big, value: 6)
        // The value ends at byte 20; what follows is padding and the way to a next directory.
        for length in 0..<whole.count {
            #expect(try orientation(Array(whole.prefix(length))) == (length >= 20 ? 6 : 1), "\(length)")
        }
    }
}
