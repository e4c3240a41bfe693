import CVLKernels
import DeepSeekVL
import Foundation
import Testing
import VLFormats
import VLJSON
import VLModels
import VLTensor
import VLTestSupport
import VLText

@testable import VLQuantize

/// The rounding itself, against numbers that `Tools/goldens/gptq.py` made by another way.
@Suite struct ErrorFeedbackTests {
    private let golden: WeightStore
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)

    init() throws { golden = try WeightStore.open(fixture("gptq/gptq.safetensors")) }

    private func values<Value: BitwiseCopyable>(_ name: String, as type: Value.Type) throws -> [Value] {
        let tensor = try golden.tensor(named: name)
        return [Value](unsafeUninitializedCapacity: tensor.byteCount / MemoryLayout<Value>.size) {
            UnsafeMutableRawBufferPointer($0).copyBytes(from: tensor.bytes)
            $1 = tensor.byteCount / MemoryLayout<Value>.size
        }
    }

    private func written(_ tensors: [OutgoingTensor]) throws -> WeightStore {
        let scratch = try ScratchFolder()
        try SafetensorsWriter.write(scratch("t.safetensors"), tensors: tensors)
        return try WeightStore.open(scratch("t.safetensors"))
    }

    @Test(
        "codes, zeros, scales and groups are packed as NumPy packs them",
        arguments: ["symmetric", "act_order", "zeros"]
    )
    func packing(_ name: String) throws {
        let (rows, columns, groupSize) = (24, 80, 32)
        var matrix = RoundedMatrix(rows: rows, columns: columns, groupSize: groupSize)
        matrix.codes = try values("codes", as: UInt8.self)
        let zeros = try values("\(name).zeros", as: Int32.self)
        matrix.grids = zip(try values("scales", as: Float.self), zeros).map {
            vl_gptq_grid(scale: $0, offset: -Float($1) * $0)
        }
        matrix.groupOf = try values("\(name).g_idx", as: Int32.self)
        let offset = name == "zeros" ? 0 : 1
        let store = try written(PackedTensors.gptq("layer", matrix, zeroOffset: offset, run))
        for part in ["qweight", "qzeros", "scales", "g_idx"] {
            let expected = try golden.tensor(named: "\(name).\(part)")
            let found = try store.tensor(named: "layer.\(part)")
            #expect(found.shape == expected.shape && found.dtype == expected.dtype)
            #expect(found.bytes.elementsEqual(expected.bytes), "\(part)")
        }
    }

    private func hessian() throws -> InputHessian {
        var inputs = try values("algorithm.inputs", as: Float.self)
        let hessian = InputHessian(size: 96)
        inputs.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            let all = Matrix(base, rows: 160, columns: 96)
            // Whatever the pieces are that rows come in.
            hessian.add(all[rows: 0..<7], run)
            hessian.add(all[rows: 7..<160], run)
        }
        hessian.settle(run)
        return hessian
    }

    @Test("a Hessian is the sum over the rows of products of their columns")
    func hessianSums() throws {
        let inputs = try values("algorithm.inputs", as: Float.self)
        let hessian = try hessian()
        #expect(hessian.rows == 160)
        for (row, column) in [(0, 0), (95, 0), (50, 49), (95, 95)] {
            let products = (0..<160).map { Double(inputs[$0 * 96 + row]) * Double(inputs[$0 * 96 + column]) }
            let sum = products.reduce(0, +)
            let size = products.reduce(0) { $0 + abs($1) }
            #expect(abs(Double(hessian.sums[row: row][column]) - sum) <= 1e-5 * size)
        }
    }

    /// The output's squared error without damping, in float64: tr(E H E^T).
    private func error(_ matrix: RoundedMatrix, _ weights: [Float]) throws -> Double {
        let inputs = try values("algorithm.inputs", as: Float.self)
        var sum = 0.0
        var decoded = [Float](repeating: 0, count: 96)
        for row in 0..<16 {
            matrix.decode(row: row, into: &decoded)
            for sample in 0..<160 {
                var missed = 0.0
                for column in 0..<96 {
                    let wrong = Double(weights[row * 96 + column]) - Double(decoded[column])
                    missed += wrong * Double(inputs[sample * 96 + column])
                }
                sum += missed * missed
            }
        }
        return sum
    }

    private func withWeights<Result>(_ body: (Matrix) throws -> Result) throws -> Result {
        var weights = try values("algorithm.weights", as: Float.self)
        return try weights.withUnsafeMutableBufferPointer { buffer in
            try body(Matrix(try #require(buffer.baseAddress), rows: 16, columns: 96))
        }
    }

    @Test(
        "codes are those of the paper's algorithm, which inverts the Hessian in float64",
        arguments: ["first", "large"]
    )
    func algorithm(_ name: String) throws {
        let natural = name == "first" ? (0..<Int32(96)).map { $0 } : nil
        let factor = try #require(FeedbackFactor(try hessian(), damping: 0.01, order: natural, run))
        #expect(factor.damping == 0.01)
        var options = GPTQOptions()
        options.groupSize = 32
        let grids = try values("algorithm.scales", as: Float.self).map {
            vl_gptq_grid(scale: $0, offset: -8 * $0)
        }
        let rounded = try withWeights {
            ErrorFeedback($0, factor, VL_GPTQ_SYMMETRIC, options, grids: grids, run).round()
        }
        let expected = try values("algorithm.codes.\(name)", as: UInt8.self)
        let equal = zip(rounded.codes, expected).count { $0 == $1 }
        // A value in the middle between two codes may go either way in float32, and takes others with it.
        #expect(equal >= expected.count * 99 / 100, "\(equal) of \(expected.count)")
        let golden = try #require(try values("algorithm.error.\(name)", as: Double.self).first)
        let found = try error(rounded, try values("algorithm.weights", as: Float.self))
        #expect(abs(found - golden) <= 0.02 * golden)
    }

    @Test(
        "the output's error is a fraction of rounding to the nearest, in every order and form",
        arguments: [GPTQOptions.Order.natural, .activation, .activationGroups],
        [VL_GPTQ_SYMMETRIC, VL_GPTQ_ZERO, VL_GPTQ_MINIMUM]
    )
    func gain(_ order: GPTQOptions.Order, _ form: vl_gptq_form) throws {
        let natural = order == .natural ? (0..<Int32(96)).map { $0 } : nil
        let factor = try #require(FeedbackFactor(try hessian(), damping: 0.01, order: natural, run))
        var options = GPTQOptions()
        (options.groupSize, options.order) = (40, order)
        let weights = try values("algorithm.weights", as: Float.self)
        let (rounded, nearest) = try withWeights {
            (
                ErrorFeedback($0, factor, form, options, run).round(),
                RoundedMatrix.nearest($0, form, groupSize: 40, run)
            )
        }
        #expect(try error(rounded, weights) < 0.5 * error(nearest, weights))
        #expect(rounded.groups == 3 && rounded.isFinite && rounded.codes.allSatisfy { $0 < 16 })
        #expect((0..<3).map { group in rounded.groupOf.count { $0 == group } } == [40, 40, 16])
        let errors = try #require(rounded.errors)
        // What it says of itself has the damping in it.
        #expect(errors.rounded < errors.nearest && errors.nearest < errors.whole)
        let found = try error(rounded, weights)
        #expect(errors.rounded > found && errors.rounded < 2 * found)
    }

    @Test("a Hessian that is not positive definite is damped until it is; one of zeros says nothing")
    func damping() throws {
        let few = InputHessian(size: 96)
        var inputs = try values("algorithm.inputs", as: Float.self)
        inputs.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            few.add(Matrix(base, rows: 3, columns: 96), run)
        }
        few.settle(run)
        let factor = try #require(FeedbackFactor(few, damping: 0, order: nil, run))
        #expect(factor.damping > 0)
        #expect(factor.curvature.allSatisfy { $0 > 0 })
        #expect(FeedbackFactor(InputHessian(size: 96), damping: 0.01, order: nil, run) == nil)
    }

    @Test("zeros stay zeros, and what float16 cannot scale is told")
    func grids() {
        for form in [VL_GPTQ_SYMMETRIC, VL_GPTQ_ZERO, VL_GPTQ_MINIMUM] {
            let zero = vl_gptq_search(form, [Float](repeating: 0, count: 32), nil, 32, nil)
            #expect(zero.scale * Float(vl_gptq_code(zero, 0)) + zero.offset == 0)
        }
        // Values that the sixteen levels hold exactly are held exactly.
        let exact = (0..<32).map { Float($0 % 16 - 8) * 0.25 }
        for form in [VL_GPTQ_SYMMETRIC, VL_GPTQ_ZERO, VL_GPTQ_MINIMUM] {
            let grid = vl_gptq_search(form, exact, nil, 32, nil)
            #expect(exact.allSatisfy { grid.scale * Float(vl_gptq_code(grid, $0)) + grid.offset == $0 })
        }
    }
}

