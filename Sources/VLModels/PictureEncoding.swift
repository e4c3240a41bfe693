import VLTensor

/// A picture on its way through a vision tower: work in parts, between which other work may be done.
///
/// The parts are those of the whole, in its order, so that the result does not depend on what lies between them.
/// Confined to the thread that runs the model.
package final class PictureEncoding {
    /// A part that is done without a pause.
    struct Part {
        /// Floating-point operations, roughly.
        let flops: Double
        /// Tiles that are done with it.
        let tiles: Int
        let work: (Run) -> Void
    }

    /// The picture's token embeddings, [tokens, hidden]; whole when all parts are done.
    package var features: Matrix { memory.matrix }
    /// Tiles that are done.
    package private(set) var tiles = 0
    private let memory: HeldMatrix
    /// What is left, in reverse order.
    private var parts: [Part]

    /// - Parameter memory: what the parts write the token embeddings into.
    init(into memory: HeldMatrix, _ parts: [Part]) {
        self.memory = memory
        self.parts = parts.reversed()
    }

    /// Operations that are left, roughly.
    package var flopsLeft: Double { parts.reduce(0) { $0 + $1.flops } }

    /// Does the next part, and further ones as long as all together stay below so many operations.
    ///
    /// - Returns: whether the picture is done.
    package func advance(_ run: Run, flops: Double = .infinity) -> Bool {
        var left = flops
        repeat {
            guard let part = parts.popLast() else { return true }
            run.scoped { part.work(run) }
            tiles += part.tiles
            left -= part.flops
        } while left >= (parts.last?.flops ?? 0)
        return parts.isEmpty
    }
}

/// A matrix of its own memory, outside the workspace, for what must outlive a step.
final class HeldMatrix {
    let matrix: Matrix
    private let memory: UnsafeMutableRawPointer

    init(_ rows: Int, _ columns: Int) {
        let count = max(1, rows * columns)
        memory = .allocate(byteCount: count * MemoryLayout<Float>.stride, alignment: 64)
        let values = memory.bindMemory(to: Float.self, capacity: count)
        values.update(repeating: 0, count: count)
        matrix = Matrix(values, rows: rows, columns: columns)
    }

    deinit { memory.deallocate() }
}

extension SigLIP {
    /// The tower's parts for some tiles: patches, one for each block, and the rest.
    ///
    /// - Parameters:
    ///   - x: [tiles * tokens, width] or more rows, which the blocks work in.
    ///   - pixels: hands over the pixels of the tiles.
    ///   - finish: gets the features after the final norm.
    func parts(
        in x: HeldMatrix,
        tiles: Int,
        name: String,
        pixels: @escaping (Run, (UnsafePointer<Float>) -> Void) -> Void,
        finish: @escaping (Matrix, Run) -> Void
    ) -> [PictureEncoding.Part] {
        let flops = Double(tiles) * config.flopsPerTile / Double(config.layers)
        let rows = x.matrix[rows: 0..<tiles * config.tokens]
        let begin = PictureEncoding.Part(flops: flops / 10, tiles: 0) { run in
            pixels(run) { self.begin($0, tiles: tiles, into: rows, run, name: name) }
        }
        let middle = blocks.indices.map { index in
            PictureEncoding.Part(flops: flops, tiles: 0) { run in
                self.apply(index, to: rows, tiles: tiles, run, name: name)
            }
        }
        let end = PictureEncoding.Part(flops: flops, tiles: tiles) { run in
            // The matrix belongs to whoever made it; the part keeps it.
            withExtendedLifetime(x) {
                self.finish(rows, into: rows, run)
                run.trace?.record(name + "_features", rows, tiles: tiles)
                finish(rows, run)
            }
        }
        return [begin] + middle + [end]
    }
}

extension SAM {
    /// The encoder's parts for one picture: patches, one for each block, and the rest.
    ///
    /// - Parameters:
    ///   - out: gets the features, [outputSide * outputSide, outputChannels].
    ///   - pixels: hands over the picture's pixels.
    func parts(
        into out: HeldMatrix,
        pixels: @escaping (Run, (UnsafePointer<Float>) -> Void) -> Void
    ) -> [PictureEncoding.Part] {
        let flops = config.flopsPerImage / Double(config.layers)
        let x = HeldMatrix(config.grid * config.grid, config.width)
        let details = HeldMatrix(x.matrix.rows, x.matrix.columns)
        let begin = PictureEncoding.Part(flops: flops / 10, tiles: 0) { run in
            pixels(run) { self.begin($0, into: x.matrix, run) }
        }
        let middle = blocks.indices.map { index in
            PictureEncoding.Part(flops: flops, tiles: 0) { run in
                self.apply(index, to: x.matrix, details: details.matrix, run)
            }
        }
        let end = PictureEncoding.Part(flops: flops, tiles: 0) { run in
            self.finish(x.matrix, details: details.matrix, into: out.matrix, run)
            run.trace?.record("sam_features", out.matrix, tiles: 1)
        }
        return [begin] + middle + [end]
    }
}

extension VisionEncoder {
    /// Writes a picture's token embeddings into `out`, [the picture's tokens, hidden].
    ///
    /// - Parameter onTiles: called with the number of tiles that are done.
    package func embed(_ image: PreparedImage, into out: Matrix, _ run: Run, onTiles: (Int) -> Void) {
        let encoding = encoding(image)
        precondition(
            out.rows == encoding.features.rows && out.columns == encoding.features.columns,
            "rows for a picture"
        )
        var told = 0
        var isDone = false
        while !isDone {
            isDone = encoding.advance(run, flops: 0)
            if encoding.tiles > told {
                told = encoding.tiles
                onTiles(told)
            }
        }
        out.pointer.update(from: encoding.features.pointer, count: out.rows * out.columns)
    }
}
