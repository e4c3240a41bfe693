import VLEngine
import VLFormats
import VLModels
import VLTensor

/// A checkpoint's weights in the types that they run in, kept as a GGUF file so that only the first load converts.
///
/// The file's name holds a print of the checkpoint's files (names, sizes, times of writing) and of the types: whatever
/// changes, another file is made. It is written under another name and stands under its own only when it is whole, so
/// that programs that start together harm nothing.
package struct ConvertedWeights {
    /// Raised when files of an earlier version would be read otherwise than they were meant.
    private static let version = 1

    /// The file, whether or not it exists.
    package let path: String
    private let source: String
    private let policy: WeightPolicy
    private let name: String?

    /// Whether the file is there already.
    package var exists: Bool { FileContents.exists(path) }

    /// - Parameters:
    ///   - source: the checkpoint's folder.
    ///   - policy: in which types its matrices run.
    ///   - folder: where the files are kept.
    ///   - name: of the model; the folder's if omitted.
    /// - Throws: `ConvertError`.
    package init(
        of source: String,
        _ policy: WeightPolicy,
        in folder: String,
        name: String? = nil
    ) throws(ConvertError) {
        self.source = source
        self.policy = policy
        self.name = name
        var text = "\(Self.version) \(policy.language?.rawValue ?? "-") \(policy.vision?.rawValue ?? "-")\n"
        do throws(FormatError) {
            var names: [String] = []
            for ending in [".json", ".safetensors"] {
                guard let found = try FileContents.names(in: source, endingIn: ending) else {
                    throw FormatError.noCheckpoint(folder: source, wanted: ["config.json"])
                }
                names += found
            }
            for file in names {
                guard let stamp = try FileStamp(source + "/" + file) else { continue }
                text += "\(file) \(stamp.size) \(stamp.written)\n"
            }
        } catch {
            throw .format(error)
        }
        let print = SHA256.digest(text.utf8).bytes.prefix(8)
        let digits = print.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let model = name ?? source.split(separator: "/").last.map(String.init) ?? "model"
        let types = [policy.language?.rawValue, policy.vision.map { "vision-" + $0.rawValue }]
        path = ([folder + "/" + model] + types.compactMap(\.self) + [digits]).joined(separator: "-") + ".gguf"
    }

    /// Converts the checkpoint and writes the file.
    ///
    /// - Parameter onTensor: called with the number of tensors written so far, and of all.
    /// - Throws: `ConvertError`.
    package func write(_ run: Run, onTensor: @escaping (Int, Int) -> Void = { _, _ in }) throws(ConvertError)
    {
        let converter = try GGUFConverter(source, exactly: policy, name: name, run: run)
        let count = converter.count
        // Another program may have been faster, with the same bytes.
        try converter.write(path, replaces: true) { onTensor($0, count) }
    }
}
