import Foundation
import Testing
import VLFormats
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

/// What becomes of runs that are killed.
@Suite struct ResumeTests {
    private let scratch: ScratchFolder
    private let source: String
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    /// A file of 24 matrices that take a few seconds to quantize.
    init() throws {
        scratch = try ScratchFolder()
        source = scratch("source.gguf")
        try Self.write(source, seed: 1)
    }

    private static let columns = 1024
    private static let rows = 768

    private static func write(_ path: String, seed: UInt32) throws {
        let float32 = try #require(StoredDType(rawValue: "F32"))
        let tensors = (0..<24).map { index in
            OutgoingTensor(name: "blk.\(index).attn_q.weight", dtype: float32, shape: [rows, columns]) {
                (output) throws(FormatError) in
                var state = seed &+ UInt32(index)
                for _ in 0..<rows {
                    let row = (0..<columns).map { _ -> Float in
                        state = state &* 1_664_525 &+ 1_013_904_223
                        return Float(state >> 8) / 16_777_216 - 0.5
                    }
                    try output.write(row.withUnsafeBytes { Array($0) })
                }
            }
        }
        try GGUFWriter.write(path, metadata: [("general.architecture", .text("llama"))], tensors: tensors)
    }

    private var journal: String { scratch(".out.gguf.deepseek-vl-journal") }
    private var part: String { scratch(".out.gguf.deepseek-vl-part") }

    private func size(_ path: String) -> Int {
        ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int) ?? 0
    }

    /// Starts the program and kills it when so many tensors are on the disk.
    ///
    /// - Returns: bytes of the part that it left.
    private func killed(_ arguments: [String], after records: Int) throws -> Int {
        // The description is longer than a record and shorter than ten.
        func noted() -> Int {
            guard let bytes = FileManager.default.contents(atPath: journal), bytes.count >= 16 else {
                return 0
            }
            let length = bytes[8..<16].reversed().reduce(0) { $0 << 8 | Int($1) }
            return max(0, bytes.count - 16 - length) / 24
        }
        #expect(try VLTestSupport.killed(arguments) { noted() >= records })
        return size(part)
    }

    @Test("a run that was killed goes on where it was, and gives the bytes of one that was not")
    func resumes() throws {
        let arguments = ["quantize", source, scratch("out.gguf"), "q4_k_m", "--threads", "1"]
        let whole = scratch("whole.gguf")
        try Quantizer(source, to: .q4_k_m, run: run).write(whole)
        let expected = try #require(FileManager.default.contents(atPath: whole))
        for records in [0, 1, 3, 5, 8] {
            let left = try killed(arguments, after: records)
            // Killed at once, it may have had no time to create a file.
            #expect(records == 0 || left >= records * 2 * 442_368)
            #expect(left < expected.count)
            #expect(try !scratch.names.contains("out.gguf"))
        }
        // The last of them left sixteen tensors to go on with, each of 442,368 bytes, a note for every second.
        #expect(size(part) >= 16 * 442_368)
        #expect(try program(arguments).status == 0)
        #expect(FileManager.default.contents(atPath: scratch("out.gguf")) == expected)
        #expect(try scratch.names == ["out.gguf", "source.gguf", "whole.gguf"])
    }

    @Test("what was left of a run with another type, source or importance matrix is not used")
    func otherJobs() throws {
        let arguments = ["quantize", source, scratch("out.gguf"), "q5_k_m", "--threads", "1"]
        #expect(try killed(arguments, after: 4) > 1_000_000)
        try Quantizer(source, to: .q4_k_m, run: run).write(scratch("whole.gguf"))
        try Quantizer(source, to: .q4_k_m, run: run).write(scratch("out.gguf"))
        func bytes(_ name: String) -> Data? { FileManager.default.contents(atPath: scratch(name)) }
        #expect(bytes("out.gguf") == bytes("whole.gguf") && bytes("out.gguf") != nil)
        // The same header and size, and other values.
        try FileManager.default.removeItem(atPath: scratch("out.gguf"))
        #expect(try killed(arguments, after: 4) > 1_000_000)
        try Self.write(source, seed: 2)
        let done = try program(arguments)
        #expect(done.status == 0)
        try Quantizer(source, to: .q5_k_m, run: run).write(scratch("whole.gguf"), replaces: true)
        #expect(bytes("out.gguf") == bytes("whole.gguf"))
        #expect(try scratch.names == ["out.gguf", "source.gguf", "whole.gguf"])
    }

    @Test("a conversion that was killed goes on, too")
    func converts() throws {
        let folder = try scratch.copy(checkpoint("llm-linear"))
        let arguments = ["convert", folder, "--outfile", scratch("out.gguf"), "--type", "q8_0"]
        // Small tensors are written without a note each; what is left is still taken or dropped, never mixed.
        _ = try killed(arguments, after: 0)
        #expect(try program(arguments + ["--force"]).status == 0)
        try GGUFConverter(folder, type: .q8_0, run: run).write(scratch("whole.gguf"))
        let expected = FileManager.default.contents(atPath: scratch("whole.gguf"))
        #expect(FileManager.default.contents(atPath: scratch("out.gguf")) == expected && expected != nil)
    }
}
