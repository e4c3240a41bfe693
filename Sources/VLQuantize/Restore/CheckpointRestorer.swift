import VLFormats
import VLJSON
import VLModels
import VLTensor

/// Converts a GGUF file back into a folder with a checkpoint in safetensors, tensor by tensor.
///
/// A file of ours carries the folder's configurations, which come back byte for byte; for others they are made from the
/// keys. Floating-point numbers keep their types, and norms that `GGUFConverter` made float32 get theirs back.
package struct CheckpointRestorer {
    private let documents: [(name: String, bytes: [UInt8])]
    private let tensors: [OutgoingTensor]
    /// Tensors that go in another type than the one asked for.
    package let fallbacks: [GGUFConverter.Fallback]
    /// Tensors of codes that become bfloat16, as no type is asked for.
    package let roundedCodes: Int
    /// `model_type` of the folder.
    package let modelType: String

    /// Tensors of the checkpoint.
    package var count: Int { tensors.count }

    /// Loads the file once, so that names and shapes are known to be right, and plans the folder.
    ///
    /// - Parameters:
    ///   - vision: the file that holds what sees, where that is another and its name does not say so.
    ///   - type: of the matrices; nil leaves floating-point numbers as they are and makes bfloat16 of codes.
    /// - Throws: `ConvertError`.
    package init(_ path: String, vision: String? = nil, type: DType? = nil, run: Run) throws(ConvertError) {
        if let type, type.isBlock {
            throw .inexpressible(
                file: path,
                what: "type",
                expected: "f32, bf16 or f16, which are the ones of safetensors",
                found: type.rawValue
            )
        }
        guard
            let model = try GGUFConverter.loading({ () throws(LoadError) in
                try GGUFModel(at: path, vision: vision)
            })
        else {
            throw .source(file: path, expected: "a GGUF file", found: "something else")
        }
        _ = try GGUFConverter.loading { () throws(LoadError) in
            try Registry.load(path, vision: vision, run: run)
        }
        let folder = try GGUFConverter.loading { () throws(LoadError) in try model.folder() }
        let config = try GGUFConverter.loading { () throws(LoadError) in try model.config() }
        let prefix =
            switch folder?.modelType {
            case "deepseek_vl_v2": "language."
            case "multi_modality": "language_model."
            default: ""
            }
        let restored = try RestoredTensors(
            [model.gguf, model.vision].compactMap(\.self),
            config,
            prefix: prefix,
            turned: Self.turned(config),
            type: type,
            run: run
        )
        (tensors, fallbacks) = (restored.tensors, restored.fallbacks)
        roundedCodes = type == nil ? model.store.all.count { $0.dtype.isBlock } : 0
        let isChanged = type != nil || model.store.all.contains { $0.dtype.isBlock }
        let torchType = Self.torchName(restored.mainType)
        var documents: [(name: String, bytes: [UInt8])] = []
        for (name, key) in GGUFDocuments.keys {
            let key = folder == nil && key == GGUFDocuments.mark ? GGUFDocuments.textConfigKey : key
            guard let text = (model.vision ?? model.gguf)[key]?.asText else { continue }
            let bytes = Array(text.utf8)
            let isConfig = name == "config.json" && isChanged
            documents.append((name, isConfig ? try Self.retyped(bytes, torchType) : bytes))
        }
        if !documents.contains(where: { $0.name == "config.json" }) {
            let (_, ends) = try GGUFConverter.loading { () throws(LoadError) in try model.processor() }
            let tokenizer = try RestoredTokenizer(
                model.gguf,
                ends: ends.map(Int.init),
                positions: Self.positions(config)
            )
            let value = RestoredConfig.json(
                config,
                begin: tokenizer.begin,
                ends: tokenizer.ends,
                type: torchType
            )
            documents = ([("config.json", value)] + tokenizer.files)
                .map { ($0.0, JSONWriter.encode($0.1, .pretty)) }
            try Self.check(documents, config, model.file)
        }
        self.documents = documents
        modelType = try GGUFConverter.loading { () throws(LoadError) in
            let bytes = documents.first { $0.name == "config.json" }?.bytes ?? []
            return try ModelFolder.modelType(ConfigReader(bytes: bytes, file: "config.json"))
        }
    }

    /// Heads whose rows the file has turned for rotation by pairs.
    private static func turned(_ config: GGUFConfig) -> (queries: Int, keys: Int)? {
        switch config {
        case .llama(let llama): return (llama.heads, llama.keyValueHeads)
        case .deepSeek(let deepSeek):
            guard deepSeek.rotaryLayout == .pairs, case .grouped(let heads, let keys, _) = deepSeek.attention
            else { return nil }
            return (heads, keys)
        }
    }

    private static func positions(_ config: GGUFConfig) -> Int {
        switch config {
        case .llama(let llama): llama.maxPositions
        case .deepSeek(let deepSeek): deepSeek.maxPositions
        }
    }

    /// Refuses a model whose made folder could not be read, or would be another network.
    private static func check(
        _ documents: [(name: String, bytes: [UInt8])],
        _ config: GGUFConfig,
        _ file: String
    ) throws(ConvertError) {
        let made = try GGUFConverter.loading { () throws(LoadError) in
            let files = Dictionary(documents.map { ($0.name, $0.bytes) }) { first, _ in first }
            let folder = try ModelFolder(file, documents: files)
            let family = try Registry.family(folder.modelType)
            _ = try family.processor(folder)
            return try family.language(folder.config)
        }
        guard made == config.unturned else {
            throw .source(
                file: file,
                expected: "a network that the config.json of a Llama or a DeepSeek-V2 describes",
                found: "one of other heads, experts or positions"
            )
        }
    }

    private static func torchName(_ type: DType) -> String {
        switch type {
        case .float16: "float16"
        case .bfloat16: "bfloat16"
        default: "float32"
        }
    }

    /// A configuration that states another type.
    private static func retyped(_ bytes: [UInt8], _ type: String) throws(ConvertError) -> [UInt8] {
        let value: JSONValue
        do throws(JSONError) { value = try JSONValue(parsing: bytes) } catch {
            throw .format(.json(file: "config.json", error))
        }
        guard var object = value.asObject else { return bytes }
        object["torch_dtype"] = .string(type)
        for key in ["language_config"] {
            guard var inner = object[key]?.asObject, inner["torch_dtype"] != nil else { continue }
            inner["torch_dtype"] = .string(type)
            object[key] = .object(inner)
        }
        return JSONWriter.encode(.object(object), .pretty)
    }

    /// Writes the folder, which stands under its name only when it is whole.
    ///
    /// - Parameters:
    ///   - path: leads nowhere, or to an empty folder.
    ///   - shardBytes: bytes of one file.
    ///   - onTensor: called with the number of tensors written so far.
    /// - Throws: `ConvertError.format`.
    package func write(
        _ path: String,
        shardBytes: Int = SafetensorsShards.fileBytes,
        onTensor: (Int) -> Void = { _ in }
    ) throws(ConvertError) {
        do throws(FormatError) {
            let folder = try AtomicFolder(path)
            for (name, bytes) in documents { try AtomicFile.write(folder(name), bytes) }
            try SafetensorsShards.write(tensors, into: folder, fileBytes: shardBytes, onTensor: onTensor)
            try folder.commit()
        } catch {
            throw .format(error)
        }
    }
}
