import Testing
import VLImage
import VLJSON
import VLTestSupport

/// Files of `Tests/Fixtures/image`.
enum ImageFixture {
    static func list(_ name: String) throws -> [JSONValue] {
        try #require(try JSONValue(parsing: fixtureBytes("image/\(name)")).asArray)
    }

    /// The picture of a file as it is stored.
    static func picture(_ path: String) throws -> PixelBuffer {
        try ImageFile.decode(fixtureBytes(path), name: path).stored
    }

    /// A picture of noise, the same in every run.
    static func noise(width: Int, height: Int) -> PixelBuffer {
        var state: UInt32 = 0x1234_5678
        let bytes = (0..<(width * height * 3)).map { _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 24)
        }
        return PixelBuffer(width: width, height: height, bytes: bytes)
    }
}

extension JSONValue {
    func text(_ key: String) throws -> String { try #require(self[key]?.asString) }

    func int(_ key: String) throws -> Int { try #require(self[key]?.asInt) }

    func ints(_ key: String) throws -> [Int] {
        try #require(self[key]?.asArray).map { try #require($0.asInt) }
    }

    func rows(_ key: String) throws -> [[Int]] {
        try #require(self[key]?.asArray).map { row in
            try #require(row.asArray).map { try #require($0.asInt) }
        }
    }
}
