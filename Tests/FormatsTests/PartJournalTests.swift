import Foundation
import Testing
import VLFormats

#if canImport(Glibc)
import Glibc
import VLTestSupport
#endif

/// Files whose writer is killed: what it leaves is copied while it lives, as it cleans up when it ends.
@Suite struct PartJournalTests {
    private let folder: ScratchFolder
    private let rest: ScratchFolder
    private let first = [UInt8](repeating: 1, count: 300_001)
    private let second = [UInt8](repeating: 2, count: 1_500_000)

    /// Leaves 1,800,001 bytes that are noted in two steps, and some more.
    init() throws {
        folder = try ScratchFolder()
        rest = try ScratchFolder()
        var file = try AtomicFile(folder("x"), resuming: [7, 8])
        try file.write(first)
        try file.record()
        try file.write(second)
        try file.record()
        #expect(file.unrecorded == 0)
        try file.write([UInt8](repeating: 3, count: 600_000))
        for name in [".x.deepseek-vl-part", ".x.deepseek-vl-journal"] {
            try FileManager.default.copyItem(atPath: folder(name), toPath: rest(name))
        }
    }

    @Test("the next writer goes on behind what was noted, and nothing remains beside the file")
    func resumes() throws {
        #expect(try folder.names.isEmpty)
        #expect(try contents(rest(".x.deepseek-vl-part")).count > first.count + second.count)
        var file = try AtomicFile(rest("x"), resuming: [7, 8])
        #expect(file.count == first.count + second.count)
        try file.write([4, 5])
        try file.commit()
        #expect(try contents(rest("x")) == first + second + [4, 5])
        #expect(try rest.names == ["x"])
    }

    @Test("of another job nothing is used")
    func otherJob() throws {
        for job: [UInt8] in [[7, 9], [7], [7, 8, 9], []] {
            let file = try AtomicFile(rest("x"), resuming: job)
            #expect(file.count == 0)
        }
    }

    @Test("of a damaged part only the whole steps are used")
    func damagedPart() throws {
        var bytes = try contents(rest(".x.deepseek-vl-part"))
        bytes[first.count + 5] ^= 1
        _ = try rest.write(".x.deepseek-vl-part", bytes)
        var file = try AtomicFile(rest("x"), resuming: [7, 8])
        #expect(file.count == first.count)
        try file.write([6])
        try file.commit()
        #expect(try contents(rest("x")) == first + [6])
    }

    @Test(
        "a part that is too short, or a journal that is cut off or damaged, is believed as far as it is whole"
    )
    func damagedJournal() throws {
        let part = try contents(rest(".x.deepseek-vl-part"))
        let journal = try contents(rest(".x.deepseek-vl-journal"))
        func count(part: [UInt8], journal: [UInt8]) throws -> Int {
            _ = try rest.write(".x.deepseek-vl-part", part)
            _ = try rest.write(".x.deepseek-vl-journal", journal)
            return try AtomicFile(rest("x"), resuming: [7, 8]).count
        }
        #expect(try count(part: part, journal: journal) == first.count + second.count)
        #expect(try count(part: Array(part.prefix(first.count + 1)), journal: journal) == first.count)
        #expect(try count(part: [], journal: journal) == 0)
        #expect(try count(part: part, journal: journal.dropLast()) == first.count)
        #expect(try count(part: part, journal: []) == 0)
        for place in journal.indices {
            var damaged = journal
            damaged[place] ^= 0x40
            let found = try count(part: part, journal: damaged)
            #expect([0, first.count].contains(found), "byte \(place)")
        }
    }

    @Test("two writers of one file do not meet")
    func locks() throws {
        let file = try AtomicFile(rest("x"), resuming: [7, 8])
        #expect(throws: FormatError.system(file: rest("x"), .lock, code: EWOULDBLOCK)) {
            _ = try AtomicFile(rest("x"), resuming: [7, 8])
        }
        #expect(file.count > 0)
    }

    @Test(
        "temporary files of killed writers go when the next one writes into the folder, and those of living ones stay"
    )
    func stale() throws {
        let folder = try ScratchFolder()
        let old = try folder.write(".deepseek-vl-1a.tmp", [1])
        let living = try folder.write(".deepseek-vl-2b.tmp", [1])
        let foreign = try folder.write("x.tmp", [1])
        _ = try folder.write(".deepseek-vl-3c.tmp", [1])
        for path in [old, living, foreign] {
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: -3600)],
                ofItemAtPath: path
            )
        }
        let number = open(living, O_RDONLY)
        defer { close(number) }
        try #require(flock(number, LOCK_EX | LOCK_NB) == 0)
        try AtomicFile.write(folder("y"), [1])
        #expect(try folder.names == [".deepseek-vl-2b.tmp", ".deepseek-vl-3c.tmp", "x.tmp", "y"])
    }
}
