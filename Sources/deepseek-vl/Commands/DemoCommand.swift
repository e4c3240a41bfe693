#if Network
import ArgumentParser

/// Serves a model with its web page, with the options of the official demos.
struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Chat about pictures in a web page, with boxes drawn where the answer points.",
        discussion: """
            Examples:

              deepseek-vl demo
              deepseek-vl demo --model vl2-tiny --port 8080 --chunk-size 512 --lazy-load

            Prints the address of the page, which works offline and is part of the program.
            It is what 'serve' shows at /, and 'serve' has more options: keys, TLS, limits.
            The spellings of the official web_demo.py work, too: --model_name, --local_path,
            --ip, --root_path, --lazy_load, --chunk_size.
            """
    )

    @OptionGroup var model: ModelOptions
    @OptionGroup var listen: ListenOptions
    @Option(
        name: [.customLong("local-path"), .customLong("local_path")],
        help: ArgumentHelp(
            "Folder of the checkpoint, where --model is only what it is called.",
            valueName: "folder"
        )
    )
    var localPath: String?
    @Option(
        name: [.customLong("chunk-size"), .customLong("chunk_size")],
        parsing: .unconditional,
        help:
            "Prompt tokens computed at a time; -1 computes as many as a step may have. The answer is the same."
    )
    var chunkSize = -1
    /// That of the original.
    private static let port = 37913
    /// Rows that a step may have at most.
    private static let mostRows = 8192

    func validate() throws {
        guard chunkSize == -1 || (1...Self.mostRows).contains(chunkSize) else {
            throw ValidationError(
                "--chunk-size: expected -1 or a whole number from 1 to \(Self.mostRows), found \(chunkSize)"
            )
        }
    }

    func run() throws { try server().serve() }

    /// The command that does the work.
    private func server() throws -> ServeCommand {
        var serve = try ServeCommand.parse([
            "--default-temperature", "0.1", "--default-max-tokens", "2048", "--step-tokens",
            "\(chunkSize == -1 ? 512 : chunkSize)", "--log-level", "warning",
        ])
        serve.model = model
        serve.listen = listen
        serve.listen.port = listen.port ?? Self.port
        if let localPath {
            serve.model.model = localPath
            if let name = model.model?.split(separator: "/").last { serve.names = [String(name)] }
        }
        return serve
    }
}
#endif
