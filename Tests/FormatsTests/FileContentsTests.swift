import Testing
import VLFormats
import VLJSON
import VLTestSupport

@Suite struct FileContentsTests {
    @Test("a file is read whole up to the limit")
    func reads() throws {
        let folder = try ScratchFolder()
        let path = try folder.write("x", [1, 2, 3])
        #expect(try FileContents.read(path, limit: 3) == [1, 2, 3])
        #expect(throws: FormatError.tooLarge(file: path, limit: 2, found: 3)) {
            try FileContents.read(path, limit: 2)
        }
        #expect(try FileContents.read(folder.write("y", []), limit: 0) == [])
        #expect(throws: FormatError.self) { try FileContents.read(folder.path, limit: 9) }
    }

    @Test("a JSON file's error names the file and the place")
    func readsJSON() throws {
        let folder = try ScratchFolder()
        #expect(try FileContents.readJSON(folder.write("x", Array("{\"a\": [1]}".utf8))) == ["a": [1]])
        let path = try folder.write("y", Array("{\"a\": [1,]}".utf8))
        let error = #expect(throws: FormatError.self) { try FileContents.readJSON(path) }
        #expect(error?.description == "\(path): line 1, column 10 (byte 9): 'a': expected a value, found ']'")
    }
}
