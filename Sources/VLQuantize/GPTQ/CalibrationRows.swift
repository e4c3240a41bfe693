import VLEngine
import VLFormats
import VLModels
import VLTensor

/// What a calibration's prompts are between two layers: the hidden states of all their rows.
final class CalibrationRows {
    private let hidden: Int
    /// Of each prompt, [rows, hidden].
    private var states: [[Float]] = []
    private var longest = 0

    /// Prompts.
    var count: Int { states.count }
    /// Rows of all prompts.
    private(set) var rows = 0
    /// Bytes of all hidden states.
    var byteCount: Int { rows * hidden * 4 }
    /// A sum of the prompts' embeddings.
    private(set) var sum = Checksum.start

    init(hidden: Int) { self.hidden = hidden }

    /// Embeds a prompt's tokens and pictures.
    ///
    /// - Throws: `MeasureError.engine` for a prompt that does not fit the model.
    func add(_ prompt: PreparedPrompt, _ model: LoadedModel, _ run: Run) throws(MeasureError) {
        let language = model.language
        let count = prompt.ids.count
        guard count > 0 else { throw .engine(.emptyPrompt) }
        guard count <= language.maxPositions else {
            throw .engine(
                .contextTooLong(
                    tokens: count,
                    context: language.maxPositions,
                    imageTokens: prompt.spans.map(\.count)
                )
            )
        }
        for id in prompt.ids where id < 0 || Int(id) >= language.vocabularySize {
            throw .engine(.tokenOutOfRange(id: Int(id), vocabulary: language.vocabularySize))
        }
        var state = [Float](repeating: 0, count: count * hidden)
        state.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            let all = Matrix(base, rows: count, columns: hidden)
            prompt.ids.withUnsafeBufferPointer { language.embed($0, into: all, run) }
            guard let vision = model.vision else { return }
            for span in prompt.spans {
                let rows = all[rows: span.start..<span.start + span.count]
                vision.embed(prompt.images[span.image], into: rows, run) { _ in }
            }
        }
        states.append(state)
        sum = state.withUnsafeBytes { Checksum.of($0, from: sum) }
        rows += count
        longest = max(longest, count)
    }

    /// Lets all prompts pass a layer.
    ///
    /// - Parameters:
    ///   - keeps: whether what comes out takes the place of what went in.
    ///   - onPrompt: called after each prompt.
    func pass(_ layer: DecoderStage, keeps: Bool, _ run: Run, onPrompt: () -> Void) {
        let cache = KVCache(layer.cacheLayout, maximum: longest)
        for index in states.indices {
            run.scoped {
                let x = run.workspace.matrix(states[index].count / hidden, hidden)
                states[index].withUnsafeBufferPointer { buffer in
                    guard let base = buffer.baseAddress else { return }
                    x.pointer.update(from: base, count: buffer.count)
                }
                layer(x, cache, run)
                guard keeps else { return }
                states[index].withUnsafeMutableBufferPointer { buffer in
                    guard let base = buffer.baseAddress else { return }
                    base.update(from: x.pointer, count: buffer.count)
                }
            }
            onPrompt()
        }
    }
}
