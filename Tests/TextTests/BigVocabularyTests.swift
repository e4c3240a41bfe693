import Foundation
import Testing

/// The real vocabularies, which are too large for this repository.
///
/// The environment variable `VL_GOLDENS` names the folder of the golden fixtures.
@Suite struct BigVocabularyTests {
    private static let folder = ProcessInfo.processInfo.environment["VL_GOLDENS"]

    @Test(
        "ids and texts of the real vocabularies equal those of the official library",
        .enabled(if: folder != nil),
        arguments: ["deepseek-coder", "deepseek-llm", "deepseek-v3"]
    )
    func golden(_ name: String) throws {
        let folder = URL(fileURLWithPath: try #require(Self.folder)).appendingPathComponent("tokenizer")
        let packed = folder.appendingPathComponent("vocab/\(name).tokenizer.json.gz")
        let golden = try [UInt8](Data(contentsOf: folder.appendingPathComponent("\(name).json")))
        try GoldenTokenizer(tokenizer: unpack(packed), golden: golden, name: name).check()
    }

    private func unpack(_ file: URL) throws -> [UInt8] {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["gzip", "-dc", file.path]
        process.standardOutput = pipe
        try process.run()
        let bytes = [UInt8](pipe.fileHandleForReading.readDataToEndOfFile())
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return bytes
    }
}
