import Foundation
import Testing
import VLFormats

#if canImport(Glibc)
import Glibc
import VLTestSupport
#endif

@Suite struct AtomicFileTests {
    @Test("a file appears whole, replaces an older one, and leaves nothing else behind")
    func writes() throws {
        let folder = try ScratchFolder()
        for bytes in [[1, 2, 3], [], [UInt8](repeating: 7, count: 1_000_000)] {
            try AtomicFile.write(folder("out.png"), bytes)
            #expect(try contents(folder("out.png")) == bytes)
        }
        #expect(try folder.names == ["out.png"])
    }

    @Test("small and big pieces keep their order")
    func keepsOrder() throws {
        let folder = try ScratchFolder()
        var expected: [UInt8] = []
        var file = try AtomicFile(folder("x"))
        for size in [1, 100_000, 200_000, 1, 300_000, 0, 5, 262_144, 131_072, 2] {
            let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: size), count: size)
            expected += piece
            try file.write(piece)
            #expect(file.count == expected.count)
        }
        #expect(try folder.names.count == 1 && folder.names != ["x"])
        try file.commit()
        #expect(try contents(folder("x")) == expected)
    }

    @Test("without a commit nothing remains, and an older file stays as it was")
    func rollsBack() throws {
        let folder = try ScratchFolder()
        try AtomicFile.write(folder("x"), [1])
        do {
            var file = try AtomicFile(folder("x"))
            try file.write([UInt8](repeating: 2, count: 1_000_000))
        }
        #expect(try contents(folder("x")) == [1])
        #expect(try folder.names == ["x"])
    }

    @Test("folders, devices and folders that do not exist are refused")
    func refuses() throws {
        let folder = try ScratchFolder()
        #expect(throws: FormatError.notAFile(file: folder.path, found: "a folder")) {
            try AtomicFile.write(folder.path, [1])
        }
        #expect(throws: FormatError.notAFile(file: "/dev/null", found: "a device")) {
            try AtomicFile.write("/dev/null", [1])
        }
        #expect(throws: FormatError.system(file: folder("no/x"), .create, code: ENOENT)) {
            try AtomicFile.write(folder("no/x"), [1])
        }
        #expect(throws: FormatError.self) { try AtomicFile.write("", [1]) }
    }

    @Test("a link stays and the file that it names is replaced")
    func followsLinks() throws {
        let folder = try ScratchFolder()
        let target = try folder.write("target", [1])
        #expect(symlink(target, folder("link")) == 0)
        try AtomicFile.write(folder("link"), [2])
        #expect(try contents(target) == [2])
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder("link")) == target)
    }

    @Test("a disk that takes no more gives a typed error and leaves no file")
    func survivesFullDisk() async {
        await #expect(processExitsWith: .success) {
            // The limit on a file's size stands for the end of the disk; its signal would end the process.
            signal(SIGXFSZ, SIG_IGN)
            #if canImport(Glibc)
            let kind = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)
            #else
            let kind = RLIMIT_FSIZE
            #endif
            var usual = rlimit()
            getrlimit(kind, &usual)
            var limit = rlimit(rlim_cur: 100_000, rlim_max: usual.rlim_max)
            setrlimit(kind, &limit)
            // What this process leaves at its end, its coverage, must not be cut off.
            defer { setrlimit(kind, &usual) }
            let folder = try ScratchFolder()
            let tensor = SafetensorsWriter.Tensor(
                name: "t",
                dtype: .uint8,
                shape: [1_000_000],
                bytes: [UInt8](repeating: 1, count: 1_000_000)
            )
            #expect(throws: FormatError.system(file: folder("x"), .write, code: EFBIG)) {
                try SafetensorsWriter.write(folder("x"), tensors: [tensor])
            }
            #expect(try folder.names == [])
        }
    }
}
