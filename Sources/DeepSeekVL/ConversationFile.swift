import VLFormats
import VLImage
import VLJSON
import VLText

/// Reads conversations as the official programs write them: a JSON list of messages with `role`, `content` and `images`,
/// or a list of such lists.
package enum ConversationFile {
    /// The biggest conversation file, in bytes: room for a few of the biggest pictures as `data:` URLs.
    private static let limit = 64_000_000

    /// Reads a file; picture paths are relative to its folder.
    ///
    /// - Throws: `DeepSeekVLError`.
    package static func read(_ path: String) throws(DeepSeekVLError) -> [ConversationInput] {
        let bytes: [UInt8]
        do throws(FormatError) {
            bytes = try FileContents.read(path, limit: limit)
        } catch {
            throw DeepSeekVLError(error)
        }
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        return try parse(bytes, file: path, folder: folder)
    }

    /// Reads conversations from JSON.
    ///
    /// - Throws: `DeepSeekVLError`.
    package static func parse(
        _ bytes: [UInt8],
        file: String,
        folder: String
    ) throws(DeepSeekVLError) -> [ConversationInput] {
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw .file(description: "\(file): \(error.description)")
        }
        guard let list = value.asArray, let first = list.first else {
            throw .conversationFile(
                file: file,
                place: "root",
                expected: "a list of messages, or a list of such lists",
                found: value.summary
            )
        }
        var inputs: [ConversationInput] = []
        if first.asArray != nil {
            for (index, item) in list.enumerated() {
                guard let messages = item.asArray else {
                    throw .conversationFile(
                        file: file,
                        place: "[\(index)]",
                        expected: "a list of messages",
                        found: item.summary
                    )
                }
                inputs.append(try conversation(messages, file, folder, place: "[\(index)]"))
            }
        } else {
            inputs.append(try conversation(list, file, folder, place: ""))
        }
        return inputs
    }

    private static func conversation(
        _ list: [JSONValue],
        _ file: String,
        _ folder: String,
        place: String
    ) throws(DeepSeekVLError) -> ConversationInput {
        var messages: [Message] = []
        var pictures: [ConversationPicture] = []
        for (index, item) in list.enumerated() {
            let place = place + "[\(index)]"
            func text(_ key: String) throws(DeepSeekVLError) -> String {
                guard let text = item[key]?.asString else {
                    throw .conversationFile(
                        file: file,
                        place: place + ".\(key)",
                        expected: "a text",
                        found: item[key]?.summary ?? "nothing"
                    )
                }
                return text
            }
            guard item.asObject != nil else {
                throw .conversationFile(
                    file: file,
                    place: place,
                    expected: "a message object",
                    found: item.summary
                )
            }
            var count = 0
            if let images = item["images"], !images.isNull {
                guard let references = images.asArray else {
                    throw .conversationFile(
                        file: file,
                        place: place + ".images",
                        expected: "a list of paths",
                        found: images.summary
                    )
                }
                guard pictures.count + references.count <= 1024 else {
                    throw .conversationFile(
                        file: file,
                        place: place + ".images",
                        expected: "at most 1024 images in a conversation",
                        found: "\(pictures.count + references.count)"
                    )
                }
                for reference in references {
                    guard let path = reference.asString else {
                        throw .conversationFile(
                            file: file,
                            place: place + ".images",
                            expected: "paths as texts",
                            found: reference.summary
                        )
                    }
                    pictures.append(try PictureSource.read(path, folder: folder))
                    count += 1
                }
            }
            messages.append(Message(role: try text("role"), content: try text("content"), imageCount: count))
        }
        return ConversationInput(form: .messages(messages), pictures: pictures)
    }

}
