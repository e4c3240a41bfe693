import DeepSeekVL
import VLFormats
import VLImage
import VLModels
import VLTerminal

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A conversation at the terminal: reads messages, shows answers, obeys commands.
final class Chat {
    let dialogue: Dialogue
    private let input: ChatInputSource
    private let paths: PathWords
    /// Pictures that wait for their question.
    private var attached: [String] = []
    /// Whether something went wrong; a script wants to know.
    private var hasFailed = false
    private var isFinished = false
    private var hasToldOfTiling = false
    private var emptyInterrupts = 0

    init(_ dialogue: Dialogue, _ input: ChatInputSource) {
        self.dialogue = dialogue
        self.input = input
        paths = PathWords(home: getenv("HOME").map { String(cString: $0) })
    }

    private var imageTag: String? { dialogue.host.loaded.processor.imageTag }

    /// Talks until the input ends; false if something went wrong on the way.
    func run() -> Bool {
        if input.isInteractive {
            Interrupts.watch()
            greet()
        }
        while !isFinished {
            do {
                switch try input.message(prompt) {
                case .end:
                    if input.isInteractive { Terminal.output("\n") }
                    isFinished = true
                case .interrupted(let wasEmpty):
                    say("^C")
                    emptyInterrupts = wasEmpty ? emptyInterrupts + 1 : 0
                    if emptyInterrupts == 2 { say("(to leave: exit or Ctrl-D)") }
                case .text(let text):
                    emptyInterrupts = 0
                    try obey(ChatInput(text, isFile: Self.isFile))
                }
            } catch {
                fail("\(error)")
            }
        }
        return input.isInteractive || !hasFailed
    }

    private func greet() {
        let host = dialogue.host
        let context = host.loaded.language.maxPositions
        Terminal.output(
            "\(host.name) (\(host.loaded.architecture)), \(context) tokens of context. /help lists the commands, exit leaves.\n"
        )
        let turns = dialogue.conversation.turns.count
        if turns > 0 { say("(going on after \(turns) \(turns == 1 ? "turn" : "turns"))") }
        for path in attached { say("(picture: \(path))") }
    }

    private var prompt: String {
        attached.isEmpty ? "User: " : "User [\(attached.count) \(attached.count == 1 ? "image" : "images")]: "
    }

    // MARK: Messages to the person

    /// Says something beside the answers: to a person, not to a script.
    private func say(_ text: String) {
        if input.isInteractive { Terminal.output(text + "\n") }
    }

    private func fail(_ text: String) {
        hasFailed = true
        Terminal.note("deepseek-vl: " + text.split(separator: "\n").joined(separator: " "))
    }

    // MARK: Commands

    private func obey(_ command: ChatInput) throws {
        switch command {
        case .help: Terminal.output(ChatTexts.help(seesPictures: imageTag != nil))
        case .new:
            dialogue.clear()
            attached = []
            say("(a new conversation)")
        case .regenerate: try regenerate()
        case .undo:
            guard let turn = dialogue.undo() else {
                return fail("/undo: expected a question to take back, found none")
            }
            say("(taken back: \(ChatTexts.excerpt(turn.question)))")
        case .system(let text): system(text)
        case .set(let name, let value): try set(name, value)
        case .tokens: Terminal.output(ChatTexts.costs(try dialogue.tokens()))
        case .save(let file):
            try dialogue.save(paths.path(file))
            say("(saved)")
        case .load(let file):
            try dialogue.load(paths.path(file))
            attached = []
            say("(loaded: \(dialogue.conversation.turns.count) turns)")
        case .draw(let file): try draw(paths.path(file))
        case .image(let path): try image(path)
        case .exit: isFinished = true
        case .incomplete(let name, let needs): fail("/\(name): expected \(needs), found nothing")
        case .unknown(let name): fail("/\(name): expected a command, found an unknown one; /help lists them")
        case .message(let text): try message(text)
        }
    }

    private func system(_ text: String?) {
        if let text {
            dialogue.setSystem(text.isEmpty ? nil : text)
            say(text.isEmpty ? "(no system text)" : "(system text set)")
        } else {
            Terminal.output((dialogue.conversation.system ?? "(no system text)") + "\n")
        }
    }

    private func set(_ name: String?, _ value: String?) throws {
        if let name, let value { return try dialogue.settings.set(name, to: value) }
        var names = ChatSettings.Name.allCases
        if let name {
            names = names.filter { $0.rawValue == String(name.lowercased().map { $0 == "_" ? "-" : $0 }) }
            if names.isEmpty { try dialogue.settings.set(name, to: "") }
        }
        Terminal.output(ChatTexts.settings(dialogue.settings, names))
    }

    private func draw(_ file: String) throws {
        guard file.hasSuffix(".png") || file.hasSuffix(".svg") else {
            return fail("/draw: expected a file that ends in .png or .svg, found '\(file)'")
        }
        guard let answer = dialogue.lastAnswer, !answer.answer.grounding.isEmpty else {
            return fail("/draw: expected an answer with boxes, found none")
        }
        try Drawing.write(file, [answer], dialogue.settings.exif)
        say("(drawn: \(answer.answer.grounding.count) boxes)")
    }

