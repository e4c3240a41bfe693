import Foundation

/// The absolute path of a file or folder under `Tests/Fixtures`.
package func fixture(_ path: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fixtures").appendingPathComponent(path).path
}

/// All bytes of a fixture file.
///
/// - Throws: Foundation's file error when the file cannot be read.
package func fixtureBytes(_ path: String) throws -> [UInt8] {
    try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture(path))))
}
