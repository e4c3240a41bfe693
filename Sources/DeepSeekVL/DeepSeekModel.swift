import Dispatch
import Synchronization
import VLTensor

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
public final class DeepSeekModel: @unchecked Sendable {
    // @unchecked Sendable: the host is touched on the queue only.
    private let host: ModelHost
    private let queue: DispatchQueue

    private init(_ host: ModelHost, _ queue: DispatchQueue) {
        self.host = host
        self.queue = queue
    }

    /// Loads a checkpoint; the bundled model if none is named.
    ///
    /// - Parameters:
    ///   - folder: a Hugging Face checkpoint: `config.json`, `tokenizer.json`, `model.safetensors`…; or the name of one
    ///     that the hub's cache holds: `vl2-tiny`, `ORG/NAME@REVISION`.
    ///   - threads: threads that compute; nil for one a physical core.
    /// - Throws: `DeepSeekVLError`.
    public static func load(_ folder: String? = nil, threads: Int? = nil) async throws -> DeepSeekModel {
        let queue = DispatchQueue(label: "DeepSeekVL.model")
        return try await withCheckedThrowingContinuation { continuation in
            queue.async {
                do {
                    continuation.resume(
                        returning: DeepSeekModel(try ModelHost(folder, threads: threads), queue)
                    )
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    /// The folder's name.
    public var name: String { host.name }

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
        AsyncThrowingStream { continuation in
            let cancelled = Cancellation()
            continuation.onTermination = { _ in cancelled.cancel() }
            queue.async { [self] in
                do {
                    var read: [ConversationPicture] = []
                    for picture in pictures {
                        switch picture {
                        case .file(let path): read.append(try PictureSource.read(path))
                        case .bytes(let bytes):
                            read.append(try PictureSource.decode(bytes, "picture \(read.count + 1)"))
                        }
                    }
                    let input = ConversationInput(form: .question(question, system: system), pictures: read)
                    _ = try host.answer([input], parameters, tiling: tiling, exif: exif) { _, event in
                        continuation.yield(event)
                        return !cancelled.isCancelled
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
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

/// A flag that one thread sets and another looks at between steps.
private final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)

    var isCancelled: Bool { flag.load(ordering: .relaxed) }

    func cancel() { flag.store(true, ordering: .relaxed) }
}
