/// Settings by name, for people who type them.
extension ChatSettings {
    /// A setting that has a name.
    package enum Name: String, CaseIterable, Sendable {
        case temperature
        case topP = "top-p"
        case topK = "top-k"
        case minP = "min-p"
        case repetitionPenalty = "repetition-penalty"
        case maxTokens = "max-tokens"
        case seed
        case tiling
        case exif
        case history

        /// What the setting does, in a few words.
        package var explanation: String {
            switch self {
            case .temperature: "0 is greedy; the higher, the more surprising"
            case .topP: "keeps the most probable tokens that together reach this probability"
            case .topK: "keeps so many of the most probable tokens; 0 keeps all"
            case .minP: "drops tokens below this share of the most probable one's probability"
            case .repetitionPenalty: "makes tokens that occurred less probable; 1 changes nothing"
            case .maxTokens: "longest answer in tokens"
            case .seed: "of the random choices"
            case .tiling: "auto (up to two pictures are tiled), always or never"
            case .exif: "apply (photos are turned upright) or ignore"
            case .history: "most tokens of a prompt, or auto for what the model can take"
            }
        }
    }

    /// A setting as it is typed.
    package func value(of name: Name) -> String {
        switch name {
        case .temperature: "\(parameters.temperature)"
        case .topP: "\(parameters.topP)"
        case .topK: "\(parameters.topK)"
        case .minP: "\(parameters.minP)"
        case .repetitionPenalty: "\(parameters.repetitionPenalty)"
        case .maxTokens: "\(parameters.maxTokens)"
        case .seed: "\(parameters.seed)"
        case .tiling: tiling.rawValue
        case .exif: exif.rawValue
        case .history: historyTokens.map { "\($0)" } ?? "auto"
        }
    }

    /// Changes a setting; the name may be written with `_`.
    ///
    /// - Throws: `DeepSeekVLError.parameter` for a name that is not known and for values out of range; nothing has
    ///   changed then.
    package mutating func set(_ name: String, to value: String) throws(DeepSeekVLError) {
        let spelling = String(name.lowercased().map { $0 == "_" ? "-" : $0 })
        guard let setting = Name(rawValue: spelling) else {
            throw .parameter(
                name: "setting",
                expected: "one of " + Name.allCases.map(\.rawValue).joined(separator: ", "),
                found: "'\(name)'"
            )
        }
        func read<Value>(_ expected: String, _ convert: (String) -> Value?) throws(DeepSeekVLError) -> Value {
            guard let read = convert(value) else {
                throw .parameter(name: spelling, expected: expected, found: "'\(value)'")
            }
            return read
        }
        var changed = self
        switch setting {
        case .temperature: changed.parameters.temperature = try read("a number") { Double($0) }
        case .topP: changed.parameters.topP = try read("a number") { Double($0) }
        case .topK: changed.parameters.topK = try read("a whole number") { Int($0) }
        case .minP: changed.parameters.minP = try read("a number") { Double($0) }
        case .repetitionPenalty: changed.parameters.repetitionPenalty = try read("a number") { Double($0) }
        case .maxTokens: changed.parameters.maxTokens = try read("a whole number") { Int($0) }
        case .seed: changed.parameters.seed = try read("a whole number from 0") { UInt64($0) }
        case .tiling: changed.tiling = try read("auto, always or never") { Tiling(rawValue: $0) }
        case .exif: changed.exif = try read("apply or ignore") { EXIFOrientation(rawValue: $0) }
        case .history:
            changed.historyTokens = try read("a whole number, or auto") { text -> Int?? in
                text == "auto" ? .some(nil) : Int(text).map { .some($0) }
            }
        }
        try changed.validate()
        self = changed
    }
}
