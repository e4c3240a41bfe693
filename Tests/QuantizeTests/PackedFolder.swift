import Foundation
import VLFormats
import VLJSON
import VLModels
import VLTestSupport

/// A checkpoint of the fixtures with the layers of its language model packed in 4 bits, and one with the values that
/// these stand for.
struct PackedFolder {
    /// How layers are packed.
    struct Form: Sendable {
        var layout = "gptq"
        var groupSize = 32
        var isSymmetric = true
        var hasActOrder = false
        /// Whether the configuration lies in AutoGPTQ's own file.
        var isApart = false
        /// Whether layers that have no bias get one of zeros, as AutoGPTQ wrote them.
        var hasBiases = false
    }

    private let scratch: ScratchFolder
    let packed: String
    let plain: String
    /// Names of the layers that are packed.
    private(set) var layers: [String] = []

    init(_ name: String, _ form: Form, in scratch: ScratchFolder) throws {
        self.scratch = scratch
        packed = scratch("packed-" + name)
        plain = scratch("plain-" + name)
        let store = try WeightStore.open(checkpoint(name))
        var (codes, values): ([OutgoingTensor], [OutgoingTensor]) = ([], [])
        for tensor in store.all {
            guard Self.isLayer(tensor), tensor.shape.count == 2 else {
                codes.append(OutgoingTensor(tensor))
                values.append(OutgoingTensor(tensor))
                continue
            }
            let stem = String(tensor.name.dropLast(".weight".count))
            layers.append(stem)
            let layer = Layer(tensor, form)
            codes += layer.tensors(stem, form)
            values.append(
                OutgoingTensor(
                    name: tensor.name,
                    dtype: .float32,
                    shape: tensor.shape,
                    bytes: layer.values.withUnsafeBytes { Array($0) }
                )
            )
        }
        let json = """
            {"quant_method": "\(form.layout.hasPrefix("gptq") ? "gptq" : "awq")", "bits": 4,
             "group_size": \(form.groupSize), "desc_act": \(form.hasActOrder), "sym": \(form.isSymmetric),
             "\(form.layout.hasPrefix("gptq") ? "checkpoint_format" : "version")": "\(form.layout)"}
            """
        for (folder, tensors) in [(packed, codes), (plain, values)] {
            try FileManager.default.copyItem(atPath: checkpoint(name), toPath: folder)
            for file in try FileManager.default.contentsOfDirectory(atPath: folder)
            where file.contains(".safetensors") {
                try FileManager.default.removeItem(atPath: folder + "/" + file)
            }
            try SafetensorsWriter.write(folder + "/model.safetensors", tensors: tensors)
        }
        if form.isApart {
            try AtomicFile.write(packed + "/quantize_config.json", Array(json.utf8))
        } else {
            try Self.set("quantization_config", json, in: packed)
        }
    }

    /// Puts a member into a folder's configuration.
    static func set(_ key: String, _ json: String, in folder: String) throws {
        let path = folder + "/config.json"
        guard case .object(var config) = try JSONValue(parsing: FileContents.read(path, limit: 1 << 20))
        else {
            return
        }
        config[key] = try JSONValue(parsing: Array(json.utf8))
        try AtomicFile.write(path, JSONWriter.encode(.object(config)))
    }

    private static func isLayer(_ tensor: StoredTensor) -> Bool {
        GGUFNames.isLanguage(tensor.name) && tensor.name.hasSuffix("_proj.weight")
            || tensor.name.hasSuffix(".kv_a_proj_with_mqa.weight")
    }
}

/// Codes, zeros and scales of a matrix, rounded to the nearest.
private struct Layer {
    let rows: Int
    let columns: Int
    /// The group of each column.
    let groups: [Int]
    let groupCount: Int
    private(set) var codes: [Int]
    private(set) var zeros: [Int]
    private(set) var scales: [Float16]
    private(set) var values: [Float]

