import Foundation
import Testing
import VLJSON
import VLTestSupport

/// The program `deepseek-vl chat` as a person at a terminal and as a script uses it.
@Suite("The chat program", .serialized)
final class ChatProgramTests {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("vl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit {
        do { try FileManager.default.removeItem(at: folder) } catch { Issue.record(error) }
    }

    private var environment: [String: String] {
        ["XDG_STATE_HOME": folder.path, "TERM": "xterm", "LC_ALL": "C", "HOME": folder.path]
    }

    private func start(_ arguments: [String] = []) throws -> PseudoTerminal {
        let greedy = ["--temperature", "0", "--repetition-penalty", "1", "--threads", "1"]
        return try PseudoTerminal(["chat"] + greedy + arguments, environment: environment)
    }

    private func example(_ name: String) -> String {
        URL(fileURLWithPath: fixture("../../Examples/\(name)")).standardizedFileURL.path
    }

    @Test("streams answers about dropped pictures, remembers them, and shows what they cost")
    func conversation() throws {
        let chat = try start()
        try chat.expect("shapes-vl2 (deepseek_vl_v2), 2048 tokens of context")
        try chat.expect("User: ")
        // As a terminal drops a file: in quotes.
        chat.type("'\(example("shapes.png"))'\r")
        try chat.expect("(image 1: ")
        try chat.expect("User [1 image]: ")
        chat.type("Which shape is green?\r")
        try chat.expect("Assistant: The green shape is a cross.")
        try chat.expect("User: ")
        chat.type("/tokens\r")
        try chat.expect("turn    text  images  answer   total")
        try chat.expect("shapes.png: ")
        try chat.expect("of 2048 tokens used")
        // Chinese input, with the locale C in the environment.
        chat.type("图中有几个图形？\r")
        try chat.expect("Assistant: ")
        try chat.expect("。")
        try chat.expect("User: ")
        chat.type("/undo\r")
        try chat.expect("(taken back: 图中有几个图形？)")
        chat.type("/set temperature 0.5\r/set\r")
        try chat.expect("temperature         0.5")
        chat.type("/nonsense\r")
        try chat.expect("/nonsense: expected a command")
        chat.type("exit\r")
        #expect(try chat.exitStatus() == 0)
    }

    @Test("asks for each picture that a question names, again if it is missing, and exit works there")
    func placeholders() throws {
        let chat = try start()
        try chat.expect("User: ")
        chat.type("<image_placeholder>What shape is red?\r")
        try chat.expect("(1/1) Input the image file path: ")
        chat.type("no-such-file.png\r")
        try chat.expect("no-such-file.png: ")
        try chat.expect("(1/1) Input the image file path: ")
        chat.type("\(example("ring-and-cross.png"))  \r")
        try chat.expect("Assistant: The red shape is a cross.")
        try chat.expect("User: ")
        chat.type("Compare <image> with <image>.\r")
        try chat.expect("(1/2) Input the image file path: ")
        chat.type("\(example("rings.png"))\r")
        try chat.expect("(2/2) Input the image file path: ")
        chat.type("exit\r")
        #expect(try chat.exitStatus() == 0)
    }

    @Test("Ctrl-C stops an answer and gives up a line, but never ends the program")
    func interrupts() throws {
        // So hot that the answer goes on for long.
        let chat = try start(["--temperature", "50", "--max-tokens", "1500", "--seed", "7"])
        try chat.expect("User: ")
        chat.type("Tell me all.\r")
        try chat.expect("Assistant: ")
        chat.type("\u{3}")
        try chat.expect("(stopped)")
        try chat.expect("User: ")
        chat.type("half a line\u{3}")
        try chat.expect("User: ")
        chat.type("\u{3}")
        try chat.expect("User: ")
        chat.type("\u{3}")
        try chat.expect("(to leave: exit or Ctrl-D)")
        try chat.expect("User: ")
        chat.type("\u{4}")
        #expect(try chat.exitStatus() == 0)
    }

