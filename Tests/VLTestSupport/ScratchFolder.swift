import Foundation

/// A folder for the files of one test, gone with it.
package final class ScratchFolder {
    package let path: String

    package init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("vl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The path of a name in the folder.
    package func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

    /// Names in the folder, hidden ones too, sorted.
    package var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    }

    /// Writes a file into the folder, with the folders on its way, and gives its path.
    @discardableResult package func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let folder = URL(fileURLWithPath: self(name)).deletingLastPathComponent()
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(fileURLWithPath: self(name)))
        return self(name)
    }

    /// A copy of a file or folder, to be changed; "copy" in this one.
    package func copy(_ source: String) throws -> String {
        try FileManager.default.copyItem(atPath: source, toPath: self("copy"))
        return self("copy")
    }
}

/// All bytes of a file.
package func contents(_ path: String) throws -> [UInt8] {
    try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
}