    init(_ tensor: StoredTensor, _ form: PackedFolder.Form) {
        rows = tensor.shape[0]
        columns = tensor.shape[1]
        let count = rows * columns
        let source = (0..<count).map { place in
            tensor.dtype == .float16
                ? Float(tensor.bytes.loadUnaligned(fromByteOffset: 2 * place, as: Float16.self))
                : tensor.bytes.loadUnaligned(fromByteOffset: 4 * place, as: Float.self)
        }
        let size = form.groupSize < 0 ? columns : min(form.groupSize, columns)
        groupCount = (columns + size - 1) / size
        // Any order will do: here columns are dealt out like cards. What reads the same input has the same.
        let step = form.hasActOrder ? 7 : 1
        let columns = columns
        groups = (0..<columns).map { column in
            let isPermutation = columns % step != 0
            return (isPermutation ? column * step % columns : column) / size
        }
        (codes, zeros, values) = (Array(repeating: 0, count: count), [], Array(repeating: 0, count: count))
        zeros = Array(repeating: 8, count: groupCount * rows)
        scales = Array(repeating: 1, count: groupCount * rows)
        for row in 0..<rows {
            for group in 0..<groupCount {
                let members = (0..<columns).filter { groups[$0] == group }
                let found = members.map { source[row * columns + $0] }
                let (low, high) = (min(found.min() ?? 0, 0), max(found.max() ?? 0, 0))
                let place = group * rows + row
                let span = form.isSymmetric ? 2 * max(-low, high) : high - low
                scales[place] = Float16(max(span, 1e-3) / 15)
                let scale = Float(scales[place])
                if !form.isSymmetric { zeros[place] = min(15, Int((-low / scale).rounded())) }
                for column in members {
                    let code = Int((source[row * columns + column] / scale).rounded()) + zeros[place]
                    codes[row * columns + column] = max(0, min(15, code))
                    values[row * columns + column] =
                        Float(codes[row * columns + column] - zeros[place]) * scale
                }
            }
        }
    }

    /// Words of eight numbers each; `at` gives the number at a place.
    private static func words(_ count: Int, _ at: (Int, Int) -> Int) -> [UInt32] {
        (0..<count).map { word in
            (0..<8).reduce(UInt32(0)) { $0 | UInt32(at(word, $1)) << UInt32(4 * $1) }
        }
    }

    func tensors(_ stem: String, _ form: PackedFolder.Form) -> [OutgoingTensor] {
        func tensor<Value>(
            _ ending: String,
            _ dtype: StoredDType,
            _ shape: [Int],
            _ values: [Value]
        ) -> OutgoingTensor {
            OutgoingTensor(
                name: stem + ending,
                dtype: dtype,
                shape: shape,
                bytes: values.withUnsafeBytes { Array($0) }
            )
        }
        let interleaved = [0, 2, 4, 6, 1, 3, 5, 7]
        let isAWQ = form.layout == "gemm"
        var zeroWords = Self.words(groupCount * rows / 8) { word, place in
            let first = word % (rows / 8) * 8
            return zeros[word / (rows / 8) * rows + first + (isAWQ ? interleaved[place] : place)]
        }
        if form.layout == "gptq" { zeroWords = zeroWords.map { $0 &- 0x1111_1111 } }
        var result = [
            tensor(".qzeros", .int32, [groupCount, rows / 8], zeroWords),
            tensor(".scales", .float16, [groupCount, rows], scales),
        ]
        if isAWQ {
            let words = Self.words(columns * rows / 8) { word, place in
                codes[(word % (rows / 8) * 8 + interleaved[place]) * columns + word / (rows / 8)]
            }
            result.append(tensor(".qweight", .int32, [columns, rows / 8], words))
        } else {
            let words = Self.words(columns / 8 * rows) { word, place in
                codes[word % rows * columns + word / rows * 8 + place]
            }
            result.append(tensor(".qweight", .int32, [columns / 8, rows], words))
            result.append(tensor(".g_idx", .int32, [columns], groups.map { Int32($0) }))
        }
        if form.hasBiases {
            result.append(tensor(".bias", .float16, [rows], [Float16](repeating: 0, count: rows)))
        }
        return result
    }
}
