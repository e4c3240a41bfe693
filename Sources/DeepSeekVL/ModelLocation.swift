import VLHub
import VLJSON

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Finds the model that ships with the package.
enum ModelLocation {
    /// Folder of the bundled model, below the repository's root.
    static let bundled = "Models/shapes-vl2"
    /// Environment variable that names another default.
    static let variable = "DEEPSEEK_VL_MODEL"

    /// The folder of the default model: what the environment names, as `--model` would; else the bundled model, looked for upwards from
    /// the program, from the working directory, and where this source lies.
    ///
    /// - Throws: `DeepSeekVLError.noDefaultModel`.
    static func defaultModel(needsWeights: Bool = true) throws(DeepSeekVLError) -> String {
        if let named = getenv(variable) {
            return try resolve(String(cString: named), needsWeights: needsWeights)
        }
        for start in [programFolder(), currentFolder(), folder(of: #filePath)] {
            var place = start
            while !place.isEmpty {
                let candidate = place + "/" + bundled
                if access(candidate + "/config.json", R_OK) == 0 { return candidate }
                place = folder(of: place)
            }
        }
        throw .noDefaultModel(lookedFor: bundled, variable: variable)
    }

    /// What `--model` means: a path that exists; else a name of the hub, which is looked for in the cache; nil is the
    /// default model.
    ///
    /// Nothing is ever downloaded here.
    ///
    /// - Parameter needsWeights: whether a download without weights is an error.
    /// - Returns: a folder or a file.
    /// - Throws: `DeepSeekVLError.noDefaultModel`, `.model`.
    static func resolve(_ model: String?, needsWeights: Bool) throws(DeepSeekVLError) -> String {
        guard let model else { return try defaultModel(needsWeights: needsWeights) }
        // What is written like a path is one even if nothing is there, so that the error speaks of it.
        let isPath = model.isEmpty || access(model, F_OK) == 0 || "/.~".contains(model.prefix(1))
        if isPath { return model }
        do throws(HubError) {
            let reference = try ModelReference(model)
            return try HubCache(HubSettings.cacheFolder()).find(reference, needsWeights: needsWeights)
        } catch .repository {
            let names = ShortName.all.map(\.name).joined(separator: ", ")
            throw .model(
                description:
                    "model '\(model.excerpt(limit: 120))': expected a path, ORG/NAME or one of \(names), found neither"
            )
        } catch {
            throw .model(description: error.description)
        }
    }

    /// What messages call the model of a folder: the repository's name where the folder is a snapshot of the cache,
    /// whose own name is a commit.
    static func name(ofSnapshot folder: String) -> String? {
        HubCache.repository(ofSnapshot: folder)?.split(separator: "/").last.map(String.init)
    }

    private static func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    private static func currentFolder() -> String {
        guard let path = getcwd(nil, 0) else { return "" }
        defer { free(path) }
        return String(cString: path)
    }

    private static func programFolder() -> String {
        #if os(Linux)
        guard let path = realpath("/proc/self/exe", nil) else { return "" }
        #else
        guard let path = CommandLine.arguments.first.flatMap({ realpath($0, nil) }) else { return "" }
        #endif
        defer { free(path) }
        return folder(of: String(cString: path))
    }
}
