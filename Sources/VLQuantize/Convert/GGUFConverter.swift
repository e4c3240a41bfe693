import VLFormats
import VLJSON
import VLModels
import VLTensor
import VLText

/// Converts the checkpoint of a folder into one GGUF file, tensor by tensor.
///
/// What llama.cpp knows has its names and keys. A model with eyes has its tower and its projector in the same file, under
/// the names that its checkpoint gives them, and the folder's configurations as texts (`GGUFDocuments`).
package struct GGUFConverter {
    /// A tensor that goes in another type than the one asked for.
    package struct Fallback: Sendable, CustomStringConvertible {
        package let tensor: String
        package let wanted: DType
        package let type: DType
        package let reason: String

        package var description: String {
            "\(tensor): \(type.rawValue) in place of \(wanted.rawValue): \(reason)"
        }
    }

    private let run: Run
    private let name: String
    private let network: NetworkSection
    private let metadata: [NetworkSection.Pair]
    private let matrices: [OutgoingMatrix]
    /// Tensors that go in another type than the one asked for.
    package let fallbacks: [Fallback]

    /// Tensors of the file.
    package var count: Int { matrices.count }

    /// `general.architecture` of the file.
    package var architecture: String { network.architecture }

    /// Checks the checkpoint as loading does, and plans the file.
    ///
    /// - Parameters:
    ///   - path: the folder.
    ///   - type: the language model's matrices' type; nil keeps what the checkpoint has.
    ///   - vision: the same for the tower and the projector; nil is `type` if that is no block format.
    ///   - exactly: both types as loading takes them, in place of `type` and `vision`.
    ///   - name: `general.name`; the folder's if omitted.
    ///   - form: how the file is laid out.
    /// - Throws: `ConvertError`.
    package init(
        _ path: String,
        type: DType? = nil,
        vision: DType? = nil,
        exactly: WeightPolicy? = nil,
        name: String? = nil,
        form: GGUFForm = GGUFForm(),
        run: Run
    ) throws(ConvertError) {
        let path = path.hasSuffix("/") && path.utf8.count > 1 ? String(path.dropLast()) : path
        self.run = run
        self.name = name ?? path.split(separator: "/").last.map(String.init) ?? path
        let asked = WeightPolicy(language: type, vision: vision ?? type.flatMap { $0.isBlock ? nil : $0 })
        let policy = exactly ?? asked
        let foreign = try Self.loading { () throws(LoadError) in try GGUFModel(at: path) }
        if let foreign {
            throw .source(
                file: foreign.file,
                expected: "a folder with a checkpoint in safetensors",
                found: "a GGUF file"
            )
        }
        let source = try ConversionSource(path, form, run)
        network = try source.network()
        var plan = ConversionPlan(network, policy, run)
        for tensor in source.store.all where source.takes(tensor.name) { try plan.add(tensor) }
        plan.chooseTypes(hasHead: source.hasHead)
        (matrices, fallbacks) = (plan.matrices, plan.fallbacks)
        metadata = try source.metadata(network, name: self.name, policy.language)
    }

    /// Writes the file, which stands under its name only when it is whole.
    ///
    /// - Parameters:
    ///   - replaces: whether a file of that name may go.
    ///   - onTensor: called with the number of tensors written so far.
    /// - Throws: `ConvertError.exists`, `.format`.
    package func write(
        _ path: String,
        replaces: Bool = false,
        onTensor: @escaping (Int) -> Void = { _ in }
    ) throws(ConvertError) {
        guard replaces || !FileContents.exists(path) else { throw .exists(file: path) }
        var done = 0
        var outgoing: [OutgoingTensor] = []
        for matrix in matrices {
            guard let dtype = StoredDType(rawValue: matrix.type.rawValue.uppercased()) else { continue }
            outgoing.append(
                matrix.outgoing(run, dtype) {
                    done += 1
                    onTensor(done)
                }
            )
        }
        do throws(FormatError) {
            try GGUFWriter.write(path, metadata: metadata, tensors: outgoing)
        } catch {
            throw .format(error)
        }
    }

    /// Runs a step of loading.
    static func loading<Result>(_ body: () throws(LoadError) -> Result) throws(ConvertError) -> Result {
        do throws(LoadError) {
            return try body()
        } catch {
            throw .load(error)
        }
    }
}
