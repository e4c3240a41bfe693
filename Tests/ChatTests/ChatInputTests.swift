import Testing
import VLTerminal

@Suite struct ChatInputTests {
    private func read(_ text: String, files: Set<String> = []) -> ChatInput {
        ChatInput(text) { files.contains($0) }
    }

    @Test("commands are read with what stands behind them; bare words of the original program count")
    func commands() {
        #expect(
            read("help") == .help && read("  New ") == .new && read("EXIT") == .exit && read("quit") == .exit
        )
        #expect(read("new york") == .message("new york"))
        #expect(read("/set temperature 0.5") == .set(name: "temperature", value: "0.5"))
        #expect(read("/set top-p=0.9") == .set(name: "top-p", value: "0.9"))
        #expect(read("/set") == .set(name: nil, value: nil))
        #expect(read("/set seed") == .set(name: "seed", value: nil))
        #expect(read("/system Be short.\nAnd kind.") == .system("Be short.\nAnd kind."))
        #expect(read("/system") == .system(nil) && read("/system -") == .system(""))
        #expect(read("/image my cat.png") == .image("my cat.png"))
        #expect(read("/save") == .incomplete("save", needs: "a file"))
        #expect(read("/draw out.png") == .draw("out.png") && read("/retry") == .regenerate)
        #expect(read("/dance") == .unknown("dance"))
    }

    @Test("a path that begins with a slash is no command")
    func paths() {
        #expect(read("/home/me/cat.png") == .message("/home/me/cat.png"))
        #expect(read("/cat.png", files: ["/cat.png"]) == .message("/cat.png"))
        #expect(read("/cat.png") == .unknown("cat.png"))
    }
}

@Suite struct MessageAssemblerTests {
    private func assemble(_ lines: [String]) -> [String] {
        var assembler = MessageAssembler()
        return lines.compactMap { assembler.push($0) } + (assembler.finish().map { ["open: " + $0] } ?? [])
    }

    @Test("a line that ends with a backslash goes on; two of them are text")
    func backslash() {
        #expect(assemble(["one\\", "two\\", "three", "four"]) == ["one\ntwo\nthree", "four"])
        #expect(assemble(["a\\\\"]) == ["a\\\\"])
        #expect(assemble(["一\\"]) == ["open: 一"])
    }

    @Test("all between two marks is one message")
    func block() {
        #expect(assemble(["\"\"\"", "one", "", "/help\\", "\"\"\"", "next"]) == ["one\n\n/help\\", "next"])
        #expect(assemble(["\"\"\"one", "two\"\"\""]) == ["one\ntwo"])
        #expect(assemble(["\"\"\"one\"\"\""]) == ["one"])
        #expect(assemble(["\"\"\"", "one"]) == ["open: one"])
        #expect(assemble(["a \"\"\" b"]) == ["a \"\"\" b"])
    }
}

@Suite struct PathWordsTests {
    private let words = PathWords(home: "/home/me")

    @Test(
        "a path is what terminals drop and people type",
        arguments: [
            ("cat.png", "cat.png"), (" my\\ cat.png ", "my cat.png"), ("'my cat.png'", "my cat.png"),
            ("\"/a b/c.png\"", "/a b/c.png"), ("file:///a%20b/%E5%9B%BE.png", "/a b/图.png"),
            ("file://host/a.png", "/a.png"), ("'file:///a%20b.png'", "/a b.png"),
            ("~/cat.png", "/home/me/cat.png"),
            ("'~/cat.png'", "~/cat.png"), ("my cat.png", "my cat.png"), ("it's.png", "it's.png"),
            ("a'b c'd.png", "ab cd.png"), ("~", "/home/me"), ("~you/a.png", "~you/a.png"), ("", ""),
            ("100%.png", "100%.png"), ("file:///100%.png", "/100%.png"),
        ]
    )
    func path(text: String, expected: String) {
        #expect(words.path(text) == expected)
    }

    @Test("pictures are taken from the beginning and the end of a text, if the files are there")
    func pictures() {
        let files: Set<String> = ["a.png", "my cat.JPG", "/tmp/x y.webp", "b.png", "notes.txt", ".png"]
        func look(_ text: String) -> [String] {
            let found = words.pictures(in: text) { files.contains($0) }
            return found.paths + [found.text]
        }
        #expect(look("a.png") == ["a.png", ""])
        #expect(look("a.png What is this?") == ["a.png", "What is this?"])
        #expect(look("What is this? '/tmp/x y.webp'") == ["/tmp/x y.webp", "What is this?"])
        #expect(look("a.png b.png compare") == ["a.png", "b.png", "compare"])
        #expect(look("my cat.JPG") == ["my cat.JPG", ""])
        #expect(look("my\\ cat.JPG b.png") == ["my cat.JPG", "b.png", ""])
        #expect(look("is a.png in b.png?") == ["is a.png in b.png?"])
        #expect(look("c.png what?") == ["c.png what?"])
        #expect(look("notes.txt") == ["notes.txt"])
        #expect(look(".png") == [".png"])
        #expect(look("don't touch it") == ["don't touch it"])
        #expect(look("a.png\nline one\n  line two") == ["a.png", "line one\n  line two"])
        #expect(look("") == [""])
    }
}
