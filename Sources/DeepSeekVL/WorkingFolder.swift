#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The folder that relative paths are relative to.
package enum WorkingFolder {
    /// A path that stays right when it is used elsewhere: `.` and `..` at its beginning are resolved.
    package static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let here = getcwd(nil, 0) else { return path }
        defer { free(here) }
        var folder = String(cString: here)
        var rest = path[...]
        while true {
            if rest.hasPrefix("./") {
                rest = rest.dropFirst(2)
            } else if rest.hasPrefix("../") {
                rest = rest.dropFirst(3)
                folder = folder.lastIndex(of: "/").map { String(folder[..<$0]) } ?? ""
            } else {
                return folder + "/" + rest
            }
        }
    }
}
