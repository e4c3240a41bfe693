/// A name for a published checkpoint of the family that is quick to type.
package struct ShortName: Sendable {
    /// What people type.
    package let name: String
    /// The repository's owner and name.
    package let repository: String

    /// Every short name there is; the first one of a repository is the one that help shows.
    package static let all: [ShortName] = [
        ShortName("vl2-tiny", "deepseek-ai/deepseek-vl2-tiny"),
        ShortName("vl2-small", "deepseek-ai/deepseek-vl2-small"),
        ShortName("vl2", "deepseek-ai/deepseek-vl2"),
        ShortName("vl2-base", "deepseek-ai/deepseek-vl2"),
        ShortName("vl-1.3b-base", "deepseek-ai/deepseek-vl-1.3b-base"),
        ShortName("vl-1.3b-chat", "deepseek-ai/deepseek-vl-1.3b-chat"),
        ShortName("vl-7b-base", "deepseek-ai/deepseek-vl-7b-base"),
        ShortName("vl-7b-chat", "deepseek-ai/deepseek-vl-7b-chat"),
        ShortName("llm-7b-base", "deepseek-ai/deepseek-llm-7b-base"),
        ShortName("llm-7b-chat", "deepseek-ai/deepseek-llm-7b-chat"),
        ShortName("llm-67b-base", "deepseek-ai/deepseek-llm-67b-base"),
        ShortName("llm-67b-chat", "deepseek-ai/deepseek-llm-67b-chat"),
    ]

    private init(_ name: String, _ repository: String) {
        self.name = name
        self.repository = repository
    }

    /// The repository of a short name, or of a repository's name without its owner; in any case of letters.
    package static func repository(_ text: String) -> String? {
        let wanted = text.lowercased()
        return all.first { $0.name == wanted || $0.repository == "deepseek-ai/" + wanted }?.repository
    }
}
