import ArgumentParser
import DeepSeekVL
import VLFormats
import VLImage
import VLJSON
import VLModels
import VLTensor

/// Cuts pictures into tiles without running the model.
struct PreprocessCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "preprocess",
        abstract: "Cut pictures into tiles as the model sees them, and say what they cost.",
        discussion: """
            Example:

              deepseek-vl preprocess Examples/shapes.png --dump tiles.safetensors
            """
    )

    @Option(
        name: [.long, .customLong("model_path")],
        help: ArgumentHelp(
            "Folder of a checkpoint, or a name; the bundled model if omitted.",
            valueName: "folder|name"
        )
    )
    var model: String?
    @OptionGroup var output: OutputOptions
    @Option(help: "auto: tiles unless there are three or more pictures; always; never.")
    var tiling = Tiling.auto
    @Option(help: "apply: turns photos upright; ignore: takes them as stored.")
    var exif = EXIFOrientation.apply
    @Option(
        help: ArgumentHelp(
            "Writes pixel_values, images_spatial_crop and tiles_u8.",
            valueName: "file.safetensors"
        )
    )
    var dump: String?
    @Argument(help: "Pictures.")
    var image: [String]

    func run() throws {
        let processor = try Loading.processor(model)
        guard processor.imageTag != nil else {
            throw CommandFailure(
                description: "preprocess: expected a model that sees, found one that does not"
            )
        }
        let pool = ThreadPool()
        var report: [JSONValue] = []
        var views: [PixelBuffer] = []
        var crops: [Int64] = []
        var pictures: [ConversationPicture] = []
        for path in image { pictures.append(try PictureSource.read(path)) }
        let seen = pictures.map { exif == .apply ? $0.decoded.upright : $0.decoded.stored }
        let cuts = processor.tiles(seen, tiling.rule, pool: pool)
        for (index, path) in image.enumerated() {
            let (picture, seen, cut) = (pictures[index], seen[index], cuts[index])
            views += cut.views
            crops += [Int64(cut.tilesAcross), Int64(cut.tilesDown)]
            let tokens = processor.imageTokens(tilesAcross: cut.tilesAcross, tilesDown: cut.tilesDown)
            report.append([
                "image": .string(path), "format": .string(picture.decoded.format.rawValue),
                "width": .integer(Int64(seen.width)), "height": .integer(Int64(seen.height)),
                "orientation": .integer(Int64(picture.decoded.orientation.rawValue)),
                "tiles_across": .integer(Int64(cut.tilesAcross)),
                "tiles_down": .integer(Int64(cut.tilesDown)),
                "tokens": .integer(Int64(tokens)),
            ])
            if output.format == .text {
                let shape =
                    (cut.views.count > 1 ? "\(cut.tilesAcross) x \(cut.tilesDown) tiles and " : "")
                    + "a view of the whole"
                Terminal.output(
                    "\(path): \(seen.width) x \(seen.height) \(picture.decoded.format.rawValue), \(shape), \(tokens) tokens\n"
                )
            }
        }
        if let dump { try write(dump, views, crops, processor) }
        if output.format == .json {
            Terminal.output(
                String(decoding: JSONWriter.encode(["images": .array(report)], .pretty), as: UTF8.self) + "\n"
            )
        }
    }

    private func write(
        _ path: String,
        _ views: [PixelBuffer],
        _ crops: [Int64],
        _ processor: any Processor
    ) throws {
        let size = processor.tileSize
        let pixels = processor.normalize(views)
        let tensors = [
            SafetensorsWriter.Tensor(
                name: "pixel_values",
                dtype: .float32,
                shape: [views.count, 3, size, size],
                bytes: pixels.withUnsafeBytes { Array($0) }
            ),
            SafetensorsWriter.Tensor(
                name: "images_spatial_crop",
                dtype: .int64,
                shape: [crops.count / 2, 2],
                bytes: crops.withUnsafeBytes { Array($0) }
            ),
            SafetensorsWriter.Tensor(
                name: "tiles_u8",
                dtype: .uint8,
                shape: [views.count, size, size, 3],
                bytes: views.flatMap(\.bytes)
            ),
        ]
        do throws(FormatError) {
            try SafetensorsWriter.write(path, tensors: tensors)
        } catch {
            throw CommandFailure(description: error.description)
        }
    }
}
