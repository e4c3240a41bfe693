import DeepSeekVL
import VLEval
import VLFormats
import VLJSON
import VLModels
import VLQuantize
import VLText

/// A calibration file that was read.
struct CalibrationInput {
    private enum Content {
        case text(String)
        case questions(QuestionInputs, [Question])
        case conversations([JSONValue], folder: String)
    }

    private let file: String
    private let content: Content

    /// Reads a file.
    ///
    /// - Parameter images: folder of the pictures of a question file, if the user named one.
    init(_ file: String, images: String?) throws {
        self.file = file
        let bytes: [UInt8]
        do throws(FormatError) {
            bytes = try FileContents.read(file, limit: 1 << 30)
        } catch {
            throw CommandFailure(description: error.description)
        }
        switch try CalibrationFile.parse(bytes, file: file) {
        case .text(let text): content = .text(text)
        case .questions:
            let inputs = QuestionInputs(file: file, images: images)
            content = .questions(inputs, try inputs.questions())
        case .conversations(let list):
            let folder = file.lastIndex(of: "/").map { String(file[..<$0]) } ?? "."
            content = .conversations(list, folder: folder)
        }
    }

    /// What is run through the model, prompt by prompt; pictures are read when their turn comes.
    func prompts(_ host: ModelHost, chunkSize: Int, parseSpecial: Bool) throws -> [CalibrationPrompt] {
        switch content {
        case .text(let text):
            let ids: [Int32]
            do throws(TokenizerError) {
                ids = try host.loaded.tokenizer.encode(text, parsesSpecial: parseSpecial)
            } catch {
                throw CommandFailure(description: "\(file): \(error.description)")
            }
            return CalibrationText.chunks(ids, begin: try host.beginTokens, size: chunkSize).map {
                .ids($0)
            }
        case .questions(let inputs, let questions):
            return questions.map { .question(inputs, $0) }
        case .conversations(let list, let folder):
            return list.enumerated().map {
                .conversation($0.element, file: "\(file): conversation \($0.offset + 1)", folder)
            }
        }
    }
}

/// One chunk or conversation of a calibration file.
enum CalibrationPrompt {
    case ids([Int32])
    case question(QuestionInputs, Question)
    case conversation(JSONValue, file: String, String)

    /// The prompt; answers are part of it.
    func make(_ host: ModelHost) throws -> PreparedPrompt {
        switch self {
        case .ids(let ids): return PreparedPrompt(text: "", ids: ids, spans: [], images: [])
        case .question(var inputs, let question):
            let input = try inputs.conversation(question, host.loaded.processor, answer: question.answer)
            return try host.prepare(input, tiling: .auto, exif: .apply)
        case .conversation(let value, let file, let folder):
            let bytes = JSONWriter.encode(value)
            guard let input = try ConversationFile.parse(bytes, file: file, folder: folder).first else {
                throw CommandFailure(description: "\(file): expected messages, found none")
            }
            return try host.prepare(input, tiling: .auto, exif: .apply)
        }
    }
}
