/// Finds the orientation tag in a picture file's EXIF data; anything odd there counts as upright.
enum EXIF {
    /// The orientation that a JPEG, PNG or WebP file states.
    static func orientation(_ bytes: [UInt8], format: ImageFile.Format) -> Orientation {
        switch format {
        case .jpeg: jpeg(bytes)
        case .png: png(bytes)
        case .webp: webp(bytes)
        default: .upright
        }
    }

    private static func number(_ bytes: [UInt8], _ at: Int, _ count: Int, big: Bool) -> Int? {
        guard at >= 0, at <= bytes.count - count else { return nil }
        var value = 0
        for index in 0..<count { value = value << 8 | Int(bytes[big ? at + index : at + count - 1 - index]) }
        return value
    }

    private static func jpeg(_ bytes: [UInt8]) -> Orientation {
        var place = 2
        while place + 4 <= bytes.count, bytes[place] == 0xff {
            let marker = bytes[place + 1]
            if marker == 0xff {
                place += 1
                continue
            }
            if marker == 0xda || marker == 0xd9 { break }
            guard let length = number(bytes, place + 2, 2, big: true), length >= 2 else { break }
            let start = place + 4
            let end = min(place + 2 + length, bytes.count)
            if marker == 0xe1, end - start >= 6,
                bytes[start..<start + 6].elementsEqual([0x45, 0x78, 0x69, 0x66, 0, 0])
            {
                return tiff(Array(bytes[(start + 6)..<end]))
            }
            place += 2 + length
        }
        return .upright
    }

    private static func png(_ bytes: [UInt8]) -> Orientation {
        var place = 8
        while let length = number(bytes, place, 4, big: true), place + 12 <= bytes.count {
            let type = bytes[place + 4..<place + 8]
            let end = place + 8 + length
            guard end <= bytes.count else { break }
            if type.elementsEqual("eXIf".utf8) { return tiff(Array(bytes[(place + 8)..<end])) }
            if type.elementsEqual("IEND".utf8) { break }
            place = end + 4
        }
        return .upright
    }

    private static func webp(_ bytes: [UInt8]) -> Orientation {
        var place = 12
        while place + 8 <= bytes.count, let length = number(bytes, place + 4, 4, big: false) {
            let end = place + 8 + length
            guard end <= bytes.count else { break }
            if bytes[place..<place + 4].elementsEqual("EXIF".utf8) {
                let start =
                    bytes[(place + 8)..<end].starts(with: [0x45, 0x78, 0x69, 0x66, 0, 0])
                    ? place + 14 : place + 8
                return tiff(Array(bytes[start..<end]))
            }
            place = end + (length & 1)
        }
        return .upright
    }

    /// Tag 274 of the first directory.
    private static func tiff(_ bytes: [UInt8]) -> Orientation {
        let big: Bool
        switch bytes.prefix(2) {
        case [0x4d, 0x4d]: big = true
        case [0x49, 0x49]: big = false
        default: return .upright
        }
        guard number(bytes, 2, 2, big: big) == 42, let directory = number(bytes, 4, 4, big: big),
            let count = number(bytes, directory, 2, big: big)
        else { return .upright }
        for entry in 0..<count {
            let place = directory + 2 + 12 * entry
            guard let tag = number(bytes, place, 2, big: big) else { break }
            if tag == 274 {
                guard number(bytes, place + 2, 2, big: big) == 3 else { break }
                return number(bytes, place + 8, 2, big: big).flatMap { Orientation(rawValue: $0) } ?? .upright
            }
        }
        return .upright
    }
}
