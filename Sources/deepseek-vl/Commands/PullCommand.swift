#if Network
import ArgumentParser
import Dispatch
import Synchronization
import VLHub
import VLJSON
import VLPull

/// Downloads a model from the hub.
struct PullCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull",
        abstract: "Download a model from the Hugging Face hub into the cache that it shares with Python.",
        discussion: """
            Examples:

              deepseek-vl pull vl2-tiny
              deepseek-vl ask --model vl2-tiny --image photo.jpg 'What is this?'

              deepseek-vl pull deepseek-ai/deepseek-vl-7b-chat@main --jobs 8
              deepseek-vl pull vl2-small --dry-run
              deepseek-vl pull ORG/NAME-GGUF --include '*Q4_K_M.gguf'

            Short names: \(ShortName.all.map(\.name).joined(separator: ", ")).

            Only what a model needs is downloaded: configurations, tokenizer,
            safetensors weights, licence. What is there already is not downloaded
            again, whoever downloaded it. What was interrupted is gone on with when
            the command is run again. The size and hash of each file are checked.

            Variables: HF_TOKEN (private and gated models), HF_ENDPOINT (a mirror),
            HF_HOME and HF_HUB_CACHE (where the cache lies), HF_HUB_OFFLINE=1 (only
            look into the cache), HTTPS_PROXY.
            """
    )

    @Option(
        help: ArgumentHelp(
            "Files to take in place of the safetensors weights; * is any text. May be repeated.",
            valueName: "pattern"
        )
    )
    var include: [String] = []
    @Option(help: "Files that are downloaded at the same time.")
    var jobs = 4
    @Option(
        help: ArgumentHelp(
            "The cache's folder; if omitted, HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub.",
            valueName: "folder"
        )
    )
    var cache: String?
    @Flag(help: "Lists files and sizes; downloads and writes nothing.")
    var dryRun = false
    @OptionGroup var output: OutputOptions
    @Argument(help: ArgumentHelp("A short name, or ORG/NAME, with @REVISION behind it or without."))
    var name: String

    func validate() throws {
        guard (1...64).contains(jobs) else {
            throw ValidationError("--jobs: expected a whole number from 1 to 64, found \(jobs)")
        }
        guard cache?.isEmpty != true else { throw ValidationError("--cache: expected a folder, found ''") }
        do throws(HubError) {
            _ = try ModelReference(name)
            _ = try HubSettings(cache: cache)
        } catch .file {
            // A token's file that cannot be read is a failure, not wrong usage.
        } catch {
            throw ValidationError(error.description)
        }
    }

    func run() throws {
        let (reference, settings) = try request()
        var puller = Puller(settings)
        puller.jobs = jobs
        puller.patterns = include
        let progress = PullProgress(isQuiet: output.format == .json)
        let report: PullReport
        do throws(PullError) {
            report = try wait(puller, reference, progress)
        } catch {
            progress.end()
            if error.isUsage { throw ValidationError(error.description) }
            throw CommandFailure(description: error.description)
        }
        progress.end()
        Terminal.output(output.format == .json ? json(report) : text(report, reference))
    }

    private func request() throws -> (ModelReference, HubSettings) {
        do throws(HubError) {
            return (try ModelReference(name), try HubSettings(cache: cache))
        } catch {
            throw CommandFailure(description: error.description)
        }
    }

    /// Waits for the download, which runs on other threads.
    private func wait(
        _ puller: Puller,
        _ reference: ModelReference,
        _ progress: PullProgress
    ) throws(PullError) -> PullReport {
        let isDone = DispatchSemaphore(value: 0)
        let isDry = dryRun
        let outcome = Outcome()
        Task.detached {
            let result: Result<PullReport, PullError>
            do throws(PullError) {
                result = .success(try await puller.pull(reference, isDry: isDry) { progress.take($0) })
            } catch {
                result = .failure(error)
            }
            outcome.set(result)
            isDone.signal()
        }
        isDone.wait()
        return try outcome.value.get()
    }

    // MARK: Reports

    private func text(_ report: PullReport, _ reference: ModelReference) -> String {
        let title = "\(report.repository), \(report.revision), commit \(report.commit.prefix(12))"
        if dryRun {
            var lines = [title]
            for file in report.files {
                let state = file.wasCached ? "  (in the cache)" : ""
                lines.append(
                    "  " + ByteCount.padded(file.bytes) + "  " + file.name.excerpt(limit: 200) + state
                )
            }
            lines.append(
                "  \(ByteCount.padded(report.bytes))  \(report.files.count) files, \(ByteCount.text(report.missingBytes)) to download"
            )
            return lines.joined(separator: "\n") + "\n"
        }
        return """
            \(title): \(report.files.count) files, \(ByteCount.text(report.bytes)), \(ByteCount.text(report.receivedBytes)) downloaded now
            \(report.folder)

            """
    }

    private func json(_ report: PullReport) -> String {
        let files = report.files.map { file -> JSONValue in
            [
                "name": .string(file.name), "bytes": .integer(Int64(file.bytes)), "etag": .string(file.etag),
                "check": .string(file.check), "cached": .bool(file.wasCached),
            ]
        }
        let value: JSONValue = [
            "repo": .string(report.repository), "revision": .string(report.revision),
            "commit": .string(report.commit), "folder": .string(report.folder), "dry_run": .bool(dryRun),
            "files": .array(files), "bytes": .integer(Int64(report.bytes)),
            "downloaded_bytes": .integer(Int64(report.receivedBytes)),
            "missing_bytes": .integer(Int64(dryRun ? report.missingBytes : 0)),
        ]
        return String(decoding: JSONWriter.encode(value, .pretty), as: UTF8.self)
    }
}

/// What a task hands over to the thread that waits for it.
private final class Outcome: Sendable {
    private let result = Mutex<Result<PullReport, PullError>>(.failure(.cancelled))

    var value: Result<PullReport, PullError> { result.withLock { $0 } }

    func set(_ value: Result<PullReport, PullError>) { result.withLock { $0 = value } }
}
#endif
