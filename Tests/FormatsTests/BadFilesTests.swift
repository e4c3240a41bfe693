import Foundation
import Testing
import VLFormats
import VLTestSupport

/// A file of a collection of bad and odd ones, and what must happen with it.
struct BadFile: CustomTestStringConvertible, Sendable {
    let folder: String
    let name: String
    let expected: String
    let fault: String

    var testDescription: String { "\(name): \(fault)" }
    var path: String { fixture("badfiles/\(folder)/\(name)") }

    /// The collection that `expectations.tsv` lists.
    static func all(_ folder: String) throws -> [BadFile] {
        let bytes = try fixtureBytes("badfiles/\(folder)/expectations.tsv")
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").dropFirst().map { line in
            let fields = line.split(separator: "\t").map(String.init)
            return BadFile(folder: folder, name: fields[0], expected: fields[1], fault: fields[2])
        }
    }
}

@Suite struct BadFilesTests {
    @Test("the collections are there")
    func listsFiles() throws {
        #expect(try BadFile.all("safetensors").count == 94)
        #expect(try BadFile.all("config").count == 45)
        #expect(try BadFile.all("gguf").count == 77)
    }

    @Test(
        "a bad checkpoint is refused by name and an odd one opened",
        arguments: try BadFile.all("safetensors") + BadFile.all("gguf")
    )
    func checkpoint(_ file: BadFile) throws {
        do throws(FormatError) {
            let store = try WeightStore.open(file.path)
            #expect(file.expected != "reject", "accepted")
            for name in store.names {
                let tensor = try store.tensor(named: name)
                #expect(tensor.bytes.count == tensor.byteCount)
                _ = tensor.bytes.reduce(0) { $0 &+ Int($1) }
            }
            #expect(store.unread.isEmpty)
        } catch {
            #expect(file.expected == "reject" || file.expected == "either", "\(error)")
            let folder = file.path.dropLast(file.name.count)
            #expect(error.description.hasPrefix(folder), "\(error) names no file")
            #expect(error.description.contains("expected") && error.description.contains("found"), "\(error)")
        }
    }

    @Test(
        "a configuration that is no strict JSON is refused, any other read",
        arguments: try BadFile.all("config")
    )
    func configuration(_ file: BadFile) throws {
        let broken: Set = [
            "empty_file.json", "cut_off.json", "not_utf8.json", "deep_nesting.json", "dup_key.json",
            "nan.json",
            "exponent_overflow.json",
        ]
        do throws(FormatError) {
            _ = try FileContents.readJSON(file.path)
            #expect(!broken.contains(file.name), "accepted")
        } catch {
            #expect(broken.contains(file.name), "\(error)")
            guard case .json(file.path, _) = error else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test(
        "an error says what was expected and found",
        arguments: [
            (
                "length_huge",
                "header: expected at most 100000000 bytes, found a length of 18446744073709551615"
            ),
            ("empty_file", "expected at least 8 bytes, found 0"),
            ("utf8_bom", "header: expected '{' first, found the byte 239"),
            ("length_zero", "header: expected '{' first, found nothing"),
            ("field_missing", "expected the field 'shape', found none"),
            ("offset_count", "expected 2 numbers in 'data_offsets', found 1"),
            ("hole_at_start", "a hole"), ("overlap", "an overlap with"),
            ("trailing_bytes", "bytes of tensors, found"), ("dtype_unknown", "expected a dtype of BOOL"),
            (
                "shape_wraps_to_zero",
                "expected a shape whose bytes can be counted, found [4611686018427387904, 4]"
            ),
            ("offset_exponent", "expected a whole number that is not negative, found"),
            ("index_no_map/model.safetensors.index.json", "expected an object 'weight_map', found none"),
            ("index_traversal/model.safetensors.index.json", "found '../model-00001-of-00002.safetensors'"),
            ("index_nul/model.safetensors.index.json", "safetensors\\u{0}.txt'"),
            ("index_shard_missing/model.safetensors.index.json", "expected the file 'model-00002-of-00002"),
            ("index_dup_across/model.safetensors.index.json", "as the index says, found here"),
        ]
    )
    func words(_ name: String, _ words: String) {
        let path = fixture("badfiles/safetensors/\(name)" + (name.hasSuffix(".json") ? "" : ".safetensors"))
        let error = #expect(throws: FormatError.self) { try WeightStore.open(path) }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }
}
