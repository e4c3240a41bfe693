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

    /// The folder of the default model: what the environment names; else the bundled model, looked for upwards from
    /// the program, from the working directory, and where this source lies.
    ///
    /// - Throws: `DeepSeekVLError.noDefaultModel`.
    static func defaultModel() throws(DeepSeekVLError) -> String {
        if let named = getenv(variable) { return String(cString: named) }
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
