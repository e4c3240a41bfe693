import ArgumentParser
import DeepSeekVL
import VLTerminal

/// Talks with a model at the terminal.
struct ChatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat",
        abstract: "Talk with a model at the terminal, about pictures if it sees.",
        discussion: """
            Examples:

              deepseek-vl chat
              deepseek-vl chat --model deepseek-vl-7b-chat --image photo.jpg
              printf 'Examples/rings.png How many rings are there?\\n/undo\\n' | deepseek-vl chat --temperature 0

            Type or drop a picture's path, alone or before the question; '<image>' in a question asks for it. /help
            lists the commands. Ctrl-C stops an answer. Without a terminal, each line of standard input is a message,
            answers go to standard output, and the exit status is 1 if one of them failed.
            """
    )

    @OptionGroup var model: ModelOptions
    @OptionGroup var sampling: ChatSamplingArguments
    @Option(help: ArgumentHelp("A picture for the first question; may be repeated.", valueName: "file"))
    var image: [String] = []
    @Option(help: ArgumentHelp("A text put before the conversation.", valueName: "text"))
    var system: String?
    @Option(help: ArgumentHelp("Goes on with a conversation that /save wrote.", valueName: "file.json"))
    var load: String?
    @Flag(help: "Entered lines are neither read from nor kept in the history file.")
    var noHistory = false

    func run() throws {
        var settings = ChatSettings()
        settings.parameters.seed = UInt64.random(in: 0...UInt64(UInt32.max))
        try sampling.apply(to: &settings)
        let host = try model.host()
        let dialogue = Dialogue(host, settings)
        if let load {
            try dialogue.load(load)
            try sampling.apply(to: &dialogue.settings)
        }
        if let system { dialogue.setSystem(system) }
        let history = noHistory ? nil : LineEditor.historyFile(for: "deepseek-vl")
        let chat = Chat(dialogue, ChatInputSource(historyFile: history))
        for path in image { try chat.attach(path) }
        if !chat.run() { Terminal.exit(1) }
    }
}
