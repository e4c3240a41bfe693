import VLFormats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Where the cache lies and how the hub is reached: what the environment says, as `huggingface_hub` reads it.
package struct HubSettings: Sendable {
    /// The cache's folder.
    package var cache: String
    /// The hub's address, without a slash at its end.
    package var endpoint: String
    /// What authorizes requests to the hub, and to nobody else.
    package var token: String?
    /// Whether no request may be made.
    package var isOffline: Bool
    /// A proxy that connections go through, such as `http://proxy:3128`.
    package var proxy: String?

    /// Settings given one by one.
    package init(cache: String, endpoint: String, token: String? = nil, isOffline: Bool = false) {
        self.cache = cache
        self.endpoint = endpoint
        self.token = token
        self.isOffline = isOffline
    }

    /// Reads the environment, and the file with the token.
    ///
    /// - Parameters:
    ///   - cache: a folder that wins over the environment.
    ///   - environment: gives a variable's value, or nil.
    /// - Throws: `HubError.variable` for a token that no header can carry.
    package init(
        cache: String? = nil,
        environment: (String) -> String? = HubSettings.variable
    ) throws(HubError) {
        func isTrue(_ name: String) -> Bool {
            ["1", "ON", "YES", "TRUE"].contains((environment(name) ?? "").uppercased())
        }
        func value(_ names: String...) -> String? { Self.first(of: names, environment) }
        self.cache = cache ?? Self.cacheFolder(environment)
        var endpoint = value("HF_ENDPOINT") ?? "https://huggingface.co"
        while endpoint.hasSuffix("/") { endpoint.removeLast() }
        self.endpoint = endpoint
        let scheme = endpoint.lowercased().hasPrefix("http://") ? "http_proxy" : "https_proxy"
        let isDirect = Self.isExcepted(endpoint, value("no_proxy", "NO_PROXY") ?? "")
        proxy = isDirect ? nil : value(scheme, scheme.uppercased())
        isOffline = isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE")
        if isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            token = nil
        } else if let text = value("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") {
            token = try Self.cleaned(text, from: "HF_TOKEN")
        } else {
            let file = value("HF_TOKEN_PATH").map { Self.expanded($0, environment) }
            token = try Self.token(file: file ?? Self.home(environment) + "/token")
        }
    }

    /// The cache's folder, as the environment says.
    package static func cacheFolder(_ environment: (String) -> String? = HubSettings.variable) -> String {
        first(of: ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"], environment).map { expanded($0, environment) }
            ?? home(environment) + "/hub"
    }

    /// Whether `NO_PROXY` names the host of an address, or a domain above it.
    private static func isExcepted(_ endpoint: String, _ list: String) -> Bool {
        let host =
            endpoint.lowercased().split(separator: "/").dropFirst().first?.split(separator: ":").first ?? ""
        return list.lowercased().split { $0 == "," || $0 == " " }.contains { entry in
            let domain = entry.drop { $0 == "." || $0 == "*" }
            return entry == "*" || host == domain || (!domain.isEmpty && host.hasSuffix("." + domain))
        }
    }

    private static func home(_ environment: (String) -> String?) -> String {
        let base = first(of: ["XDG_CACHE_HOME"], environment) ?? "~/.cache"
        return expanded(first(of: ["HF_HOME"], environment) ?? base + "/huggingface", environment)
    }

    /// The first of some variables that is set and not empty.
    private static func first(of names: [String], _ environment: (String) -> String?) -> String? {
        for name in names {
            if let text = environment(name), !text.isEmpty { return text }
        }
        return nil
    }

    /// A variable of this process; the home folder is known without its variable too.
    package static func variable(_ name: String) -> String? {
        if let value = getenv(name) { return String(cString: value) }
        guard name == "HOME", let user = getpwuid(getuid()), let home = user.pointee.pw_dir else {
            return nil
        }
        return String(cString: home)
    }

    private static func token(file: String) throws(HubError) -> String? {
        guard FileContents.exists(file) else { return nil }
        let bytes: [UInt8]
        do throws(FormatError) {
            bytes = try FileContents.read(file, limit: 4096)
        } catch {
            throw .file(error)
        }
        return try cleaned(String(decoding: bytes, as: UTF8.self), from: file)
    }

    /// A token without the white space around it; nil if nothing is left.
    private static func cleaned(_ text: String, from place: String) throws(HubError) -> String? {
        let isSpace: (UInt8) -> Bool = { $0 == 0x20 || (0x09...0x0D).contains($0) }
        let bytes = text.utf8.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
        guard bytes.allSatisfy({ (0x21...0x7E).contains($0) }), bytes.count <= 4096 else {
            throw .variable(place, expected: "a token of visible ASCII characters")
        }
        return bytes.isEmpty ? nil : String(decoding: Array(bytes), as: UTF8.self)
    }

    /// A path with `~` at its beginning and `$NAME` and `${NAME}` replaced; unknown variables stay.
    private static func expanded(_ path: String, _ environment: (String) -> String?) -> String {
        var result: [UInt8] = []
        var rest = Array(path.utf8)[...]
        if rest.first == UInt8(ascii: "~"), rest.count == 1 || rest.dropFirst().first == UInt8(ascii: "/"),
            let home = environment("HOME")
        {
            result += home.utf8
            rest = rest.dropFirst()
        }
        let isName: (UInt8) -> Bool = {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "$") else {
                result.append(byte)
                continue
            }
            let isBraced = rest.first == UInt8(ascii: "{")
            let name = (isBraced ? rest.dropFirst() : rest).prefix(while: isName)
            let end = name.endIndex
            let isClosed = !isBraced || (end < rest.endIndex && rest[end] == UInt8(ascii: "}"))
            if isClosed, !name.isEmpty, let value = environment(String(decoding: name, as: UTF8.self)) {
                result += value.utf8
                rest = rest[(isBraced ? end + 1 : end)...]
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
