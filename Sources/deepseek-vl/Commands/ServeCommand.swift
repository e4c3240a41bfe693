#if Network
import ArgumentParser
import DeepSeekVL
import Dispatch
import Logging
import Synchronization
import VLServer
import VLTensor

/// What a server logs.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case info, warning, error

    var level: Logger.Level {
        switch self {
        case .info: .info
        case .warning: .warning
        case .error: .error
        }
    }
}

/// How logs are written.
enum LogFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}

/// Serves a model over HTTP.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract:
            "Answer requests over HTTP, as OpenAI's and Anthropic's interfaces have them, with boxes as data.",
        discussion: """
            Examples:

              deepseek-vl serve --model vl2-tiny --port 8080
              curl -s localhost:8080/v1/chat/completions -H 'Content-Type: application/json' \\
                -d '{"model": "vl2-tiny", "messages": [{"role": "user", "content": "hi"}]}'

              deepseek-vl serve --host 0.0.0.0 --api-keys keys.txt --cache-memory 8192

            Listens for this machine only unless --host says otherwise. Ends on SIGTERM and
            SIGINT: what runs is finished first, for --grace seconds at most. Endpoints,
            fields and limits are in docs/server.md.

            Each option may stand in a file, too (--config FILE), or in the environment; what
            is given here goes before the environment, which goes before the file:

              {"port": 8081, "cache-memory": 8192, "no-prefix-cache": true, "cors-origin": ["*"]}
              DEEPSEEK_VL_SERVE_CACHE_MEMORY=8192 DEEPSEEK_VL_SERVE_CORS_ORIGIN=a,b
            """
    )

    @OptionGroup var model: ModelOptions
    @OptionGroup var listen: ListenOptions
    @Option(
        help: ArgumentHelp(
            "JSON file with options by their long names; unknown ones are errors.",
            valueName: "file.json"
        )
    )
    var config: String?
    @Option(
        name: .customLong("served-model-name"),
        help: ArgumentHelp(
            "What clients call the model; may be repeated. Its own name if omitted.",
            valueName: "name"
        )
    )
    var names: [String] = []
    @Option(
        name: .customLong("requests-per-minute"),
        help: ArgumentHelp("Requests of a key in a minute; any number if omitted.", valueName: "n")
    )
    var requestsPerMinute: Int?
    @Option(
        name: .customLong("requests-at-once"),
        help: ArgumentHelp("Requests that a key may have open; any number if omitted.", valueName: "n")
    )
    var requestsAtOnce: Int?
    @Option(
        name: .customLong("fetch-host"),
        help: ArgumentHelp(
            "Host that pictures may be fetched from by http and https, or '*.name' for all hosts below it; may be repeated. Nothing is fetched if omitted.",
            valueName: "host"
        )
    )
    var fetchHosts: [String] = []
    @Flag(
        name: .customLong("fetch-private"),
        help: "Dangerous, for tests: fetches from private addresses and from this machine, too."
    )
    var fetchPrivate = false
    @Option(
        name: .customLong("allow-host"),
        help: ArgumentHelp(
            "A further name that clients may call this server by; may be repeated.",
            valueName: "name"
        )
    )
    var allowedHosts: [String] = []
    @Option(
        name: .customLong("cors-origin"),
        help: ArgumentHelp("Origin of web pages that may ask, or '*'; may be repeated.", valueName: "origin")
    )
    var origins: [String] = []
    @Option(
        name: .customLong("image-folder"),
        help: ArgumentHelp(
            "Folder whose pictures requests may name by file: URLs; none if omitted.",
            valueName: "folder"
        )
    )
    var imageFolder: String?
    @Option(
        name: .customLong("tls-certificate"),
        help: ArgumentHelp("Certificate chain.", valueName: "file.pem")
    )
    var certificate: String?
    @Option(name: .customLong("tls-key"), help: ArgumentHelp("Its private key.", valueName: "file.pem"))
    var privateKey: String?

    @Option(
        name: .customLong("image-cache-memory"),
        help: ArgumentHelp("Memory for pictures that were encoded already.", valueName: "MiB")
    )
    var imageMemory = 256
    @Option(
        name: .customLong("feature-cache"),
        help: ArgumentHelp(
            "Folder for pictures that were encoded already, kept beyond the end; none if omitted.",
            valueName: "folder"
        )
    )
    var featureFolder: String?
    @Option(
        name: .customLong("feature-cache-size"),
        help: ArgumentHelp("Largest size of that folder.", valueName: "MiB")
    )
    var featureFolderSize = 4096
    @Option(
        name: .customLong("step-tokens"),
        help: ArgumentHelp(
            "Tokens that a step computes (up to 4 times as many when many prompts wait): more is faster, fewer lets answers flow more evenly.",
            valueName: "n"
        )
    )
    var stepTokens = 128
    @Option(name: .customLong("max-running"), help: "Answers that are given at the same time.")
    var running = 64
    @Option(
        name: .customLong("max-waiting"),
        help: "Answers that wait for room; further ones are refused with 503."
    )
    var waiting = 256
    @Option(name: .customLong("default-max-tokens"), help: "Longest answer where a request does not say.")
    var defaultMaxTokens = 1024
    @Option(name: .customLong("default-temperature"), help: "Temperature where a request does not say.")
    var defaultTemperature = 1.0
    @Option(
        name: .customLong("request-timeout"),
        help: ArgumentHelp("Longest time of an answer.", valueName: "seconds")
    )
    var requestSeconds = 600
    @Option(
        name: .customLong("body-timeout"),
        help: ArgumentHelp("Longest time of reading a request.", valueName: "seconds")
    )
    var bodySeconds = 60
    @Option(help: ArgumentHelp("Time that running requests have at the end.", valueName: "seconds"))
    var grace = 30
    @Flag(
        name: .customLong("no-prefix-cache"),
        help: "Requests use nothing that others with the same beginning computed."
    )
    var noPrefixCache = false
    @Flag(name: .customLong("no-grounding-tags"), help: "Texts cannot spell the tags of grounding either.")
    var noGroundingTags = false
    @Flag(name: .customLong("control-tokens"), help: "Texts of /v1/completions may spell control tokens.")
    var controlTokens = false
    @Flag(
        name: .customLong("add-begin-token"),
        help: "Puts the begin token before prompts of token ids; it is not echoed."
    )
    var addBeginToken = false
    @Flag(
        name: .customLong("no-page"),
        help: "Serves no web page at /."
    )
    var noPage = false
    @Option(
        name: .customLong("log-level"),
        help: "What is logged to standard error: info has a line a request, never what was asked or answered."
    )
    var logLevel = LogLevel.info
    @Option(name: .customLong("log-format"), help: "text, or json: one object a line.")
    var logFormat = LogFormat.text

    func validate() throws {
        let check = WholeNumber.check(_:_:_:)
        try check("image-cache-memory", imageMemory, 0...16_777_216)
        try check("step-tokens", stepTokens, 1...8192)
        try check("max-running", running, 1...4096)
        try check("max-waiting", waiting, 1...1_000_000)
        try check("default-max-tokens", defaultMaxTokens, 1...1_000_000)
        try check("request-timeout", requestSeconds, 1...86400)
        try check("body-timeout", bodySeconds, 1...3600)
        try check("grace", grace, 0...3600)
        try check("feature-cache-size", featureFolderSize, 1...16_777_216)
        if let requestsAtOnce { try check("requests-at-once", requestsAtOnce, 1...1_000_000) }
        for host in fetchHosts where host.isEmpty || host.contains("/") || host.contains(":") || host == "*" {
            throw ValidationError(
                "--fetch-host: expected the name of a host, or '*.' and a name, found '\(host)'"
            )
        }
        if fetchPrivate, fetchHosts.isEmpty {
            throw ValidationError("--fetch-private: expected it with --fetch-host only, found it alone")
        }
        if let requestsPerMinute { try check("requests-per-minute", requestsPerMinute, 1...1_000_000) }
        guard (0...2).contains(defaultTemperature) else {
            throw ValidationError(
                "--default-temperature: expected a number from 0 to 2, found \(defaultTemperature)"
            )
        }
        guard (certificate == nil) == (privateKey == nil) else {
            throw ValidationError("--tls-certificate and --tls-key: expected both or neither, found one")
        }
    }

    func run() throws { try ServeOptions.completed(self).serve() }

    /// Serves until the end, without a look at file and environment.
    func serve() throws {
        var settings = ServerSettings()
        settings.host = listen.host
        settings.port = listen.port ?? 8080
        settings.modelNames = names
        settings.keys = try listen.keys()
        settings.requestsPerMinute = requestsPerMinute
        settings.requestsAtOnce = requestsAtOnce
        settings.fetchHosts = fetchHosts
        settings.fetchesPrivate = fetchPrivate
        settings.allowedHosts = allowedHosts
        settings.origins = origins
        settings.fileFolder = imageFolder
        settings.certificate = certificate
        settings.privateKey = privateKey
        settings.readsGroundingTags = !noGroundingTags
        settings.readsControlTokens = controlTokens
        settings.addsBeginToken = addBeginToken
        settings.servesPage = !noPage
        settings.rootPath = String(listen.rootPath.reversed().drop { $0 == "/" }.reversed())
        settings.loadsLazily = listen.lazyLoad
        if listen.lazyLoad, names.isEmpty {
            let name = (model.model ?? "shapes-vl2").split(separator: "/").last.map(String.init)
            settings.modelNames = [name ?? "model"]
        }
        settings.defaultTemperature = defaultTemperature
        settings.defaultMaxTokens = defaultMaxTokens
        settings.requestSeconds = requestSeconds
        settings.bodySeconds = bodySeconds
        settings.graceSeconds = grace
        var options = ServingOptions()
        let (path, vision, policy) = try model.converted()
        options.model = path
        options.vision = vision
        options.threads = model.threads
        options.compute = model.compute
        options.weights = policy
        options.cacheType = model.cacheType
        options.cacheBytes = listen.cacheMemory << 20
        options.featureBytes = imageMemory << 20
        options.featureFolder = featureFolder
        options.featureFolderBytes = featureFolderSize << 20
        options.stepRows = stepTokens
        options.running = running
        options.waiting = waiting
        options.sharesPrefixes = !noPrefixCache
        try wait(options, settings)
    }

    /// Serves on other threads and waits for the end.
    private func wait(_ options: ServingOptions, _ settings: ServerSettings) throws {
        let isDone = DispatchSemaphore(value: 0)
        let level = logLevel.level
        let logsJSON = logFormat == .json
        let isSecure = certificate != nil
        let page = settings.servesPage ? settings.rootPath : nil
        let shared = Failure()
        Task.detached {
            do {
                try await Serving.run(options, settings, logLevel: level, logsJSON: logsJSON) { event in
                    switch event {
                    case .loading(let done, let total): Terminal.progress("loading", done, of: total)
                    case .loaded: Terminal.clearProgress()
                    case .listening(let host, let port):
                        let name = host.contains(":") ? "[\(host)]" : host
                        Terminal.output("listening at \(isSecure ? "https" : "http")://\(name):\(port)\n")
                        if let page {
                            // Where a server that listens everywhere is found from this machine.
                            let near = ["0.0.0.0", "[::]"].contains(name) ? "localhost" : name
                            Terminal.note(
                                "the page is at \(isSecure ? "https" : "http")://\(near):\(port)\(page)/"
                            )
                        }
                    case .draining(let open): Terminal.note("ending: \(open) requests are open")
                    }
                }
            } catch {
                shared.set(error)
            }
            isDone.signal()
        }
        isDone.wait()
        if let error = shared.error {
            if let error = error as? ServerError { throw CommandFailure(description: error.description) }
            throw error
        }
    }
}

/// What a task hands over to the thread that waits for it.
private final class Failure: Sendable {
    private let value = Mutex<(any Error)?>(nil)

    var error: (any Error)? { value.withLock { $0 } }

    func set(_ error: any Error) { value.withLock { $0 = error } }
}
#endif
