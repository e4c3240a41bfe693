import VLJSON

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A type whose values JSON describes: what `DeepSeekModel.extract` reads from pictures.
///
///     struct Invoice: Decodable, Sendable, SchemaDescribed {
///         var number: String
///         var total: Double
///         static let schema: JSONSchema = ["number": .string, "total": .number(0...)]
///     }
public protocol SchemaDescribed {
    /// The JSON from which a value is decoded.
    static var schema: JSONSchema { get }
}

extension DeepSeekModel {
    /// Reads a value out of a picture: the model can write nothing but JSON of the type's schema, which is then decoded.
    ///
    ///     let invoice = try await model.extract(Invoice.self, from: .file("invoice.png"))
    ///
    /// That the form is right says nothing of the content: how well the model reads is its own affair.
    ///
    /// - Parameters:
    ///   - question: what is asked of the picture; a request for JSON with the schema if omitted.
    ///   - parameters: how it is generated; the form is the schema's in any case.
    /// - Throws: `DeepSeekVLError`; `.schema` for a schema that is not supported, `.request` if the answer needed more
    ///   than `maxTokens`; what `JSONDecoder` throws if type and schema differ.
    public func extract<Value: Decodable & Sendable & SchemaDescribed>(
        _ type: Value.Type,
        from picture: Picture,
        question: String? = nil,
        parameters: Parameters = Parameters()
    ) async throws -> Value {
        try await extract(type, from: [picture], question: question, parameters: parameters)
    }

    /// The same out of several pictures, or out of a text alone.
    public func extract<Value: Decodable & Sendable & SchemaDescribed>(
        _ type: Value.Type,
        from pictures: [Picture],
        question: String? = nil,
        parameters: Parameters = Parameters()
    ) async throws -> Value {
        var parameters = parameters
        parameters.form = .jsonSchema(Value.schema)
        let request =
            question ?? "Answer with JSON that fits this schema and describes the image: \(Value.schema.json)"
        let answer = try await answer(request, pictures: pictures, parameters: parameters)
        guard answer.finishReason == "stop" else {
            throw DeepSeekVLError.request(
                description:
                    "answer: expected JSON of at most \(parameters.maxTokens) tokens, found no end of it (\(answer.finishReason)): '\(answer.text.excerpt())'"
            )
        }
        return try JSONDecoder().decode(Value.self, from: Data(answer.text.utf8))
    }
}
