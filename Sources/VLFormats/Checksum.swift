#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A sum that tells bytes from others by chance; nobody is kept from making equal ones.
package enum Checksum {
    private static let pieceBytes = 1 << 20
    package static let start: UInt64 = 0x9e37_79b9_7f4a_7c15

    private static func mix(_ sum: UInt64, _ word: UInt64) -> UInt64 {
        let product = (sum ^ word) &* 0xff51_afd7_ed55_8ccd
        return product ^ product >> 29
    }

    /// Of bytes in memory, over a sum of those before.
    package static func of(_ bytes: UnsafeRawBufferPointer, from sum: UInt64 = start) -> UInt64 {
        var sum = mix(sum, UInt64(bytes.count))
        let whole = bytes.count / 8 * 8
        for place in stride(from: 0, to: whole, by: 8) {
            sum = mix(
                sum,
                UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            )
        }
        var rest: UInt64 = 0
        for place in whole..<bytes.count { rest = rest << 8 | UInt64(bytes[place]) }
        return mix(sum, rest)
    }

    static func of(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { of($0) } }

    /// Of a part of a file; nil where the file does not have it all.
    static func of(_ number: Int32, _ range: Range<Int>) -> UInt64? {
        let size = min(pieceBytes, max(range.count, 1))
        return withUnsafeTemporaryAllocation(byteCount: size, alignment: 16) { piece in
            var sum = start
            var place = range.lowerBound
            while place < range.upperBound {
                let wanted = min(size, range.upperBound - place)
                var got = 0
                while got < wanted {
                    let step = pread(
                        number,
                        piece.baseAddress.map { $0 + got },
                        wanted - got,
                        off_t(place + got)
                    )
                    if step > 0 {
                        got += step
                    } else if step == 0 || errno != EINTR {
                        return nil
                    }
                }
                sum = of(UnsafeRawBufferPointer(rebasing: piece[..<wanted]), from: sum)
                place += wanted
            }
            return sum
        }
    }
}
