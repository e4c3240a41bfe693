#if Network
import VLFormats
import VLHub
import VLJSON

/// Which files of a repository are downloaded.
enum FileSelection {
    /// Small files that are taken wherever they are: what the model is, how it answers, and its licence.
    static let always = [
        "config.json", "generation_config.json", "processor_config.json", "preprocessor_config.json",
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "README.md", "LICENSE",
        "quantize_config.json", "quant_config.json",
    ]
    /// The list of a checkpoint's parts.
    static let index = "model.safetensors.index.json"
    /// A checkpoint in one part.
    static let single = "model.safetensors"
    /// The biggest index that is read, in bytes.
    static let indexLimit = 100_000_000

    /// The small files that a repository has; licences go by several names.
    static func small(_ names: [String]) -> [String] {
        names.filter { name in
            always.contains(name) || (!name.contains("/") && name.hasPrefix("LICENSE"))
        }
    }

    /// The file with the weights of a repository without an index.
    ///
    /// - Throws: `PullError.noWeights`, which says what there is instead.
    static func single(_ names: [String], repository: String) throws(PullError) -> String {
        if names.contains(single) { return single }
        let quantized = names.filter { $0.hasSuffix(".gguf") }
        if !quantized.isEmpty {
            throw .noWeights(
                repository: repository,
                found: "GGUF files: name one with --include, as '\(quantized.first?.excerpt() ?? "")'"
            )
        }
        let pickled = names.filter { $0.hasSuffix(".bin") && $0.hasPrefix("pytorch_model") }
        if !pickled.isEmpty {
            throw .noWeights(
                repository: repository,
                found:
                    "only \(pickled.count) of pytorch_model*.bin, which is Python's pickle and is not read; "
                    + "look for a revision (NAME@refs/pr/N) or a repository that was converted to safetensors"
            )
        }
        throw .noWeights(repository: repository, found: "none")
    }

    /// The files that one of the patterns matches.
    ///
    /// - Throws: `PullError.noMatch` for a pattern that matches nothing.
    static func matching(
        _ patterns: [String],
        _ names: [String],
        repository: String
    ) throws(PullError) -> [String] {
        for pattern in patterns where !names.contains(where: { Glob.matches(pattern, $0) }) {
            throw .noMatch(pattern: pattern, repository: repository)
        }
        return names.filter { name in patterns.contains { Glob.matches($0, name) } }
    }

    /// The parts that an index lists, each of which must be a file of the repository.
    ///
    /// - Throws: `PullError.answer`.
    static func parts(index bytes: [UInt8], _ names: [String], place: String) throws(PullError) -> [String] {
        var parts: Set<String> = []
        do throws(JSONError) {
            var scanner = try JSONScanner(bytes.span)
            try scanner.beginObject()
            while let key = try scanner.nextKey() {
                guard scanner.matches(key, "weight_map") else {
                    try scanner.skipValue()
                    continue
                }
                try scanner.beginObject()
                while try scanner.nextKey() != nil { parts.insert(try scanner.readString()) }
            }
            try scanner.finish()
        } catch {
            throw .answer(place: place, expected: "an index of weights", found: "\(error)")
        }
        guard !parts.isEmpty else {
            throw .answer(place: place, expected: "parts in 'weight_map'", found: "none")
        }
        let known = Set(names)
        for part in parts where !known.contains(part) || part.contains("/") || !part.hasSuffix(".safetensors")
        {
            throw .answer(
                place: place,
                expected: "safetensors files of the repository in 'weight_map'",
                found: "'\(part.excerpt())'"
            )
        }
        return parts.sorted()
    }
}

/// Patterns for names: `*` is any number of bytes, slashes too, `?` is one.
enum Glob {
    /// Whether all of a name matches; takes at most the product of both lengths.
    static func matches(_ pattern: String, _ name: String) -> Bool {
        let (pattern, name) = (Array(pattern.utf8), Array(name.utf8))
        var (place, position) = (0, 0)
        var retry: (place: Int, position: Int)?
        while position < name.count {
            if place < pattern.count, pattern[place] == UInt8(ascii: "*") {
                place += 1
                retry = (place, position)
            } else if place < pattern.count,
                pattern[place] == UInt8(ascii: "?") || pattern[place] == name[position]
            {
                place += 1
                position += 1
            } else if let last = retry {
                // The last star takes one byte more.
                retry = (last.place, last.position + 1)
                (place, position) = (last.place, last.position + 1)
            } else {
                return false
            }
        }
        return pattern[place...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
#endif
