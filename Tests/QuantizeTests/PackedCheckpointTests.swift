import DeepSeekVL
import Foundation
import Testing
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLTensor
import VLTestSupport

/// Whole checkpoints that GPTQ and AWQ tools wrote, beside ones with the values that they stand for.
@Suite struct PackedCheckpointTests {
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)
    private static let forms: [String: PackedFolder.Form] = [
        "symmetric": PackedFolder.Form(hasBiases: true),
        "asymmetric": PackedFolder.Form(isSymmetric: false, isApart: true),
        "v2": PackedFolder.Form(layout: "gptq_v2", groupSize: -1, isSymmetric: false),
        "act-order": PackedFolder.Form(hasActOrder: true),
        "awq": PackedFolder.Form(layout: "gemm", isSymmetric: false),
        // Blocks have 32 columns: these run as float32.
        "groups of 16": PackedFolder.Form(groupSize: 16, isSymmetric: false),
    ]

    private func form(_ name: String) throws -> PackedFolder.Form { try #require(Self.forms[name]) }

    @Test(
        "a packed checkpoint answers as the values that it stands for",
        arguments: [
            ("llm-linear", "symmetric"), ("llm-linear", "asymmetric"), ("llm-linear", "v2"),
            ("llm-linear", "act-order"), ("llm-linear", "awq"), ("llm-linear", "groups of 16"),
            ("vl2-mha", "symmetric"), ("vl2-mha", "act-order"), ("vl2-mha", "awq"),
            ("vl-7b-like", "asymmetric"), ("vl2-mla-full", "v2"),
        ]
    )
    func answers(_ name: String, _ formName: String) throws {
        let scratch = try ScratchFolder()
        let folder = try PackedFolder(name, form(formName), in: scratch)
        #expect(folder.layers.count >= 10)
        let wanted = try Reply(folder.plain)
        let found = try Reply(folder.packed)
        #expect(found.tokens == wanted.tokens && found.ids == wanted.ids)
        #expect(relativeError(found.logits, wanted.logits) < 2e-5)
    }

    @Test("a packed checkpoint in a float type is the values that it stands for, bit for bit")
    func asFloats() throws {
        let scratch = try ScratchFolder()
        let folder = try PackedFolder("llm-linear", form("act-order"), in: scratch)
        let policy = WeightPolicy(language: .float32)
        #expect(try Reply(folder.packed, weights: policy).logits == Reply(folder.plain).logits)
    }

    @Test("the fast path gives the same bits with chunks, threads and guesses, in act-order too")
    func sameBits() throws {
        let scratch = try ScratchFolder()
        let folder = try PackedFolder("llm-linear", form("act-order"), in: scratch)
        let whole = try Reply(folder.packed, compute: .auto)
        #expect(try Reply(folder.packed, compute: .auto, threads: 1).logits == whole.logits)
        #expect(try Reply(folder.packed, compute: .auto, threads: 3, chunk: 3).logits == whole.logits)
    }

    @Test("the model says in which type most layers run")
    func weightType() throws {
        let scratch = try ScratchFolder()
        for (name, type) in [("symmetric", DType.q4_0), ("asymmetric", .q5_0), ("groups of 16", .float32)] {
            let folder = try PackedFolder("llm-linear", form(name), in: ScratchFolder())
            #expect(try Registry.load(folder.packed, run: run).weightType == type)
        }
        let folder = try PackedFolder("llm-linear", form("symmetric"), in: scratch)
        let policy = WeightPolicy(language: .q8_0)
        #expect(try Registry.load(folder.packed, run: run, policy: policy).weightType == .q8_0)
    }

    @Test("a bias that says something, and tensors that belong to no layer, are refused by name")
    func leftOver() throws {
        let scratch = try ScratchFolder()
        let folder = try PackedFolder("llm-linear", form("symmetric"), in: scratch)
        let name = "model.layers.1.mlp.up_proj"
        func refusal(_ change: (StoredTensor) -> OutgoingTensor) throws -> String {
            let store = try WeightStore.open(folder.packed)
            let other = try ScratchFolder()
            let copy = try other.copy(folder.packed)
            try SafetensorsWriter.write(copy + "/model.safetensors", tensors: store.all.map(change))
            let error = #expect(throws: LoadError.self) { try Registry.load(copy, run: run) }
            return error?.description ?? ""
        }
        let bias = try refusal { tensor in
            guard tensor.name == name + ".bias" else { return OutgoingTensor(tensor) }
            var bytes = [UInt8](tensor.bytes)
            bytes[3] = 1
            return OutgoingTensor(name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, bytes: bytes)
        }
        #expect(bias.hasSuffix("1 tensors that this model does not have: '\(name).bias'"))
        let codes = try refusal {
            OutgoingTensor($0, name: $0.name == name + ".qweight" ? name + ".codes" : $0.name)
        }
        #expect(codes.contains("tensor '\(name).weight': expected shape [192, 64], found no such tensor"))
        let embedding = try refusal {
            OutgoingTensor(
                $0,
                name: $0.name == "model.embed_tokens.weight" ? "model.embed_tokens.qweight" : $0.name
            )
        }
        #expect(embedding.contains("a packed embedding ('model.embed_tokens.qweight') is not supported"))
    }

    @Test("methods that are not read are refused when a model is loaded, converted, or inspected")
    func otherMethods() throws {
        let scratch = try ScratchFolder()
        let folder = try scratch.copy(checkpoint("llm-linear"))
        try PackedFolder.set("quantization_config", #"{"quant_method": "fp8"}"#, in: folder)
        let words =
            "config.json: quant_method \"fp8\" is not supported; known: \"gptq\", \"awq\""
        let load = #expect(throws: LoadError.self) { try Registry.load(folder, run: run) }
        #expect(load?.description == words)
        let convert = #expect(throws: ConvertError.self) { try GGUFConverter(folder, run: run) }
        #expect(convert?.description == words)
        #expect(try Inspection(folder).unsupported == words)
    }

    @Test("inspection says how a checkpoint is packed and counts its weights")
    func inspects() throws {
        let scratch = try ScratchFolder()
        let folder = try PackedFolder("vl2-mha", form("act-order"), in: scratch)
        let found = try Inspection(folder.packed)
        #expect(
            found.packing?.summary == "GPTQ (gptq), 4 bits, groups of 32, act-order, symmetric"
                && found.packedLayers == folder.layers.count
        )
        #expect(try found.parameters == Inspection(folder.plain).parameters && found.unsupported == nil)
        #expect(try Inspection(folder.plain).packing == nil)
        let text = try program(["inspect", folder.packed])
        #expect(
            text.status == 0 && text.output.contains("act-order, symmetric; \(folder.layers.count) layers")
        )
        let json = try program(["inspect", folder.packed, "--format", "json"])
        let report = try #require(JSONValue(parsing: Array(json.output.utf8))["quantization"])
        #expect(report["method"]?.asString == "gptq" && report["bits"]?.asInt == 4)
        #expect(report["group_size"]?.asInt == 32 && report["layers"]?.asInt == folder.layers.count)
        // Other bits than 4 are a sound checkpoint that does not run.
        try PackedFolder.set(
            "quantization_config",
            #"{"quant_method": "gptq", "bits": 8, "group_size": 32}"#,
            in: folder.packed
        )
        let words = "config.json: GPTQ in 8 bits is not supported; known: 4 bits"
        #expect(try Inspection(folder.packed).unsupported == words)
        let refusal = try program(["convert", folder.packed, "--outfile", scratch("x.gguf")])
        #expect(refusal.status == 1 && refusal.errors == "deepseek-vl: \(words)\n")
        #expect(!FileContents.exists(scratch("x.gguf")))
    }

    // MARK: Conversion

    @Test(
        "a file gets the very numbers of the layers, and answers alike",
        arguments: [
            ("llm-linear", "symmetric", StoredDType.q4_0), ("llm-linear", "asymmetric", .q5_0),
            ("vl2-mha", "awq", .q5_0), ("vl2-mla-full", "symmetric", .q4_0), ("vl-7b-like", "v2", .q5_0),
        ]
    )
    func converts(_ name: String, _ formName: String, _ type: StoredDType) throws {
        let scratch = try ScratchFolder()
        let folder = try PackedFolder(name, form(formName), in: scratch)
        let path = scratch("model.gguf")
        try GGUFConverter(folder.packed, run: run).write(path)
        let store = try WeightStore.open(path)
        #expect(store.peek("blk.0.ffn_down.weight")?.dtype == type)
        #expect(store.all.allSatisfy { $0.dtype.isBlock ? $0.dtype == type : true })
        #expect(store.all.count { $0.dtype == type } > 5)
        let wanted = try Reply(folder.packed)
        let found = try Reply(path)
        #expect(found.tokens == wanted.tokens && found.ids == wanted.ids)
        #expect(relativeError(found.logits, wanted.logits) < 2e-5)
        // Elsewhere rows of queries and keys are turned, or a latent's matrix is split: sums of another order.
        if name == "vl2-mha" {
            #expect(found.logits == wanted.logits)
            let (wanted, found) = (try Reply(folder.packed, compute: .auto), try Reply(path, compute: .auto))
            #expect(found.logits == wanted.logits)
        }
        // Nothing in the file says that it is packed.
        let gguf = try GGUF.open(path)
        if name != "llm-linear" {
            let config = gguf.pairs.first { $0.key == "deepseek-vl.config" }
            guard let config, case .text(let text) = gguf.value(of: config) else {
                Issue.record("no configuration in the file")
                return
            }
            #expect(!text.contains("quantization_config") && text.contains("language_config"))
        }
        let number = gguf.pairs.first { $0.key == "general.file_type" }.map { gguf.value(of: $0) }
        guard case .integer(let number)? = number else {
            Issue.record("no file type")
            return
        }
        #expect(number == (type == .q4_0 ? 2 : 8))
    }

    @Test("experts with and without zeros in the middle share a tensor that holds both")
    func mixedExperts() throws {
        let scratch = try ScratchFolder()
        let even = try PackedFolder("vl2-mha", form("symmetric"), in: scratch)
        let odd = try PackedFolder(
            "vl2-mha",
            PackedFolder.Form(isSymmetric: false),
            in: ScratchFolder()
        )
        let other = try WeightStore.open(odd.packed)
        let tensors = try WeightStore.open(even.packed).all.map { tensor in
            let isOdd = tensor.name.contains(".experts.3.") && !tensor.name.hasSuffix(".bias")
            return OutgoingTensor(isOdd ? try #require(other.peek(tensor.name)) : tensor)
        }
        try SafetensorsWriter.write(even.packed + "/model.safetensors", tensors: tensors)
        let path = scratch("model.gguf")
        try GGUFConverter(even.packed, run: run).write(path)
        let store = try WeightStore.open(path)
        #expect(store.peek("blk.1.ffn_up_exps.weight")?.dtype == .q5_0)
        #expect(store.peek("blk.0.ffn_up.weight")?.dtype == .q4_0)
        let (wanted, found) = (try Reply(even.packed), try Reply(path))
        #expect(found.tokens == wanted.tokens)
        #expect(relativeError(found.logits, wanted.logits) < 2e-5)
    }

    @Test("act-order needs a type to be converted to, and then the columns are in order")
    func convertsActOrder() throws {
        let scratch = try ScratchFolder()
        let folder = try PackedFolder("llm-linear", form("act-order"), in: scratch)
        let error = #expect(throws: ConvertError.self) { try GGUFConverter(folder.packed, run: run) }
        #expect(
            error?.description.contains(
                "(--type, or --weights with a cache): blocks of a file have their columns in order, found columns"
            )
                == true
        )
        #expect(error?.description.contains("'model.layers.0.mlp.down_proj.weight'") == true)
        for (type, bound) in [(DType.float32, Float(2e-5)), (.q8_0, 0.05)] {
            let path = scratch("\(type.rawValue).gguf")
            try GGUFConverter(folder.packed, type: type, run: run).write(path)
            let (wanted, found) = (try Reply(folder.plain), try Reply(path))
            #expect(relativeError(found.logits, wanted.logits) < bound)
            if type == .float32 { #expect(found.tokens == wanted.tokens) }
        }
    }

    @Test("the same packed checkpoint gives the same bytes for any number of threads")
    func sameBytes() throws {
        let scratch = try ScratchFolder()
        let folder = try PackedFolder("vl2-mha", form("asymmetric"), in: scratch)
        for threads in [1, 3] {
            let run = Run(pool: ThreadPool(threads: threads), compute: .float32)
            try GGUFConverter(folder.packed, run: run).write(scratch("\(threads).gguf"))
        }
        let one = try Data(contentsOf: URL(fileURLWithPath: scratch("1.gguf")))
        #expect(try one == Data(contentsOf: URL(fileURLWithPath: scratch("3.gguf"))) && one.count > 100_000)
    }
}
