import VLEngine
import VLFormats
import VLModels
import VLTensor

/// A checkpoint's weights in the types that they run in, kept as a GGUF file so that only the first load converts.
///
/// The checkpoint may be a folder, a packed one too, or a GGUF file, alone or with a second one that holds what sees: the
/// file holds all of it. Its name has a print of the checkpoint's files (names, sizes, times of writing) and of the types:
/// whatever changes, another file is made. It is written under another name and stands under its own only when it is whole, so
/// that programs that start together harm nothing.
package struct ConvertedWeights {
    /// Raised when files of an earlier version would be read otherwise than they were meant.
    private static let version = 1

    /// The file, whether or not it exists.
    package let path: String
    private let source: String
    private let vision: String?
    private let isGGUF: Bool
    private let policy: WeightPolicy
    private let name: String?

    /// Whether the file is there already.
    package var exists: Bool { FileContents.exists(path) }

    /// - Parameters:
    ///   - source: the checkpoint's folder or GGUF file.
    ///   - vision: the GGUF file that holds what sees, where that is another and its name does not say so.
    ///   - policy: in which types its matrices run.
    ///   - folder: where the files are kept.
    ///   - name: of the model; the folder's if omitted.
    /// - Throws: `ConvertError`.
    package init(
        of source: String,
        vision: String? = nil,
        _ policy: WeightPolicy,
        in folder: String,
        name: String? = nil
    ) throws(ConvertError) {
        (self.source, self.vision, self.policy, self.name) = (source, vision, policy, name)
        let gguf = try GGUFConverter.loading { () throws(LoadError) in
            try GGUFModel(at: source, vision: vision)
        }
        isGGUF = gguf != nil
        if !isGGUF {
            try GGUFConverter.loading { () throws(LoadError) in try Registry.refuse(vision, beside: source) }
        }
        var text = "\(Self.version) \(policy.language?.rawValue ?? "-") \(policy.vision?.rawValue ?? "-")\n"
        do throws(FormatError) {
            var files = [gguf?.gguf, gguf?.vision].compactMap { $0?.file.path }
            if gguf == nil { files = try Self.files(of: source) }
            for file in files {
                guard let stamp = try FileStamp(file) else { continue }
                text += "\(file.split(separator: "/").last ?? "") \(stamp.size) \(stamp.written)\n"
            }
        } catch {
            throw .format(error)
        }
        let print = SHA256.digest(text.utf8).bytes.prefix(8)
        let digits = print.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let model = name ?? Self.stem(source)
        let types = [policy.language?.rawValue, policy.vision.map { "vision-" + $0.rawValue }]
        path = ([folder + "/" + model] + types.compactMap(\.self) + [digits]).joined(separator: "-") + ".gguf"
    }

    /// The files of a folder that decide over its weights.
    private static func files(of folder: String) throws(FormatError) -> [String] {
        var files: [String] = []
        for ending in [".json", ".safetensors"] {
            guard let found = try FileContents.names(in: folder, endingIn: ending) else {
                throw FormatError.noCheckpoint(folder: folder, wanted: ["config.json"])
            }
            files += found.map { folder + "/" + $0 }
        }
        return files
    }

    /// What a folder or a GGUF file is called.
    private static func stem(_ path: String) -> String {
        let name = path.split(separator: "/").last.map(String.init) ?? "model"
        return name.hasSuffix(".gguf") ? String(name.dropLast(5)) : name
    }

    /// Converts the checkpoint and writes the file.
    ///
    /// - Parameter onTensor: called with the number of tensors written so far, and of all.
    /// - Throws: `ConvertError`.
    package func write(_ run: Run, onTensor: @escaping (Int, Int) -> Void = { _, _ in }) throws(ConvertError)
    {
        if isGGUF {
            let retyper = try GGUFRetyper(source, vision: vision, policy, run: run)
            return try retyper.write(path, onTensor: onTensor)
        }
        let converter = try GGUFConverter(source, exactly: policy, name: name, run: run)
        let count = converter.count
        // Another program may have been faster, with the same bytes.
        try converter.write(path, replaces: true) { onTensor($0, count) }
    }
}
