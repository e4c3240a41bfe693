import DeepSeekVL
import Foundation
import Testing
import VLFormats
import VLModels
import VLTensor
import VLTestSupport
import VLText

@testable import VLQuantize

/// What becomes of GPTQ runs that are killed.
@Suite struct GPTQResumeTests {
    private let scratch: ScratchFolder
    private let source: String

    init() throws {
        scratch = try ScratchFolder()
        source = try scratch.copy(checkpoint("llm-linear"))
    }

    /// A result's kind: a folder in each order, or a GGUF file.
    enum Form: String, CaseIterable, Sendable {
        case activation, activationGroups, zeros, gguf
    }

    private func options(_ form: Form) -> GPTQOptions {
        var options = GPTQOptions()
        options.groupSize = 32
        options.leastRows = 24
        options.order = form == .activationGroups ? .activationGroups : .activation
        options.isSymmetric = form != .zeros
        return options
    }

    private func quantizer(_ form: Form, prompts: Int = 4, threads: Int = 2) throws -> GPTQuantizer {
        let path = form == .gguf ? scratch("source.gguf") : source
        let host = try ModelHost(path, threads: threads, compute: .float32)
        let quantizer = try GPTQuantizer(
            path,
            host.loaded,
            blocks: form == .gguf,
            options(form),
            run: host.run
        )
        for prompt in 0..<prompts {
            let ids = (0..<40).map { Int32(($0 * $0 * 7 + prompt * 131 + $0 * 13) % 240 + 3) }
            try quantizer.calibrate(with: PreparedPrompt(text: "", ids: ids, spans: [], images: []))
        }
        return quantizer
    }

    private func write(
        _ quantizer: GPTQuantizer,
        _ form: Form,
        _ name: String,
        onStep: (Int, Int) -> Void = { _, _ in }
    ) throws {
        if form == .gguf {
            try quantizer.writeGGUF(scratch(name), replaces: false, onStep: onStep)
        } else {
            try quantizer.writeFolder(scratch(name), onStep: onStep)
        }
    }

    private func bytes(_ form: Form, _ name: String) throws -> [[UInt8]] {
        guard form != .gguf else { return [try contents(scratch(name))] }
        return try FileManager.default.contentsOfDirectory(atPath: scratch(name)).sorted()
            .map { try contents(scratch(name + "/" + $0)) }
    }

    /// Copies what a run has beside its result when the given share of it is done, as if it had been killed then.
    private func leave(_ share: Double, of form: Form) throws {
        var isCopied = false
        let (from, to) = (scratch(".whole.deepseek-vl-parts"), scratch(".out.deepseek-vl-parts"))
        try write(try quantizer(form), form, "whole") { done, total in
            guard !isCopied, Double(done) >= share * Double(total) else { return }
            isCopied = true
            #expect(throws: Never.self) { try FileManager.default.copyItem(atPath: from, toPath: to) }
        }
        #expect(isCopied)
    }

    @Test(
        "a run that was killed goes on where it was, for any number of threads, and gives the bytes of one that was not",
        arguments: Form.allCases
    )
    func resumes(_ form: Form) throws {
        if form == .gguf {
            let run = Run(pool: ThreadPool(threads: 2), compute: .float32)
            try GGUFConverter(source, type: .float32, run: run).write(scratch("source.gguf"))
        }
        let before = try scratch.names
        // Two layers of three are there then.
        try leave(0.6, of: form)
        let quantizer = try quantizer(form, threads: 3)
        var steps: [Int] = []
        try write(quantizer, form, "out") { steps.append($0 * 1000 / $1) }
        #expect(quantizer.resumedLayers == 2 && quantizer.layerCount == 3)
        #expect(steps == steps.sorted() && steps.last == 1000)
        #expect(try bytes(form, "out") == bytes(form, "whole"))
        #expect(try scratch.names == (before + ["out", "whole"]).sorted())
        // What is told of the matrices is the same, too.
        let whole = try self.quantizer(form)
        try write(whole, form, "again")
        #expect(whole.resumedLayers == 0 && whole.steps.map(\.json) == quantizer.steps.map(\.json))
        #expect(whole.steps.contains { $0.error != nil } && whole.bytes == quantizer.bytes)
    }

    @Test("layers of another calibration, of other options, or of a damaged file are not used")
    func otherJobs() throws {
        try leave(0.6, of: .activation)
        let kept = scratch("kept")
        let hidden = scratch(".out.deepseek-vl-parts")
        try FileManager.default.moveItem(atPath: hidden, toPath: kept)
        func resumed(_ quantizer: GPTQuantizer, _ form: Form, _ damage: () throws -> Void = {}) throws -> Int
        {
            try FileManager.default.copyItem(atPath: kept, toPath: hidden)
            try damage()
            try write(quantizer, form, "out")
            let isSame = try bytes(form, "out") == bytes(.activation, "whole")
            #expect(isSame == (quantizer.calibrationPrompts == 4 && form == .activation))
            try FileManager.default.removeItem(atPath: scratch("out"))
            return quantizer.resumedLayers
        }
        #expect(try resumed(quantizer(.activation), .activation) == 2)
        #expect(try resumed(quantizer(.activation, prompts: 3), .activation) == 0)
        #expect(try resumed(quantizer(.zeros), .zeros) == 0)
        for (name, whole) in [("0.safetensors", 0), ("0.json", 0), ("1.safetensors", 1)] {
            var damaged = try contents(kept + "/" + name)
            damaged[damaged.count - 2] ^= 1
            let count = try resumed(quantizer(.activation), .activation) {
                try scratch.write(".out.deepseek-vl-parts/" + name, damaged)
            }
            #expect(count == whole, "\(name)")
        }
        // A source that was written anew.
        let model = source + "/model.safetensors"
        try scratch.write("copy/model.safetensors", try contents(model))
        #expect(try resumed(quantizer(.activation), .activation) == 0)
    }

    @Test("the program goes on after it was killed")
    func program() throws {
        let text = (0..<400).map { "Sentence \($0) is about \($0 * 7 % 13) things." }.joined(separator: "\n")
        try scratch.write("text.txt", Array(text.utf8))
        func arguments(_ target: String) -> [String] {
            [
                "gptq", source, scratch(target), "-c", scratch("text.txt"), "--chunk-size", "64",
                "--group-size", "32", "--threads", "1",
            ]
        }
        let note = scratch(".out.deepseek-vl-parts/0.json")
        let isKilled = try killed(arguments("out")) { FileManager.default.fileExists(atPath: note) }
        #expect(isKilled)
        #expect(try scratch.names == [".out.deepseek-vl-parts", "copy", "text.txt"])
        let done = try VLTestSupport.program(arguments("out"))
        #expect(done.status == 0 && done.errors.contains("of 3 layers are there already"), "\(done.errors)")
        #expect(try VLTestSupport.program(arguments("whole")).status == 0)
        #expect(try bytes(.activation, "out") == bytes(.activation, "whole"))
        #expect(try scratch.names == ["copy", "out", "text.txt", "whole"])
    }
}
