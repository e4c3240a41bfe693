import VLFormats
import VLJSON

/// Layers that are quantized already, kept beside the result until all are: a process that is killed leaves them to the next
/// one that does the same.
///
/// Of a layer N there are `N.safetensors` with its tensors and `N.json` with what became of each matrix and a sum of the
/// tensors' file; the second is written when the first is on the disk.
struct LayerParts: ~Copyable {
    /// A layer that is done.
    struct Layer {
        let store: WeightStore
        let steps: [GPTQuantizer.Step]
    }

    private let folder: PartFolder
    private static let noteLimit = 1 << 26

    /// - Parameters:
    ///   - target: the path of the result.
    ///   - job: all that decides over its bytes.
    init(of target: String, job: String) throws(FormatError) {
        folder = try PartFolder(of: target, job: Array(job.utf8))
    }

    private func tensorFile(_ index: Int) -> String { folder("\(index).safetensors") }
    private func noteFile(_ index: Int) -> String { folder("\(index).json") }

    /// The first layers, as many as are whole.
    func layers(_ count: Int) -> [Layer] {
        var layers: [Layer] = []
        while layers.count < count, let layer = layer(layers.count) { layers.append(layer) }
        return layers
    }

    private func layer(_ index: Int) -> Layer? {
        do throws(FormatError) {
            let note = try FileContents.readJSON(noteFile(index), limit: Self.noteLimit)
            var steps: [GPTQuantizer.Step] = []
            for value in note["matrices"]?.asArray ?? [] {
                guard let step = GPTQuantizer.Step(value) else { return nil }
                steps.append(step)
            }
            guard let sum = note["sum"]?.asString, !steps.isEmpty else { return nil }
            let file = try Safetensors.open(tensorFile(index))
            guard String(Checksum.of(file.file.bytes), radix: 16) == sum else { return nil }
            return Layer(store: WeightStore(file), steps: steps)
        } catch {
            // None, or none that is whole: it is made anew.
            return nil
        }
    }

    /// Writes a layer, and gives it as it lies there.
    func write(
        _ index: Int,
        _ tensors: [OutgoingTensor],
        _ steps: [GPTQuantizer.Step]
    ) throws(FormatError) -> Layer {
        try SafetensorsWriter.write(tensorFile(index), tensors: tensors)
        let file = try Safetensors.open(tensorFile(index))
        let note: JSONValue = [
            "sum": .string(String(Checksum.of(file.file.bytes), radix: 16)),
            "matrices": .array(steps.map(\.json)),
        ]
        try AtomicFile.write(noteFile(index), JSONWriter.encode(note))
        return Layer(store: WeightStore(file), steps: steps)
    }
}

extension GPTQuantizer.Step {
    /// What became of the matrix, for reports and for the notes of a run.
    package var json: JSONValue {
        var object: JSONObject = ["name": .string(name), "rows": .integer(Int64(rows))]
        switch way {
        case .feedback: object["way"] = "gptq"
        case .nearest: object["way"] = "nearest"
        case .kept(let reason):
            object["way"] = "kept"
            object["reason"] = .string(reason)
        }
        if let damping { object["damping"] = .number(damping) }
        if let error {
            object["error"] = .number(error.feedback)
            object["error_nearest"] = .number(error.nearest)
        }
        if let shortGroup { object["last_group"] = .integer(Int64(shortGroup)) }
        return .object(object)
    }

    /// The step of such an object; nil for another one.
    init?(_ value: JSONValue) {
        guard let name = value["name"]?.asString, let rows = value["rows"]?.asInt else { return nil }
        switch value["way"]?.asString {
        case "gptq": self.init(name: name, way: .feedback)
        case "nearest": self.init(name: name, way: .nearest)
        case "kept": self.init(name: name, way: .kept(reason: value["reason"]?.asString ?? ""))
        default: return nil
        }
        self.rows = rows
        damping = value["damping"]?.asDouble
        shortGroup = value["last_group"]?.asInt
        if let feedback = value["error"]?.asDouble, let nearest = value["error_nearest"]?.asDouble {
            error = (feedback, nearest)
        }
    }
}
