import DeepSeekVL
import VLDraw
import VLFormats
import VLImage
import VLModels
import VLTensor

/// The intermediate tensors of `ask --dump`.
enum TensorDump {
    static func write(_ path: String, _ hosted: HostedAnswer, _ host: ModelHost) throws {
        guard let trace = host.run.trace else { return }
        let answer = hosted.answer
        var tensors: [SafetensorsWriter.Tensor] = []
        func add<Value>(_ name: String, _ type: StoredDType, _ shape: [Int], _ values: [Value]) {
            tensors.append(
                SafetensorsWriter.Tensor(
                    name: name,
                    dtype: type,
                    shape: shape,
                    bytes: values.withUnsafeBytes { Array($0) }
                )
            )
        }
        let count = answer.promptTokens.count
        add("input_ids", .int64, [count], answer.promptTokens.map { Int64($0) })
        var mask = [UInt8](repeating: 0, count: count)
        for span in answer.imageSpans { for index in span[0]..<span[0] + span[1] { mask[index] = 1 } }
        add("images_seq_mask", .uint8, [count], mask)
        let crops = hosted.images.flatMap { [Int64($0.tilesAcross), Int64($0.tilesDown)] }
        // A conversation without pictures carries one empty one, as officially.
        add("images_spatial_crop", .int64, [max(1, hosted.images.count), 2], crops.isEmpty ? [0, 0] : crops)
        if let size = hosted.images.first?.size {
            let tiles = hosted.images.reduce(0) { $0 + $1.tiles }
            add("pixel_values", .float32, [tiles, 3, size, size], hosted.images.flatMap(\.pixels))
        }
        if let logits = trace.entries["logits"] { trace.reshape("logits", [logits.values.count]) }
        for name in trace.names {
            if let entry = trace.entries[name], let tiles = entry.tiles, tiles > 0 {
                trace.reshape(name, [tiles, entry.shape[0] / tiles, entry.shape[1]])
            }
            guard let entry = trace.entries[name] else { continue }
            add(name, .float32, entry.shape, entry.values)
        }
        do throws(FormatError) {
            try SafetensorsWriter.write(path, tensors: tensors)
        } catch {
            throw CommandFailure(description: error.description)
        }
    }
}

/// The pictures of `ask --draw`.
enum Drawing {
    /// Writes one picture for each picture that has boxes: OUT, or OUT-1, OUT-2… if there are several.
    static func write(_ path: String, _ answers: [HostedAnswer], _ exif: EXIFOrientation) throws {
        var drawn: [(ConversationPicture, [GroundedObject])] = []
        for answer in answers {
            let images = Set(answer.answer.grounding.map(\.image)).sorted()
            for image in images {
                drawn.append((answer.pictures[image], answer.answer.grounding.filter { $0.image == image }))
            }
        }
        if drawn.isEmpty {
            Terminal.note("deepseek-vl: --draw: the answer has no boxes, so nothing was drawn")
            return
        }
        let dot = path.lastIndex(of: ".") ?? path.endIndex
        for (index, item) in drawn.enumerated() {
            let name = drawn.count == 1 ? path : path[..<dot] + "-\(index + 1)" + path[dot...]
            let picture = exif == .apply ? item.0.decoded.upright : item.0.decoded.stored
            let annotations = item.1.map { object in
                let box = exif == .apply ? object.pixels : object.storedPixels
                return Annotation(
                    label: object.label,
                    left: Double(box[0]),
                    top: Double(box[1]),
                    right: Double(box[2]),
                    bottom: Double(box[3]),
                    confidence: object.confidence
                )
            }
            do {
                let bytes =
                    path.hasSuffix(".svg")
                    ? try BoxPainter.svg(picture, annotations) : try BoxPainter.png(picture, annotations)
                try AtomicFile.write(name, bytes)
            } catch {
                throw CommandFailure(description: "\(error)")
            }
        }
    }
}