    @Test("the history of one chat is there in the next, by the cursor keys")
    func history() throws {
        let first = try start()
        try first.expect("User: ")
        first.type("/set seed 4711\r")
        try first.expect("User: ")
        first.type("\u{4}")
        #expect(try first.exitStatus() == 0)
        let second = try start()
        try second.expect("User: ")
        second.type("\u{1b}[A")
        try second.expect("/set seed 4711")
        second.type("\u{7f}2\r/set seed\r")
        try second.expect("seed                4712")
        second.type("quit\r")
        #expect(try second.exitStatus() == 0)
    }

    @Test("messages of several lines, typed and pasted, are one message")
    func severalLines() throws {
        let chat = try start()
        try chat.expect("User: ")
        chat.type("/system one\\\r")
        try chat.expect("... ")
        chat.type("two\r")
        try chat.expect("(system text set)")
        try chat.expect("User: ")
        chat.type("/system\r")
        try chat.expect("one\r\ntwo")
        try chat.expect("User: ")
        chat.type("\u{1b}[200~/system three\rfour\u{1b}[201~\r")
        try chat.expect("(system text set)")
        chat.type("/system\r")
        try chat.expect("three\r\nfour\r\n")
        chat.type("new\rexit\r")
        #expect(try chat.exitStatus() == 0)
    }

    @Test("boxes of the last answer are drawn, and a saved chat goes on")
    func files() throws {
        let chat = try start()
        try chat.expect("User: ")
        chat.type("\(example("ring-and-cross.png")) <|ref|>the purple ring<|/ref|>.\r")
        try chat.expect("[[100, 200, 400, 920]]")
        try chat.expect("(1 box: ")
        try chat.expect("User: ")
        chat.type("/draw \(folder.path)/boxes.svg\r")
        try chat.expect("(drawn: 1 boxes)")
        chat.type("/save \(folder.path)/chat.json\r")
        try chat.expect("(saved)")
        chat.type("exit\r")
        #expect(try chat.exitStatus() == 0)
        let svg = try String(contentsOf: folder.appendingPathComponent("boxes.svg"), encoding: .utf8)
        #expect(svg.contains("purple ring"))
        let next = try start(["--load", "\(folder.path)/chat.json"])
        try next.expect("(going on after 1 turn)")
        next.type("/regenerate\r")
        try next.expect("[[100, 200, 400, 920]]")
        try next.expect("User: ")
        next.type("exit\r")
        #expect(try next.exitStatus() == 0)
    }

    // MARK: Scripts

    /// Runs the program with text as its input.
    private func script(
        _ text: String,
        _ arguments: [String] = []
    ) throws -> (status: Int32, output: String, messages: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try PseudoTerminal.program())
        let greedy = ["--temperature", "0", "--repetition-penalty", "1", "--threads", "1"]
        process.arguments = ["chat"] + greedy + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let (input, output, messages) = (Pipe(), Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = messages
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
        try input.fileHandleForWriting.close()
        let all = try output.fileHandleForReading.readToEnd() ?? Data()
        let errors = try messages.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (
            process.terminationStatus, String(decoding: all, as: UTF8.self),
            String(decoding: errors, as: UTF8.self)
        )
    }

    @Test("in a pipe it prints answers and nothing else")
    func pipe() throws {
        let path = example("shapes.png")
        let found = try script("\(path)\nWhich shape is green?\n\n图中有几个图形？\n")
        #expect(found.status == 0 && found.messages.isEmpty)
        let lines = found.output.split(separator: "\n")
        #expect(lines.count == 2 && lines.first == "The green shape is a cross.")
        let asked = try script("<image>What shape is red?\n\(example("ring-and-cross.png"))")
        #expect(asked.status == 0 && asked.output == "The red shape is a cross.\n")
    }

    @Test("in a pipe a mistake is one line, the rest goes on, and the status is 1")
    func pipeMistakes() throws {
        let found = try script("/load \(folder.path)/none.json\n<image>What?\nnone.png\n")
        #expect(found.status == 1 && found.output.isEmpty)
        #expect(found.messages.split(separator: "\n").count == 3)
        #expect(found.messages.contains("none.json") && found.messages.contains("none.png"))
        let later = try script("/dance\n/set seed\n", ["--seed", "5"])
        #expect(later.status == 1 && later.output.hasPrefix("seed                5 "))
        #expect(try script("", ["--top-p", "7"]).status == 2)
        #expect(try script("", ["--image", "none.png"]).status == 1)
        #expect(try script("").status == 0)
    }
}
