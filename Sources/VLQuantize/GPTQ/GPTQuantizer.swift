import VLEngine
import VLFormats
import VLJSON
import VLModels
import VLTensor

/// Quantizes a model to 4 bits with error feedback, layer by layer, and writes it in GPTQ's layout or as a GGUF file.
///
/// Each layer is calibrated with what the layers before it give when they are quantized already. One layer's Hessians and
/// float32 values are in memory at a time, beside the hidden states of the calibration.
package final class GPTQuantizer {
    /// How a matrix was rounded.
    package struct Step: Sendable {
        package enum Way: Sendable, Equatable {
            /// With error feedback.
            case feedback
            /// To the nearest, as too few rows, or none but zeros, reached it.
            case nearest
            /// Not at all: it is as it was.
            case kept(reason: String)
        }

        /// The name of its weights in a checkpoint.
        package let name: String
        package internal(set) var way: Way
        /// Rows of the calibration that reached it.
        package internal(set) var rows = 0
        /// Columns of its last group, if these are fewer than in others.
        package internal(set) var shortGroup: Int?
        /// What was added to the Hessian's diagonal, as a share of its mean.
        package internal(set) var damping: Double?
        /// The output's squared error as a share of the output's square: with feedback, and rounded to the nearest.
        package internal(set) var error: (feedback: Double, nearest: Double)?
    }

    let path: String
    let form: GPTQForm
    package let options: GPTQOptions
    let run: Run
    private let model: LoadedModel
    private let decoder: Decoder
    let source: any WeightSource
    let calibration: CalibrationRows
    /// What became of each matrix, in the order of the layers.
    package internal(set) var steps: [Step] = []
    /// Layers that a run that was killed had done.
    package internal(set) var resumedLayers = 0
    /// Bytes of the tensors before and after.
    package internal(set) var bytes = (before: 0, after: 0)

    /// - Parameters:
    ///   - path: the model's folder or GGUF file.
    ///   - model: the same, loaded.
    ///   - blocks: whether a GGUF file is to be written.
    /// - Throws: `ConvertError` for a source that is quantized already.
    package init(
        _ path: String,
        _ model: LoadedModel,
        blocks: Bool,
        _ options: GPTQOptions,
        run: Run
    ) throws(ConvertError) {
        self.path = path
        self.model = model
        self.options = options
        self.run = run
        form = blocks ? .blocks : .packed
        guard let decoder = model.language as? Decoder else {
            throw .source(file: path, expected: "a model with decoder layers", found: "another one")
        }
        self.decoder = decoder
        source = try GGUFConverter.loading { () throws(LoadError) in try Registry.weights(of: path) }
        calibration = CalibrationRows(hidden: decoder.hiddenSize)
    }

    /// Refuses a source that is quantized already, before it is loaded.
    ///
    /// - Throws: `ConvertError`.
    package static func check(_ path: String) throws(ConvertError) {
        let model = try GGUFConverter.loading { () throws(LoadError) in try GGUFModel(at: path) }
        if let model {
            for tensor in model.gguf.entries
            where tensor.dtype.isBlock && tensor.name.hasPrefix("blk.") && tensor.shape.count > 1 {
                throw .source(
                    file: path,
                    expected: "F32, BF16 or F16 for tensor '\(tensor.name)'",
                    found: "\(tensor.dtype.rawValue): it is quantized already"
                )
            }
            return
        }
        let folder = try GGUFConverter.loading { () throws(LoadError) in try ModelFolder(path) }
        guard folder.config["quantization_config"] == nil || folder.config.isNull("quantization_config")
        else {
            throw .source(
                file: "config.json",
                expected: "a checkpoint of floating-point numbers",
                found: "'quantization_config': it is quantized already"
            )
        }
    }

    /// Adds a prompt to the calibration.
    ///
    /// - Throws: `ConvertError.calibration`.
    package func calibrate(with prompt: PreparedPrompt) throws(ConvertError) {
        do throws(MeasureError) {
            try calibration.add(prompt, model, run)
        } catch {
            throw .calibration(error)
        }
    }

    /// Rows of the calibration.
    package var calibrationRows: Int { calibration.rows }
    /// Prompts of the calibration.
    package var calibrationPrompts: Int { calibration.count }
    /// Bytes of the calibration's hidden states.
    package var calibrationBytes: Int { calibration.byteCount }
    /// Layers of the model.
    package var layerCount: Int { decoder.layerCount }

    /// Most bytes that the Hessians of one layer and the factor of one of them take.
    ///
    /// - Throws: `ConvertError`.
    package func hessianBytes() throws(ConvertError) -> Int {
        guard !options.roundsToNearest else { return 0 }
        var most = 0
        for index in 0..<layerCount {
            let layer = try stage(index, source)
            var sizes: [String: Int] = [:]
            for name in targets(layer) {
                let found = try GGUFConverter.loading { () throws(LoadError) in try source.tensor(name, []) }
                sizes[HessianCollector.input(of: name)] = found.shape.last ?? 0
            }
            let sum = sizes.values.reduce(0) { $0 + InputHessian.byteCount($1) }
            most = max(most, sum + FeedbackFactor.byteCount(sizes.values.max() ?? 0))
        }
        return most
    }

    func stage(_ index: Int, _ source: any WeightSource) throws(ConvertError) -> DecoderStage {
        try GGUFConverter.loading { () throws(LoadError) in
            try DecoderStage(decoder, index, source, cacheType: decoder.cacheType(nil, run), run)
        }
    }

    /// The matrices of a layer that are quantized.
    func targets(_ layer: DecoderStage) -> [String] {
        layer.names.filter { name in
            if name.hasSuffix(".mlp.gate.weight") { return false }
            // Latent attention multiplies them from both sides, which blocks do not allow.
            let folded = ["kv_b_proj", "k_b_proj", "v_b_proj"].contains { name.hasSuffix(".\($0).weight") }
            return form == .packed || !folded
        }
    }
}
