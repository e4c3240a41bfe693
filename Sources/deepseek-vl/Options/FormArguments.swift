import ArgumentParser
import DeepSeekVL
import VLFormats

/// What an answer has to be.
struct FormArguments: ParsableArguments {
    @Flag(
        name: .customLong("constrain-boxes"),
        help: "Lets only legal boxes be written: four numbers from 0 to 999 in order, all tags closed."
    )
    var constrainsBoxes = false
    @Flag(name: .customLong("json"), help: "Lets only a JSON object be written.")
    var writesJSON = false
    @Option(
        name: .customLong("json-schema"),
        help: ArgumentHelp(
            "Lets only JSON be written that fits the schema in a file; see docs/constrained-decoding.md.",
            valueName: "file.json"
        )
    )
    var schema: String?

    /// The library's form of these.
    ///
    /// - Throws: `ValidationError` for more than one, `DeepSeekVLError` for a schema that is not supported.
    func form() throws -> AnswerForm {
        let chosen = [constrainsBoxes, writesJSON, schema != nil].count { $0 }
        guard chosen <= 1 else {
            throw ValidationError(
                "expected one of --constrain-boxes, --json and --json-schema, found \(chosen) of them"
            )
        }
        if let schema {
            let text: [UInt8]
            do throws(FormatError) {
                text = try FileContents.read(schema, limit: JSONSchema.sizeLimit)
            } catch {
                throw CommandFailure(description: error.description)
            }
            return .jsonSchema(try JSONSchema(json: String(decoding: text, as: UTF8.self)))
        }
        return writesJSON ? .json : constrainsBoxes ? .legalBoxes : .free
    }
}
