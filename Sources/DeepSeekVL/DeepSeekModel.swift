import Dispatch

/// A picture to ask about.
public enum Picture: Sendable {
    /// A JPEG, PNG, WebP, GIF, BMP or TIFF file.
    case file(String)
    /// Such a file's bytes.
    case bytes([UInt8])
}

/// A vision-language model that is loaded and answers questions.
///
///     let model = try await DeepSeekModel.load()
///     for try await event in model.ask("Where is the green cross?", pictures: [.file("Examples/shapes.png")]) {
///         if case .text(let text) = event { print(text, terminator: "") }
///     }
///
/// Questions are answered one after the other on a thread of the model's own; ending the iteration cancels.
public final class DeepSeekModel: Sendable {
    let host: QueueBound<ModelHost>
    /// The folder's name.
    public let name: String

    private init(_ host: QueueBound<ModelHost>, name: String) {
        self.host = host
        self.name = name
    }

    /// Loads a checkpoint; the bundled model if none is named.
    ///
    /// - Parameters:
    ///   - folder: a Hugging Face checkpoint: `config.json`, `tokenizer.json`, `model.safetensors`…; or the name of one
    ///     that the hub's cache holds: `vl2-tiny`, `ORG/NAME@REVISION`.
    ///   - threads: threads that compute; nil for one a physical core.
    /// - Throws: `DeepSeekVLError`.
    public static func load(_ folder: String? = nil, threads: Int? = nil) async throws -> DeepSeekModel {
        let queue = QueueBound((), DispatchQueue(label: "DeepSeekVL.model"))
        let host = try await queue.bound { _ in try ModelHost(folder, threads: threads) }
        return DeepSeekModel(host, name: await host.run { $0.name })
    }

    /// Asks a question about pictures; the text may place them with `<image>` tags, else they come before it.
    ///
    /// - Throws: in the sequence, `DeepSeekVLError`.
    public func ask(
        _ question: String,
        pictures: [Picture] = [],
        system: String? = nil,
        parameters: Parameters = Parameters(),
        tiling: Tiling = .auto,
        exif: EXIFOrientation = .apply
    ) -> AsyncThrowingStream<AnswerEvent, any Error> {
        host.stream { host, report in
            var read: [ConversationPicture] = []
            for picture in pictures {
                read.append(try PictureSource.read(picture, number: read.count + 1))
            }
            let input = ConversationInput(form: .question(question, system: system), pictures: read)
            _ = try host.answer([input], parameters, tiling: tiling, exif: exif) { report($1) }
        }
    }

    /// Asks a question and waits for the whole answer.
    ///
    /// - Throws: `DeepSeekVLError`.
    public func answer(
        _ question: String,
        pictures: [Picture] = [],
        system: String? = nil,
        parameters: Parameters = Parameters(),
        tiling: Tiling = .auto,
        exif: EXIFOrientation = .apply
    ) async throws -> Answer {
        let events = ask(
            question,
            pictures: pictures,
            system: system,
            parameters: parameters,
            tiling: tiling,
            exif: exif
        )
        for try await event in events {
            if case .finished(let answer) = event { return answer }
        }
        throw CancellationError()
    }
}
