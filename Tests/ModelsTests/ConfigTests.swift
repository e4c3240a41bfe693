import Testing
import VLJSON
import VLModels
import VLTestSupport

/// Configurations: hostile ones, each trap of the published ones, and the shapes that benchmarks know.
@Suite("Configurations")
struct ConfigTests {
    /// A file of `Tests/Fixtures/badfiles/config`, and what must happen with it.
    struct BadFile: CustomTestStringConvertible, Sendable {
        let name: String
        let expected: String
        let fault: String

        var testDescription: String { "\(name): \(fault)" }

        static func all() throws -> [BadFile] {
            let list = try fixtureBytes("badfiles/config/expectations.tsv")
            return String(decoding: list, as: UTF8.self).split(separator: "\n").dropFirst().map { line in
                let fields = line.split(separator: "\t").map(String.init)
                return BadFile(name: fields[0], expected: fields[1], fault: fields[2])
            }
            // Chat templates of files are never read: each family has its own, in code.
            .filter { !$0.name.hasPrefix("tpl_") }
        }
    }

    private func read(_ reader: ConfigReader) throws(LoadError) {
        switch try ModelFolder.modelType(reader) {
        case "deepseek_vl_v2": _ = try DeepSeekVL2Config(reader)
        case "deepseek_v2": _ = try DeepSeekMoEConfig(reader)
        case let other: throw .unsupported(file: reader.file, what: "model_type \"\(other)\"", known: "two")
        }
    }

    @Test("the collection of bad files is there")
    func listsBadFiles() throws {
        #expect(try BadFile.all().count == 41)
    }

    @Test("a bad configuration is refused by name, and an odd one works", arguments: try BadFile.all())
    func badFile(_ file: BadFile) throws {
        let bytes = try fixtureBytes("badfiles/config/\(file.name)")
        do throws(LoadError) {
            try read(ConfigReader(bytes: bytes, file: file.name))
            #expect(file.expected != "reject", "accepted")
        } catch {
            #expect(file.expected != "accept", "\(error)")
            #expect(error.description.hasPrefix(file.name), "\(error) names no file")
            #expect(error.description.utf8.count < 1000)
        }
    }

    /// The bundled model's configuration with one value changed; nil takes the key out.
    private func changed(_ path: String, to value: JSONValue?) throws -> ConfigReader {
        let root = try JSONValue(parsing: fixtureBytes("../../Models/shapes-vl2/config.json"))
        func change(_ given: JSONValue, _ keys: ArraySlice<Substring>) throws -> JSONValue {
            var object = try #require(given.asObject)
            let key = String(try #require(keys.first))
            let inner = keys.dropFirst()
            object[key] = inner.isEmpty ? value : try change(try #require(object[key]), inner)
            return .object(object)
        }
        let whole = try change(root, path.split(separator: ".")[...])
        return try ConfigReader(bytes: JSONWriter.encode(whole), file: "config.json")
    }

    @Test("an omitted key has the official class's default, which a null may not have")
    func defaults() throws {
        func language(_ key: String, _ value: JSONValue?) throws -> DeepSeekMoEConfig {
            try DeepSeekMoEConfig(changed(key, to: value))
        }
        let path = "language_config"
        let whole = try #require(try changed("model_type", to: "deepseek_v2").object(path))
        #expect(try DeepSeekMoEConfig(whole).hiddenSize == 192)
        let empty: JSONValue = [:]
        let plain = try DeepSeekMoEConfig(ConfigReader(bytes: JSONWriter.encode(empty), file: "config.json"))
        #expect(plain.hiddenSize == 4096 && plain.vocabularySize == 102400 && plain.layers.count == 30)
        #expect(plain.layers.allSatisfy { $0 == .dense(innerSize: 11008) })
        #expect(plain.epsilon == 1e-6 && plain.ropeTheta == 10000 && plain.ropeScaling == .none)
        #expect(plain.maxPositions == 2048 && !plain.tiedEmbeddings && !plain.attentionBias)
        guard case .latent(let latent) = plain.attention else {
            Issue.record("the default is latent attention")
            return
        }
        #expect(latent.heads == 32 && latent.queryRank == 1536 && latent.rank == 512)
        #expect(latent.plainSize == 128 && latent.ropeSize == 64 && latent.valueSize == 128)
        let null: JSONValue = ["q_lora_rank": nil]
        let direct = try DeepSeekMoEConfig(ConfigReader(bytes: JSONWriter.encode(null), file: "config.json"))
        guard case .latent(let latent) = direct.attention else { return }
        #expect(latent.queryRank == nil)
    }

    @Test("the vision tower and the projector have the official defaults too")
    func visionDefaults() throws {
        let config: JSONValue = [
            "language_config": ["hidden_size": 2048], "projector_config": ["input_dim": 1024],
        ]
        let read = try DeepSeekVL2Config(ConfigReader(bytes: JSONWriter.encode(config), file: "config.json"))
        #expect(read.vision.imageSize == 384 && read.vision.patchSize == 16 && read.vision.width == 1024)
        #expect(read.vision.layers == 24 && read.vision.heads == 16 && read.vision.mlpWidth == 4096)
        #expect(read.projector.kind == .downsampleMLPGELU && read.projector.depth == 2)
        #expect(read.projector.downsampleRatio == 2 && read.projector.outputSize == 2048)
        #expect(read.globalViewFirst)
    }

    @Test(
        "a value that does not fit is refused with its path",
        arguments: [
            ("language_config.hidden_size", JSONValue.string("192")),
            ("language_config.hidden_size", 1_000_000),
            ("language_config.hidden_act", "gelu"), ("language_config.scoring_func", "tanh"),
            ("language_config.topk_method", "best"), ("language_config.n_group", 3),
            ("language_config.kv_lora_rank", nil), ("vision_config.layers", 0),
            ("vision_config.patch_size", 65), ("vision_config.heads", 3),
            ("vision_config.mlp_ratio", 0.001), ("vision_config.model_name", "clip"),
            ("vision_config.class_token", true), ("projector_config.projector_type", "mlp"),
            ("projector_config.token_pooling", true), ("projector_config.input_dim", 7),
            ("candidate_resolutions", []), ("candidate_resolutions", [[64]]), ("tile_tag", "1D"),
            ("global_view_pos", "middle"),
            ("language_config.rope_scaling", ["type": "dynamic", "factor": 2]),
            ("language_config.rope_scaling", ["type": "linear", "factor": 0]),
        ] as [(String, JSONValue)]
    )
    func refused(path: String, value: JSONValue) throws {
        let reader = try changed(path, to: value)
        let error = #expect(throws: LoadError.self) { try read(reader) }
        let last = try #require(path.split(separator: ".").last)
        let text = try #require(error).description
        #expect(
            text.hasPrefix("config.json: ") && (text.contains(last) || text.contains("vision")),
            "\(text)"
        )
    }

    /// Keys and values of a token, in bfloat16: what the latent saves is seen at the base model.
    @Test(
        "the shapes that benchmarks know take the published room in the cache",
        arguments: [
            (KnownShape.vl2Tiny, 12 * 2 * 1280 * 2), (.vl2Small, 27 * 576 * 2), (.vl2Base, 34_560),
        ]
    )
    func shapes(_ shape: KnownShape, bytesPerToken: Int) throws {
        let config = try DeepSeekVL2Config(shape.config())
        #expect(config.language.cacheWidth * config.language.layers.count * 2 == bytesPerToken)
    }
}
