import DeepSeekVL
import VLEval
import VLFormats
import VLModels
import VLText

/// Makes conversations of a question file's questions.
struct QuestionInputs {
    /// The question file, beside which pictures are looked for.
    let file: String
    /// Folder of the pictures, if the user named one.
    let images: String?
    /// The picture that was read last: neighbours ask about the same one.
    private var last: (name: String, picture: ConversationPicture)?

    init(file: String, images: String?) {
        self.file = file
        self.images = images
    }

    /// The questions of the file.
    func questions() throws -> [Question] {
        let bytes: [UInt8]
        do throws(FormatError) {
            bytes = try FileContents.read(file, limit: 1 << 30)
        } catch {
            throw CommandFailure(description: error.description)
        }
        return try QuestionFile.parse(bytes, file: file)
    }

    /// A question as a conversation.
    ///
    /// - Parameter answer: what the assistant has said already: the beginning of the answer, or all of it.
    mutating func conversation(
        _ question: Question,
        _ processor: any Processor,
        answer: String = ""
    ) throws -> ConversationInput {
        var pictures: [ConversationPicture] = []
        for name in question.images {
            if let last, last.name == name {
                pictures.append(last.picture)
            } else {
                let picture = try PictureSource.read(find(name))
                pictures.append(picture)
                last = (name, picture)
            }
        }
        return ConversationInput(
            form: .messages(Self.messages(question, processor, answer: answer)),
            pictures: pictures
        )
    }

    /// A question after its history; pictures belong to the messages whose texts have their tags.
    private static func messages(
        _ question: Question,
        _ processor: any Processor,
        answer: String
    ) -> [Message] {
        var messages: [Message] = []
        for (asked, answered) in question.history + [(question.question, answer)] {
            // Question files have one tag for all models.
            let text = asked.split(separator: "<image>", omittingEmptySubsequences: false).joined(
                separator: processor.imageTag ?? ""
            )
            messages.append(
                Message(role: processor.roles.user, content: text, imageCount: processor.imageTags(text))
            )
            messages.append(Message(role: processor.roles.assistant, content: answered))
        }
        return messages
    }

    private func find(_ name: String) -> String {
        if name.hasPrefix("/") { return name }
        if let images { return images + "/" + name }
        let folder = file.lastIndex(of: "/").map { String(file[..<$0]) } ?? "."
        let stem = file.split(separator: "/").last.map { $0.prefix { $0 != "." } } ?? ""
        let places = ["\(folder)/\(name)", "\(folder)/images/\(name)", "\(folder)/\(stem)/\(name)"]
        return places.first { FileContents.exists($0) } ?? places[0]
    }
}