    private func image(_ text: String?) throws {
        guard let text else {
            return Terminal.output(
                attached.isEmpty ? "(no picture waits)\n" : attached.joined(separator: "\n") + "\n"
            )
        }
        if text.isEmpty {
            attached = []
        } else {
            try attach(paths.path(text))
        }
    }

    // MARK: Pictures

    /// Keeps a picture for the next question, after a look whether it is one.
    func attach(_ path: String) throws {
        guard imageTag != nil else {
            throw CommandFailure(
                description:
                    "\(dialogue.host.name): expected no pictures, since it sees none, found '\(path)'"
            )
        }
        let picture = try PictureSource.read(path)
        attached.append(path)
        let size = dialogue.settings.exif == .apply ? picture.decoded.upright : picture.decoded.stored
        say("(image \(attached.count): \(path), \(size.width) x \(size.height))")
    }

    private static func isFile(_ path: String) -> Bool { PathQuestion.isFile(path) }

    /// Asks for the pictures whose places a question names; nil if it was given up.
    private func askForPictures(_ tags: Int) throws -> [String]? {
        var found = attached
        while found.count < tags {
            switch try input.line("(\(found.count + 1)/\(tags)) Input the image file path: ") {
            case .end:
                isFinished = true
                if !input.isInteractive {
                    fail("question: expected \(tags) image paths, found the end of the input")
                }
                return nil
            case .interrupted:
                say("^C\n(given up)")
                return nil
            case .text(let line):
                let path = paths.path(line)
                if path == "exit" || path == "quit" {
                    isFinished = true
                    return nil
                }
                if path.isEmpty { continue }
                do {
                    _ = try PictureSource.read(path)
                    found.append(path)
                } catch {
                    fail(error.description)
                }
            }
        }
        return found
    }

    // MARK: Questions

    private func message(_ text: String) throws {
        var text = text
        if imageTag != nil {
            let (pictures, rest) = paths.pictures(in: text, isFile: Self.isFile)
            for path in pictures { try attach(path) }
            text = rest
        }
        guard text.contains(where: { !$0.isWhitespace }) else { return }
        if let imageTag {
            // People know the tags of both families.
            for tag in ["<image_placeholder>", "<image>"] where tag != imageTag {
                text = text.split(separator: tag, omittingEmptySubsequences: false).joined(
                    separator: imageTag
                )
            }
        }
        let tags = dialogue.host.loaded.processor.imageTags(text)
        guard let pictures = try askForPictures(tags) else { return }
        let before = dialogue.conversation.turns.count
        try answer { report throws(DeepSeekVLError) in
            try dialogue.send(text, pictures.map { .file(WorkingFolder.absolute($0)) }, onEvent: report)
        }
        // A question that was taken back leaves its pictures for the next one.
        attached = dialogue.conversation.turns.count > before ? [] : pictures
    }

    private func regenerate() throws {
        if dialogue.settings.parameters.temperature == 0 {
            say("(the temperature is 0: the answer stays the same)")
        }
        try answer { report throws(DeepSeekVLError) in try dialogue.regenerate(onEvent: report) }
    }

    /// Shows an answer while it is made; Ctrl-C stops it.
    private func answer(_ make: ((ChatEvent) -> Bool) throws(DeepSeekVLError) -> Answer) throws {
        Interrupts.reset()
        var hasText = false
        let isInteractive = input.isInteractive
        let answer = try make { event in
            switch event {
            case .turnsDropped(let range):
                Terminal.note(ChatTexts.dropped(range))
            case .tilingChanged(let isTiled):
                if !self.hasToldOfTiling { Terminal.note(ChatTexts.tilingChanged(isTiled)) }
                self.hasToldOfTiling = true
            case .tilesEncoded(let done, let total): Terminal.progress("pictures", done, of: total)
            case .tokensPrefilled(let done, let total): Terminal.progress("prompt", done, of: total)
            case .text(let text):
                if !hasText && isInteractive { Terminal.output("Assistant: ") }
                // The model's answer begins with the blank that the template leaves out.
                let shown = hasText ? text : String(text.drop { $0 == " " })
                Terminal.output(isInteractive ? ChatTexts.printable(shown) : shown)
                hasText = true
            case .finished: Terminal.clearProgress()
            }
            return !Interrupts.isPending
        }
        switch answer.finishReason {
        case "cancelled" where hasText: say("\n(stopped)")
        case "cancelled": say("(stopped; the question is taken back)")
        case "length": say("\n(ended: the limit of new tokens or the context is reached)")
        case "repetition": say("\n(ended: it repeated itself)")
        default: say(hasText ? "" : "(an empty answer)")
        }
        if !isInteractive { Terminal.output("\n") }
        for problem in answer.groundingProblems { Terminal.note("deepseek-vl: \(problem)") }
        if !answer.grounding.isEmpty {
            say(
                "(\(answer.grounding.count) \(answer.grounding.count == 1 ? "box" : "boxes"): /draw FILE.png draws them)"
            )
        }
    }
}