/// Whole models.
@Suite struct GPTQuantizerTests {
    private let scratch: ScratchFolder

    init() throws { scratch = try ScratchFolder() }

    private func quantizer(
        _ path: String,
        threads: Int = 2,
        blocks: Bool = false,
        prompts: Int = 6,
        _ options: GPTQOptions
    ) throws -> GPTQuantizer {
        try GPTQuantizer.check(path)
        let host = try ModelHost(path, threads: threads, compute: .float32)
        let quantizer = try GPTQuantizer(path, host.loaded, blocks: blocks, options, run: host.run)
        guard !options.roundsToNearest else { return quantizer }
        if host.loaded.vision != nil {
            let messages = [
                Message(role: "<|User|>", content: "<image>\nWhere is the green cross?", imageCount: 1),
                Message(role: "<|Assistant|>", content: "There."),
            ]
            let picture = try PictureSource.read(fixture("../../Examples/shapes.png"))
            let input = ConversationInput(form: .messages(messages), pictures: [picture])
            try quantizer.calibrate(with: try host.prepare(input, tiling: .auto, exif: .apply))
        }
        for prompt in 0..<prompts {
            let ids = (0..<48).map { Int32(($0 * $0 * 7 + prompt * 131 + $0 * 13) % 240 + 3) }
            try quantizer.calibrate(with: PreparedPrompt(text: "", ids: ids, spans: [], images: []))
        }
        return quantizer
    }

