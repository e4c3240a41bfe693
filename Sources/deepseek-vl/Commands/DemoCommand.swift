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
    @Option(
        name: [.customLong("local-path"), .customLong("local_path")],
        help: ArgumentHelp(
            "Folder of the checkpoint, where --model is only what it is called.",
            valueName: "folder"
        )
    )
    var localPath: String?
    @Option(
        name: [.customLong("host"), .customLong("ip")],
        help: ArgumentHelp("Address to listen at; 0.0.0.0 lets other machines in.", valueName: "address")
    )
    var host = "127.0.0.1"
    @Option(help: "Port to listen at; 0 lets the system choose one, which is printed.")
    var port = 37913
    @Option(
        name: [.customLong("root-path"), .customLong("root_path")],
        help: ArgumentHelp(
            "Path that a reverse proxy leaves in front of all others, such as /vl; none if omitted.",
            valueName: "path"
        )
    )
    var rootPath = ""
    @Option(
        name: [.customLong("chunk-size"), .customLong("chunk_size")],
        parsing: .unconditional,
        help:
            "Prompt tokens computed at a time; -1 computes as many as a step may have. The answer is the same."
    )
    var chunkSize = -1
    @Flag(
        name: [.customLong("lazy-load"), .customLong("lazy_load")],
        help: "Shows the page at once and loads the model for the first question."
    )
    var lazyLoad = false
    @Option(
        name: .customLong("api-keys"),
        help: ArgumentHelp("File with one API key a line, for which the page asks.", valueName: "file")
    )
    var keyFile: String?
    @Option(
        name: .customLong("cache-memory"),
        help: ArgumentHelp("Memory for keys and values of all conversations.", valueName: "MiB")
    )
    var cacheMemory = 2048

    /// Rows that a step may have at most.
    private static let mostRows = 8192

    func validate() throws {
        guard chunkSize == -1 || (1...Self.mostRows).contains(chunkSize) else {
            throw ValidationError(
                "--chunk-size: expected -1 or a whole number from 1 to \(Self.mostRows), found \(chunkSize)"
            )
        }
        try server().validate()
    }

    func run() throws { try server().run() }

    /// The command that does the work.
    private func server() throws -> ServeCommand {
        var serve = try ServeCommand.parse(arguments)
        serve.model = model
        if let localPath {
            serve.model.model = localPath
            if let name = model.model?.split(separator: "/").last { serve.names = [String(name)] }
        }
        return serve
    }

    private var arguments: [String] {
        var arguments = [
            "--host", host, "--port", "\(port)", "--cache-memory", "\(cacheMemory)", "--default-temperature",
            "0.1",
            "--default-max-tokens", "2048", "--step-tokens", "\(chunkSize == -1 ? 512 : chunkSize)",
            "--log-level",
            "warning",
        ]
        if !rootPath.isEmpty { arguments += ["--root-path", rootPath] }
        if lazyLoad { arguments.append("--lazy-load") }
        if let keyFile { arguments += ["--api-keys", keyFile] }
        return arguments
    }
}
#endif
