import Testing
import VLHub

@Suite struct ModelReferenceTests {
    @Test(
        "short names, names without owner and whole names mean the same repository",
        arguments: [
            "vl2-tiny", "VL2-Tiny", "deepseek-vl2-tiny", "deepseek-ai/deepseek-vl2-tiny", "vl2-tiny@main",
        ]
    )
    func names(text: String) throws {
        let reference = try ModelReference(text)
        #expect(reference.repository == "deepseek-ai/deepseek-vl2-tiny")
        #expect(reference.revision == "main")
        #expect(reference.name == "deepseek-vl2-tiny")
        #expect(reference.description == "vl2-tiny")
    }

    @Test("every short name is read and printed as a name that reads back")
    func table() throws {
        #expect(ShortName.all.count == 12)
        for short in ShortName.all {
            let reference = try ModelReference(short.name + "@v1.0")
            #expect(reference.repository == short.repository)
            #expect(try ModelReference(reference.description) == reference)
        }
    }

    @Test(
        "branches, tags, pull requests and commits are revisions",
        arguments: [
            "main", "v1.0", "refs/pr/12", "feature/x-1", "0123456789abcdef0123456789abcdef01234567",
        ]
    )
    func revisions(text: String) throws {
        let reference = try ModelReference("org/name@\(text)")
        #expect(reference.revision == text)
        #expect(reference.isCommit == (text.count == 40))
    }

    @Test(
        "a name that could lead elsewhere, or that the hub does not allow, is refused",
        arguments: [
            "", "/", "a", "a/", "/a", "a/b/c", "../b", "a/..", "a/.", ".a/b", "a/b.", "-a/b", "a--b/c",
            "a/b..c", "a//b",
            "a\\b/c", "a b/c", "ä/b", "a/b.git", "a/b\0", "a/b\n", "org/" + String(repeating: "x", count: 93),
            "@main",
            "https://huggingface.co/a/b", "C:/a", "%2e%2e/a",
        ]
    )
    func refusedNames(text: String) {
        #expect(throws: HubError.repository(found: text)) { try ModelReference(text) }
    }

    @Test(
        "a revision that could lead elsewhere, or that git does not allow, is refused",
        arguments: [
            "", "..", "a/../b", "/a", "a/", "a//b", "a\\b", "a b", "a:b", "a^", "a~1", "a?", "a*", "a[",
            "a.lock", ".a", "a@{1",
            "a.", "-a", "a\0b", "ä", String(repeating: "x", count: 201),
        ]
    )
    func refusedRevisions(text: String) {
        #expect(throws: HubError.revision(found: text)) { try ModelReference("org/name@\(text)") }
    }

    @Test(
        "names of files that could lead out of the folder are refused",
        arguments: [
            "", "/a", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "a\\b", "..\\a", "a\0b", "a\nb",
            String(repeating: "x", count: 256), String(repeating: "abc/", count: 300) + "x",
        ]
    )
    func refusedFiles(name: String) {
        #expect(throws: HubError.fileName(found: name, repository: "o/n")) {
            try RepositoryFileName.check(name, repository: "o/n")
        }
    }

    @Test(
        "usual names of files pass",
        arguments: [
            "config.json", "onnx/model.onnx", ".gitattributes", "a b.txt", "ä.txt", "...", "a/..b",
        ]
    )
    func files(name: String) throws {
        try RepositoryFileName.check(name, repository: "o/n")
    }
}