    private var options: GPTQOptions {
        var options = GPTQOptions()
        options.groupSize = 128
        options.leastRows = 24
        return options
    }

    @Test(
        "a folder has packed layers with less error than rounding, the rest as it was, and says how it is packed"
    )
    func folder() throws {
        let source = checkpoint("shapes-vl2")
        let quantizer = try quantizer(source, options)
        var steps: [Int] = []
        try quantizer.writeFolder(scratch("out")) { steps.append($0 * 1000 / $1) }
        #expect(steps == steps.sorted() && steps.last == 1000)
        #expect(try scratch.names == ["out"])
        let before = try WeightStore.open(source)
        let after = try WeightStore.open(scratch("out"))
        let packed = after.names.filter { $0.hasSuffix(".qweight") }
        #expect(packed.count == 100)
        #expect(!packed.contains { $0.contains("vision") || $0.contains(".gate.") || $0.contains("head") })
        #expect(packed.contains { $0.contains(".mlp.experts.0.down_proj") })
        for tensor in before.all {
            let stem = tensor.name.dropLast(".weight".count)
            if let codes = after.peek(stem + ".qweight") {
                let (rows, columns) = (tensor.shape[0], tensor.shape[1])
                #expect(codes.shape == [columns / 8, rows] && codes.dtype == .int32)
                let groups = (columns + 127) / 128
                #expect(after.peek(stem + ".scales")?.shape == [groups, rows])
                #expect(after.peek(stem + ".qzeros")?.shape == [groups, rows / 8])
            } else {
                #expect(after.peek(tensor.name)?.bytes.elementsEqual(tensor.bytes) == true)
            }
        }
        let config = try FileContents.readJSON(scratch("out") + "/config.json")
        let settings = try FileContents.readJSON(scratch("out") + "/quantize_config.json")
        #expect(config["quantization_config"] == settings && config["model_type"] == "deepseek_vl_v2")
        #expect(settings["quant_method"] == "gptq" && settings["checkpoint_format"] == "gptq")
        #expect(settings["sym"] == true && settings["desc_act"] == false && settings["bits"] == 4)
        #expect(try contents(scratch("out/tokenizer.json")) == contents(source + "/tokenizer.json"))
        // Rows of 192 have a group of 64 at their end.
        let query = try #require(
            quantizer.steps.first { $0.name.hasSuffix("layers.0.self_attn.q_proj.weight") }
        )
        #expect(query.shortGroup == 64 && query.way == .feedback && query.rows > 288)
        var better = 0
        for step in quantizer.steps {
            guard let error = step.error else { continue }
            better += error.feedback <= error.nearest ? 1 : 0
        }
        let measured = quantizer.steps.count { $0.error != nil }
        #expect(measured > 60 && better == measured)
        #expect(quantizer.steps.filter { $0.way == .nearest }.allSatisfy { $0.rows < 24 })
        #expect(quantizer.bytes.after < quantizer.bytes.before)
    }

    @Test(
        "the bytes do not depend on the threads",
        arguments: [GPTQOptions.Order.activation, .natural, .activationGroups]
    )
    func threads(_ order: GPTQOptions.Order) throws {
        var options = options
        options.order = order
        options.groupSize = 32
        for threads in [1, 2, 3] {
            let quantizer = try quantizer(checkpoint("llm-linear"), threads: threads, options)
            try quantizer.writeFolder(scratch("\(threads)")) { _, _ in }
        }
        let one = try contents(scratch("1/model.safetensors"))
        for threads in [2, 3] {
            let other = try contents(scratch("\(threads)/model.safetensors"))
            #expect(other == one)
        }
    }

    @Test("an expert that too few rows reached is rounded to the nearest, and told")
    func experts() throws {
        var options = options
        options.leastRows = 60
        let quantizer = try quantizer(checkpoint("vl2-mha"), prompts: 2, options)
        try quantizer.writeFolder(scratch("out")) { _, _ in }
        let experts = quantizer.steps.filter { $0.name.contains(".mlp.experts.") }
        let few = experts.filter { $0.rows < 60 }
        #expect(!few.isEmpty && few.allSatisfy { $0.way == .nearest && $0.error == nil })
        let shared = try #require(quantizer.steps.first { $0.name.contains("shared_experts.gate_proj") })
        #expect(shared.way == .feedback)
    }

    @Test("a zero for each group goes into the second format of the layout")
    func asymmetric() throws {
        var options = options
        options.isSymmetric = false
        options.order = .activationGroups
        options.groupSize = 32
        let quantizer = try quantizer(checkpoint("llm-linear"), options)
        try quantizer.writeFolder(scratch("out")) { _, _ in }
        let settings = try FileContents.readJSON(scratch("out/quantize_config.json"))
        #expect(
            settings["checkpoint_format"] == "gptq_v2" && settings["sym"] == false
                && settings["desc_act"] == true
        )
        let store = try WeightStore.open(scratch("out"))
        let name = "model.layers.0.self_attn.q_proj.g_idx"
        let groups = try store.tensor(named: name).bytes.bindMemory(to: Int32.self)
        #expect(!zip(groups, groups.dropFirst()).allSatisfy { $0 <= $1 })
        for group in 0..<Int32(groups.count / 32) { #expect(groups.count { $0 == group } == 32) }
    }

    @Test(
        "a GGUF file has the layers in blocks, answers, and 'quantize' leaves them alone",
        arguments: [true, false]
    )
    func gguf(_ isSymmetric: Bool) throws {
        let run = Run(pool: ThreadPool(threads: 2), compute: .float32)
        let source = scratch("source.gguf")
        try GGUFConverter(checkpoint("shapes-vl2"), type: .float32, run: run).write(source)
        var options = options
        options.groupSize = 32
        options.isSymmetric = isSymmetric
        let quantizer = try quantizer(source, blocks: true, options)
        let path = scratch("small.gguf")
        try quantizer.writeGGUF(path, replaces: false) { _, _ in }
        #expect(try scratch.names == ["small.gguf", "source.gguf"])
        let file = try GGUF.open(path)
        let type: StoredDType = isSymmetric ? .q4_0 : .q4_1
        let blocks = file.entries.filter { $0.dtype == type }
        #expect(blocks.count > 10 && blocks.contains { $0.name.hasSuffix("ffn_down_exps.weight") })
        #expect(file["general.file_type"]?.asInt == (isSymmetric ? 2 : 3))
        #expect(try Reply(path).ids == Reply(source).ids)
        // The values are near those of the source: the blocks are filled as readers take them apart.
        let unquantized = try GGUF.open(source)
        let was = try #require(unquantized.entries.first { $0.name == blocks[0].name })
        let original = unquantized.file.bytes[was.range]
        let count = was.range.count / 4
        var decoded = [Float](repeating: 0, count: count)
        file.file.bytes[blocks[0].range].withUnsafeBytes {
            if let base = $0.baseAddress {
                vl_decode(isSymmetric ? VL_TYPE_Q4_0 : VL_TYPE_Q4_1, base, &decoded, Int64(count))
            }
        }
        let values = original.withUnsafeBytes { raw in
            (0..<count).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
        }
        let error = zip(values, decoded).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        #expect(error < 0.03 * values.reduce(0) { $0 + $1 * $1 })
        if isSymmetric {
            try Quantizer(path, to: .q4_0, run: run).write(scratch("smaller.gguf"))
            let smaller = try GGUF.open(scratch("smaller.gguf"))
            let same = try #require(smaller.entries.first { $0.name == blocks[0].name })
            #expect(smaller.file.bytes[same.range].elementsEqual(file.file.bytes[blocks[0].range]))
        }
    }

    @Test("a folder and a GGUF file of the same model say the same, which is near what the model says")
    func bothFiles() throws {
        let run = Run(pool: ThreadPool(threads: 2), compute: .float32)
        let source = checkpoint("llm-linear")
        try GGUFConverter(source, type: .float32, run: run).write(scratch("source.gguf"))
        var options = options
        options.groupSize = 32
        try quantizer(source, options).writeFolder(scratch("out")) { _, _ in }
        try quantizer(scratch("source.gguf"), blocks: true, options)
            .writeGGUF(scratch("small.gguf"), replaces: false) { _, _ in }
        let (folder, file) = try (Reply(scratch("out")), Reply(scratch("small.gguf")))
        #expect(relativeError(folder.logits, file.logits) < 1e-3)
        #expect(relativeError(folder.logits, try Reply(source).logits) < 0.35)
    }

    @Test("what is quantized already is refused, and nothing is left")
    func refused() throws {
        let run = Run(pool: ThreadPool(threads: 2), compute: .float32)
        try GGUFConverter(checkpoint("shapes-vl2"), type: .q4_0, run: run).write(scratch("q.gguf"))
        let error = #expect(throws: ConvertError.self) { try GPTQuantizer.check(scratch("q.gguf")) }
        #expect(error?.description.contains("expected F32, BF16 or F16 for tensor 'blk.0.") == true)
        let copy = try scratch.copy(checkpoint("llm-linear"))
        var config = try #require(FileContents.readJSON(copy + "/config.json").asObject)
        config["quantization_config"] = ["quant_method": "awq"]
        try AtomicFile.write(copy + "/config.json", JSONWriter.encode(.object(config)))
        let second = #expect(throws: ConvertError.self) { try GPTQuantizer.check(copy) }
        #expect(second?.description.contains("'quantization_config': it is quantized already") == true)
        let quantizer = try quantizer(checkpoint("llm-linear"), options)
        let full = #expect(throws: ConvertError.self) { try quantizer.writeFolder(copy) { _, _ in } }
        #expect(full?.description.contains("expected nothing, or an empty folder") == true)
        let long = PreparedPrompt(text: "", ids: [Int32](repeating: 5, count: 1 << 20), spans: [], images: [])
        #expect(throws: ConvertError.self) { try quantizer.calibrate(with: long) }
        #expect(try scratch.names == ["copy", "q.gguf"])
    }

    @Test("the program refuses files and options that it cannot use, and names them")
    func usage() throws {
        let model = checkpoint("llm-linear")
        try Data("  \n".utf8).write(to: URL(fileURLWithPath: scratch("empty.txt")))
        let empty = try program(["gptq", model, scratch("out"), "-c", scratch("empty.txt")])
        #expect(empty.status == 1 && empty.errors.contains("empty.txt: expected a text"))
        let neither = try program(["gptq", model, scratch("out")])
        #expect(
            neither.status == 2 && neither.errors.contains("--calibration: expected a file, or --nearest")
        )
        let odd = try program(["gptq", model, scratch("out"), "--nearest", "--group-size", "12"])
        #expect(odd.status == 2 && odd.errors.contains("--group-size: expected a multiple of 8"))
        #expect(try scratch.names == ["empty.txt"])
        let plain = try program(["gptq", model, scratch("out"), "--nearest", "--format", "json"])
        let report = try JSONValue(parsing: Array(plain.output.utf8))
        #expect(plain.status == 0 && report["matrices"]?.asArray?.first?["way"] == "nearest")
    }
}
