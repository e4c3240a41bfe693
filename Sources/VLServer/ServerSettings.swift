import DeepSeekVL
import VLImage

/// How a server behaves towards those who ask it.
package struct ServerSettings: Sendable {
    package var host = "127.0.0.1"
    package var port = 8080
    /// What clients call the model; its own name if empty.
    package var modelNames: [String] = []
    /// Keys that open it; none lets everybody in.
    package var keys: [String] = []
    /// Requests that a key may make in a minute; nil for any number.
    package var requestsPerMinute: Int?
    /// Names that a client may call the server by, besides those of this machine; needed when it listens on loopback.
    package var allowedHosts: [String] = []
    /// Web pages' origins that may ask; `*` is all.
    package var origins: [String] = []
    /// Folder that `file:` URLs may name files of; nil refuses them all.
    package var fileFolder: String?
    /// Certificate and private key, PEM files; nil serves without TLS.
    package var certificate: String?
    package var privateKey: String?

    /// Whether texts may spell the tags of grounding.
    package var readsGroundingTags = true
    /// Whether texts of `/v1/completions` may spell control tokens.
    package var readsControlTokens = false
    /// Whether prompts of token ids are preceded by the model's begin token, which is neither echoed nor counted.
    package var addsBeginToken = false
    package var defaultTemperature = 1.0
    package var defaultMaxTokens = 1024

    package var maxBodyBytes = 32 << 20
    package var maxImages = 32
    package var imageLimits = ImageLimits()
    package var maxPrompts = 64
    /// Seconds in which a request must have come completely.
    package var bodySeconds = 60
    /// Seconds without a request, or with half a header, after which a connection is closed.
    package var idleSeconds = 10
    /// Seconds that a client may take to read what was written.
    package var stallSeconds = 60
    /// Seconds in which a request must be answered.
    package var requestSeconds = 600
    /// Seconds that running requests have when the server is told to end.
    package var graceSeconds = 30
    package var maxConnections = 1024

    package init() {}

    /// Whether only this machine can reach it.
    var isLoopback: Bool { ["127.0.0.1", "localhost", "::1"].contains(host) }
}
