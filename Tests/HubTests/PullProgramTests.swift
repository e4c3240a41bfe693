#if Network
import Foundation
import Testing
import VLHub
import VLPull
import VLTestSupport

@Suite(.timeLimit(.minutes(2))) struct PullProgramTests {
    /// The program, which is built beside the tests.
    private static let program: String = {
        let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent()
        return tests.appendingPathComponent("deepseek-vl").path
    }()
    private static let isThere = FileManager.default.isExecutableFile(atPath: program)
    private static let weights = FakeRepository.single["model.safetensors"]

    private func run(
        _ arguments: [String],
        _ test: PullFixture
    ) throws -> (process: Process, output: Pipe, errors: Pipe) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.program)
        process.arguments = arguments
        process.environment = [
            "HF_ENDPOINT": test.hub.endpoint, "HF_HUB_CACHE": test.settings.cache,
            "HF_HOME": test.folder("home"),
            "HOME": test.folder.path,
            "LD_LIBRARY_PATH": ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"] ?? "",
        ]
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        return (process, output, errors)
    }

    private func text(_ pipe: Pipe) -> String {
        String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    }

    @Test(
        "a run that is killed in the middle is gone on with, and the bytes are the same",
        .enabled(if: isThere)
    )
    func killed() async throws {
        // The first answer stops in the middle and holds the line, until the program is gone.
        let gate = DispatchSemaphore(value: 0)
        let test = try PullFixture { request, earlier in
            guard request.path.hasSuffix("/model.safetensors") else { return nil }
            guard earlier == 0 else { return nil }
            gate.signal()
            var reply = LoopbackHub.Reply(body: Self.weights.bytes)
            reply.holdAfter = 200_000
            return reply
        }
        let first = try run(["pull", FakeRepository.name], test)
        await withCheckedContinuation { done in
            Thread {
                gate.wait()
                done.resume()
            }.start()
        }
        let incomplete = "\(test.blobs)/\(Self.weights.etag).incomplete"
        var size = 0
        // Bounded: the suite has a time limit.
        while size < 200_000 {
            let found = try? FileManager.default.attributesOfItem(atPath: incomplete)[.size]
            size = (found as? Int) ?? 0
            try await Task.sleep(for: .milliseconds(2))
        }
        kill(first.process.processIdentifier, SIGKILL)
        first.process.waitUntilExit()
        #expect(throws: HubError.self) {
            try test.cache.find(try ModelReference(FakeRepository.name), needsWeights: false)
        }
        let second = try run(["pull", FakeRepository.name, "--format", "json"], test)
        let (output, errors) = (text(second.output), text(second.errors))
        second.process.waitUntilExit()
        #expect(second.process.terminationStatus == 0 && errors.isEmpty, "\(errors)")
        #expect(output.contains("\"commit\": \"\(FakeRepository.commit)\""))
        #expect(
            test.downloads.last { $0.path.hasSuffix("/model.safetensors") }?.headers["range"]
                == "bytes=200000-"
        )
        #expect(try contents("\(test.snapshot)/model.safetensors") == Self.weights.bytes)
    }

    @Test(
        "the program's statuses tell failure from wrong usage",
        .enabled(if: isThere),
        arguments: [
            (["pull", "org/model", "--dry-run"], 0), (["pull", "org/nothing"], 1), (["pull", "../x"], 2),
            (["pull"], 2),
            (["pull", "org/model", "--jobs", "0"], 2), (["tokenize", "--model", "org/nothing"], 1),
        ] as [([String], Int32)]
    )
    func statuses(arguments: [String], status: Int32) throws {
        let test = try PullFixture()
        let run = try run(arguments, test)
        let (output, errors) = (text(run.output), text(run.errors))
        run.process.waitUntilExit()
        #expect(run.process.terminationStatus == status, "\(errors)")
        #expect(output.isEmpty == (status != 0))
        #expect(errors.split(separator: "\n").count == (status == 0 ? 0 : 1), "\(errors)")
    }
}
#endif
