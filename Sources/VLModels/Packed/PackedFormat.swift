import VLFormats
import VLJSON

/// How the linear layers of a checkpoint are packed: 4-bit codes with a scale and a zero for each group of columns, as
/// GPTQ and AWQ tools write them.
///
/// It stands in `quantization_config` of `config.json`, or in a file of its own (`quantize_config.json` of AutoGPTQ,
/// `quant_config.json` of AutoAWQ). docs/quantized-checkpoints.md has the layouts.
package struct PackedFormat: Sendable, Equatable {
    /// Where codes, zeros and scales lie.
    package enum Layout: String, Sendable {
        /// AutoGPTQ's and GPTQModel's: codes packed along the inputs, and zeros stored as one less.
        case gptq
        /// The same with zeros as they are.
        case gptqV2 = "gptq_v2"
        /// AutoAWQ's for matrix products: packed along the outputs, eight of them in the order 0 2 4 6 1 3 5 7.
        case gemm
        /// AutoAWQ's for products with a vector: a row's codes side by side, packed along the inputs.
        case gemv
    }

    /// "gptq" or "awq".
    package let method: String
    package let layout: Layout
    /// Bits of a code.
    package let bits = 4
    /// Columns that share a scale; nil for all of a row.
    package let groupSize: Int?
    /// Whether columns were quantized in the order of their weight, so that `g_idx` says the group of each.
    package let hasActOrder: Bool
    /// What is said of the zeros: all in the middle, or not; nil if nothing is.
    package let isSymmetric: Bool?
    /// Whether single matrices may have groups of another size (`dynamic`).
    package let isDynamic: Bool

    /// The format that a folder's configuration names.
    ///
    /// - Parameters:
    ///   - folder: the checkpoint's.
    ///   - hasCodes: whether the checkpoint has packed tensors; files beside `config.json` count only then.
    /// - Returns: nil for a checkpoint of plain tensors.
    /// - Throws: `LoadError.unsupported` for other methods and layouts, `.field` for what cannot be.
    package init?(_ folder: ModelFolder, hasCodes: Bool) throws(LoadError) {
        let language = try folder.config.object("language_config")
        for config in [folder.config, language] {
            guard let found = try config?.object("quantization_config") else { continue }
            try self.init(found)
            return
        }
        guard hasCodes else { return nil }
        for (file, method) in [("quantize_config.json", "gptq"), ("quant_config.json", "awq")] {
            guard let found = try folder.reader(file) else { continue }
            try self.init(found, method: method)
            return
        }
        return nil
    }

    /// - Parameter method: what it is where the object does not say it.
    package init(_ config: ConfigReader, method: String? = nil) throws(LoadError) {
        func refuse(_ what: String, _ known: String) -> LoadError {
            .unsupported(file: config.file, what: what, known: known)
        }
        func text(_ keys: String...) throws(LoadError) -> String? {
            for key in keys { if let found = try config.string(key) { return Self.lowercased(found) } }
            return nil
        }
        func flag(_ key: String) throws(LoadError) -> Bool? {
            config.isNull(key) ? nil : try config.bool(key, default: false)
        }
        guard let stated = try text("quant_method", "method") ?? method else {
            throw config.error("quant_method", expected: "\"gptq\" or \"awq\"", found: "nothing")
        }
        self.method = stated
        let bitsKey = config.contains("w_bit") ? "w_bit" : "bits"
        let sizeKey = config.contains("q_group_size") ? "q_group_size" : "group_size"
        switch stated {
        case "gptq":
            let name = try text("checkpoint_format", "format") ?? "gptq"
            let isMarlin = try flag("is_marlin_format") == true
            guard let layout = Layout(rawValue: name), [.gptq, .gptqV2].contains(layout), !isMarlin else {
                throw refuse("GPTQ layout \"\(isMarlin ? "marlin" : name)\"", "\"gptq\", \"gptq_v2\"")
            }
            self.layout = layout
        case "awq":
            let name = try text("backend") == "llm-awq" ? "llm-awq" : text("version", "format") ?? "gemm"
            guard let layout = Layout(rawValue: name), [.gemm, .gemv].contains(layout) else {
                throw refuse("AWQ layout \"\(name)\"", "\"gemm\", \"gemv\"")
            }
            self.layout = layout
        default: throw refuse("quant_method \"\(stated)\"", "\"gptq\", \"awq\"")
        }
        let bits = try config.int(bitsKey, 1...64)
        guard bits == 4 else {
            throw refuse("\(stated == "gptq" ? "GPTQ" : "AWQ") in \(bits) bits", "4 bits")
        }
        let size = try config.int(sizeKey, -1...Int(Int32.max))
        guard size != 0 else {
            throw config.error(sizeKey, expected: "-1 or a number above 0", found: "0")
        }
        groupSize = size < 0 ? nil : size
        if let type = try text("pack_dtype"), type != "int32" {
            throw refuse("pack_dtype \"\(type)\"", "\"int32\"")
        }
        if let rotation = try text("rotation") { throw refuse("rotation \"\(rotation)\"", "none") }
        let (actOrder, symmetric, hasZeros) = (try flag("desc_act"), try flag("sym"), try flag("zero_point"))
        hasActOrder = stated == "gptq" && actOrder == true
        isSymmetric = stated == "gptq" ? symmetric : hasZeros.map { !$0 }
        if case .object(let rules)? = config["dynamic"] {
            isDynamic = !rules.isEmpty
        } else {
            isDynamic = false
        }
    }

    private static func lowercased(_ text: String) -> String {
        String(decoding: text.utf8.map { (65...90).contains($0) ? $0 + 32 : $0 }, as: UTF8.self)
    }

    /// What it is in a few words: "GPTQ (gptq_v2), 4 bits, groups of 128, act-order".
    package var summary: String {
        var parts = [
            "\(method == "gptq" ? "GPTQ" : "AWQ") (\(layout.rawValue))", "\(bits) bits",
            groupSize.map { "groups of \($0)" } ?? "one group a row",
        ]
        if hasActOrder { parts.append("act-order") }
        if let isSymmetric { parts.append(isSymmetric ? "symmetric" : "asymmetric") }
        return parts.joined(separator: ", ")
    }
}

extension WeightStore {
    /// Names of the tensors of a packed layer, behind the layer's name: its codes, and what belongs to them.
    package static var codesEnding: String { ".qweight" }
    private static var sideEndings: [String] { [".qzeros", ".scales", ".g_idx"] }

    /// Whether any layer is packed.
    package var hasCodes: Bool { names.contains { $0.hasSuffix(Self.codesEnding) } }

    /// The name of the weight whose codes a tensor holds: "a.qweight" has those of "a.weight"; nil for other tensors.
    package static func packedWeight(_ tensor: String) -> String? {
        guard tensor.hasSuffix(codesEnding) else { return nil }
        return tensor.dropLast(codesEnding.count) + ".weight"
    }

    /// Whether a tensor holds, by its name, zeros, scales or groups of a packed layer.
    package static func isBesideCodes(_ tensor: String) -> Bool {
        sideEndings.contains { tensor.hasSuffix($0) }
    }

    /// Whether a tensor is the bias of a packed layer and says nothing: older versions of AutoGPTQ wrote zeros for layers
    /// that have none.
    package func isIdleBias(_ tensor: String) -> Bool {
        let ending = ".bias"
        guard tensor.hasSuffix(ending), peek(tensor.dropLast(ending.count) + Self.codesEnding) != nil,
            let found = peek(tensor)
        else { return false }
        return found.bytes.allSatisfy { $0 == 0 }
    }
}
