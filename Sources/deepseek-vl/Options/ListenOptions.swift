#if Network
import ArgumentParser

/// Where a server listens, for whom, and how it starts: what `serve` and `demo` have in common.
struct ListenOptions: ParsableArguments {
    @Option(
        name: [.customLong("host"), .customLong("ip")],
        help: ArgumentHelp("Address to listen at; 0.0.0.0 lets other machines in.", valueName: "address")
    )
    var host = "127.0.0.1"
    @Option(
        help:
            "Port to listen at, 8080 for serve and 37913 for demo if omitted; 0 lets the system choose one, which is printed."
    )
    var port: Int?
    @Option(
        name: [.customLong("root-path"), .customLong("root_path")],
        help: ArgumentHelp(
            "Path that a reverse proxy leaves in front of all others, such as /vl; none if omitted.",
            valueName: "path"
        )
    )
    var rootPath = ""
    @Flag(
        name: [.customLong("lazy-load"), .customLong("lazy_load")],
        help: "Listens and shows the page at once, and loads the model for the first request that needs it."
    )
    var lazyLoad = false
    @Option(
        name: .customLong("api-keys"),
        help: ArgumentHelp("File with one API key a line; without it everybody may ask.", valueName: "file")
    )
    var keyFile: String?
    @Option(
        name: .customLong("cache-memory"),
        help: ArgumentHelp("Memory for keys and values of all requests.", valueName: "MiB")
    )
    var cacheMemory = 2048

    func validate() throws {
        if let port { try WholeNumber.check("port", port, 0...65535) }
        try WholeNumber.check("cache-memory", cacheMemory, 1...16_777_216)
        guard rootPath.isEmpty || rootPath.hasPrefix("/") else {
            throw ValidationError("--root-path: expected a path that begins with '/', found '\(rootPath)'")
        }
    }

    /// The keys of the file; none without a file.
    ///
    /// - Throws: `CommandFailure`.
    func keys() throws -> [String] {
        guard let keyFile else { return [] }
        let keys = try TextInput.read(keyFile).split(whereSeparator: \.isNewline)
            .map { line in
                let text = line.drop { $0.isWhitespace }
                return String(text.prefix { !$0.isWhitespace })
            }
            .filter { !$0.isEmpty && !$0.hasPrefix("#") }
        guard !keys.isEmpty else {
            throw CommandFailure(description: "\(keyFile): expected one API key a line, found none")
        }
        return keys
    }
}
#endif
