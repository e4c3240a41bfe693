import Foundation
import Testing
import VLFormats

#if canImport(Glibc)
import Glibc
import VLTestSupport
#endif

@Suite struct MappedFileTests {
    @Test("a file is mapped whole, and hints of any kind are harmless")
    func maps() throws {
        let folder = try ScratchFolder()
        let bytes = (0..<70_000).map { UInt8(truncatingIfNeeded: $0) }
        let file = try MappedFile(folder.write("x.bin", bytes))
        #expect(file.bytes.elementsEqual(bytes) && file.span.count == bytes.count && file.name == "x.bin")
        for advice in [MappedFile.Advice.willNeed, .sequential, .random, .hugePages] {
            file.advise(advice)
            file.advise(advice, 5_000..<60_000)
            file.advise(advice, 69_999..<1_000_000)
            file.advise(advice, 5..<5)
        }
        #expect(file.bytes.elementsEqual(bytes))
    }

    @Test("an empty file is refused unless it is allowed")
    func mapsEmpty() throws {
        let folder = try ScratchFolder()
        let path = try folder.write("empty", [])
        #expect(throws: FormatError.tooShort(file: path, expected: 1, found: 0)) { try MappedFile(path) }
        let file = try MappedFile(path, allowsEmpty: true)
        #expect(file.bytes.isEmpty && file.span.isEmpty)
        file.advise(.willNeed)
    }

    @Test("folders, pipes, devices and nothing are refused, and none blocks")
    func refusesOthers() throws {
        let folder = try ScratchFolder()
        #expect(mkfifo(folder("pipe"), 0o600) == 0)
        #expect(throws: FormatError.notAFile(file: folder.path, found: "a folder")) {
            try MappedFile(folder.path)
        }
        #expect(throws: FormatError.notAFile(file: folder("pipe"), found: "a pipe")) {
            try MappedFile(folder("pipe"))
        }
        #expect(throws: FormatError.notAFile(file: "/dev/null", found: "a device")) {
            try MappedFile("/dev/null")
        }
        #expect(throws: FormatError.system(file: folder("no"), .open, code: ENOENT)) {
            try MappedFile(folder("no"))
        }
        #expect(throws: FormatError.self) { try MappedFile("") }
        #expect(throws: FormatError.self) { try MappedFile("/dev/null\u{0}x") }
    }
}
