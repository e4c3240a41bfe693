import Foundation
import Testing
import VLFormats
import VLTestSupport

/// Folders of parts whose writer is killed: what it leaves is copied while it lives, as it cleans up when it ends.
@Suite struct PartFolderTests {
    private let scratch: ScratchFolder
    private let rest: ScratchFolder
    private let hidden = ".x.deepseek-vl-parts"

    /// Leaves two parts of the job 7, 8.
    init() throws {
        scratch = try ScratchFolder()
        rest = try ScratchFolder()
        let folder = try PartFolder(of: scratch("x"), job: [7, 8])
        for name in ["0", "1"] { try AtomicFile.write(folder(name), Array(name.utf8)) }
        try FileManager.default.copyItem(atPath: scratch(hidden), toPath: rest(hidden))
    }

    @Test("the next process with the same job finds the parts, and nothing remains when it ends")
    func resumes() throws {
        #expect(try scratch.names.isEmpty)
        #expect(try rest.names == [hidden])
        do {
            // A result that is a folder may be named with a slash.
            let folder = try PartFolder(of: rest("x/"), job: [7, 8])
            #expect(try contents(folder("1")) == Array("1".utf8))
        }
        #expect(try rest.names.isEmpty)
    }

    @Test("the parts of another job are gone", arguments: [[7, 9], [7], [7, 8, 9], []] as [[UInt8]])
    func otherJob(_ job: [UInt8]) throws {
        let folder = try PartFolder(of: rest("x"), job: job)
        #expect(try FileManager.default.contentsOfDirectory(atPath: rest(hidden)) == ["job"])
        #expect(try contents(folder("job")) == job)
    }

    @Test("two processes do not make the same result at once")
    func locked() throws {
        let folder = try PartFolder(of: rest("x"), job: [7, 8])
        let error = #expect(throws: FormatError.self) { _ = try PartFolder(of: rest("x"), job: [7, 8]) }
        #expect(error?.description.contains("x: lock: ") == true)
        #expect(try contents(folder("0")) == Array("0".utf8))
    }

    @Test("a folder that was left half-written by a killed process is removed, one whose writer lives is not")
    func staleFolders() throws {
        let target = scratch("out")
        let living = try AtomicFolder(target)
        try AtomicFile.write(living("file"), [1])
        let alive = try #require(scratch.names.first)
        for name in [".out.deepseek-vl-1f", ".out.deepseek-vl-parts", ".out.deepseek-vl-2e"] {
            try scratch.write(name + "/model.safetensors", [1, 2, 3])
        }
        // Old enough to be nobody's, all but the last.
        for name in [alive, ".out.deepseek-vl-1f", ".out.deepseek-vl-parts"] {
            let long = Date(timeIntervalSinceNow: -3600)
            try FileManager.default.setAttributes([.modificationDate: long], ofItemAtPath: scratch(name))
        }
        do { _ = try AtomicFolder(target) }
        #expect(
            try scratch.names == [alive, ".out.deepseek-vl-2e", ".out.deepseek-vl-parts"].sorted()
        )
        #expect(try contents(living("file")) == [1])
    }
}
