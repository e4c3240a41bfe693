import ArgumentParser
import DeepSeekVL
import VLJSON
import VLModels
import VLText

/// Tokenizes JSON lines from standard input.
struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Turn texts into token ids, or ids into texts: JSON lines in, JSON lines out.",
        discussion: """
            Example:

              echo '{"text": "Hello"}' | deepseek-vl tokenize --model vl2-tiny
              echo '{"ids": [19923]}' | deepseek-vl tokenize --model vl2-tiny --decode
            """
    )

    @Option(
        name: [.long, .customLong("model_path")],
        help: ArgumentHelp(
            "Folder of a checkpoint, a tokenizer.json, or a name; the bundled model if omitted.",
            valueName: "folder|name"
        )
    )
    var model: String?
    @Flag(help: "Ids to texts.")
    var decode = false
    @Flag(help: "Encoding: special tokens in a text are plain text. Decoding: special tokens are left out.")
    var noSpecial = false

    func run() throws {
        let tokenizer = try Loading.tokenizer(model)
        var reader = LineReader()
        while let line = try reader.next() {
            let number = reader.number
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }) { continue }
            let value: JSONValue
            do throws(JSONError) {
                value = try JSONValue(parsing: line)
            } catch {
                throw CommandFailure(description: "standard input, line \(number): \(error.description)")
            }
            let result: JSONValue
            if decode {
                guard let list = value["ids"]?.asArray else { throw wrong(number, "an 'ids' list", value) }
                var ids: [Int32] = []
                for item in list {
                    guard let id = item.asInt, id >= 0, let small = Int32(exactly: id) else {
                        throw wrong(number, "ids from 0", item)
                    }
                    ids.append(small)
                }
                result = ["text": .string(tokenizer.decode(ids, skipsSpecial: noSpecial))]
            } else {
                guard let text = value["text"]?.asString else { throw wrong(number, "a 'text'", value) }
                do throws(TokenizerError) {
                    let ids = try tokenizer.encode(text, parsesSpecial: !noSpecial)
                    result = ["ids": .array(ids.map { .integer(Int64($0)) })]
                } catch {
                    throw CommandFailure(description: "standard input, line \(number): \(error.description)")
                }
            }
            Terminal.output(String(decoding: JSONWriter.encode(result), as: UTF8.self) + "\n")
        }
    }

    private func wrong(_ line: Int, _ expected: String, _ found: JSONValue) -> CommandFailure {
        CommandFailure(
            description: "standard input, line \(line): expected \(expected), found \(found.summary)"
        )
    }
}

/// Loading for commands that need no weights.
enum Loading {
    /// The tokenizer of a folder, of a file, or of the default model.
    static func tokenizer(_ path: String?) throws -> Tokenizer {
        let folder = try ModelHost.folder(path)
        do throws(LoadError) {
            return try Registry.tokenizer(folder)
        } catch {
            throw CommandFailure(description: error.description)
        }
    }

    /// The processor of a folder or of the default model.
    static func processor(_ path: String?) throws -> any Processor {
        let folder = try ModelHost.folder(path)
        do throws(LoadError) {
            return try Registry.processor(folder)
        } catch {
            throw CommandFailure(description: error.description)
        }
    }
}
