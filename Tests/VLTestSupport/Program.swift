import Foundation

/// The program, which is built beside the tests.
package var programPath: URL {
    URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        .appendingPathComponent("deepseek-vl")
}

/// Starts the program and kills it when it is time; says whether it was still at work then.
package func killed(_ arguments: [String], when isTime: () -> Bool) throws -> Bool {
    let process = Process()
    process.executableURL = programPath
    process.arguments = arguments
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    while process.isRunning, !isTime() { usleep(500) }
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
    return process.terminationReason == .uncaughtSignal
}

/// What the program prints.
package func program(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
    let process = Process()
    process.executableURL = programPath
    process.arguments = arguments
    let (output, errors) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    // Neither fills a pipe: results are short, and there is no progress bar without a terminal.
    let printed = output.fileHandleForReading.readDataToEndOfFile()
    let told = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (
        process.terminationStatus, String(decoding: printed, as: UTF8.self),
        String(decoding: told, as: UTF8.self)
    )
}
