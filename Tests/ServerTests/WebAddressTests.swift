#if Network
import Testing
import VLServer

@Suite("Web addresses of pictures")
struct WebAddressTests {
    @Test(
        "are read strictly",
        arguments: [
            ("https://example.org/a.png?b=c#d", "https://example.org:443/a.png?b=c"),
            ("HTTP://Example.ORG", "http://example.org:80/"),
            ("http://[2001:DB8::1]:81/x", "http://[2001:db8::1]:81/x"),
            ("http://a_b.example:65535?q", "http://a_b.example:65535/?q"),
        ]
    )
    func reading(text: String, wanted: String) { #expect(WebAddress(text)?.description == wanted) }

    @Test(
        "are nothing that parsers disagree about",
        arguments: [
            "", "http://", "ftp://example.org", "http:/example.org", "http://user@example.org/",
            "http://a b/",
            "http://example.org\\@evil.example/", "http://example.org:0/", "http://example.org:65536/",
            "http://example.org:80:80/", "http://exa%6dple.org/", "http://ex\u{E4}mple.org/", "http://a..b/",
            "http://example.org./", "http://[::1", "http://[example]/", "http://[::1%25eth0]/",
            "http://a\n.b/",
            "file:///etc/passwd", "http://example.org:+80/",
        ]
    )
    func refusing(text: String) { #expect(WebAddress(text) == nil) }

    @Test("are on a host of the list, or below one with a star")
    func hosts() {
        let list = ["example.org", "*.Pictures.example"]
        for host in ["example.org", "a.pictures.example", "a.b.pictures.example"] {
            #expect(WebAddress.allows(host, list))
        }
        for host in [
            "www.example.org", "example.org.evil", "pictures.example", "evilpictures.example", "", "*",
        ] {
            #expect(!WebAddress.allows(host, list))
        }
        #expect(!WebAddress.allows("example.org", []))
    }

    @Test("lead on to plain addresses only")
    func redirections() throws {
        let address = try #require(WebAddress("https://example.org:444/a/b?c"))
        #expect(address.following("/x")?.description == "https://example.org:444/x")
        #expect(address.following("//other.example/x")?.description == "https://other.example:443/x")
        #expect(address.following("http://other.example")?.isSecure == false)
        for location in ["", "x", "file:///x", "javascript:x", "https:///x"] {
            #expect(address.following(location) == nil)
        }
    }

    @Test(
        "have addresses that are open to everybody",
        arguments: [
            [1, 1, 1, 1], [8, 8, 8, 8], [93, 184, 216, 34], [172, 15, 255, 255], [172, 32, 0, 0],
            [192, 167, 1, 1],
            [100, 63, 0, 1], [100, 128, 0, 1], [198, 17, 0, 1], [223, 255, 255, 255],
            [0x26, 6, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            [0x2A, 0, 0x14, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ] as [[UInt8]]
    )
    func global(bytes: [UInt8]) { #expect(GlobalAddress.isGlobal(bytes)) }

    @Test(
        "have no private, local, shared, documented, carried or multicast ones",
        arguments: [
            [0, 0, 0, 0], [10, 1, 2, 3], [100, 64, 0, 1], [100, 127, 255, 255], [127, 0, 0, 1],
            [127, 255, 0, 1],
            [169, 254, 169, 254], [172, 16, 0, 1], [172, 31, 255, 255], [192, 0, 0, 8], [192, 0, 2, 1],
            [192, 88, 99, 1], [192, 168, 0, 1], [198, 18, 0, 1], [198, 19, 255, 255], [198, 51, 100, 1],
            [203, 0, 113, 1], [224, 0, 0, 1], [239, 255, 255, 255], [240, 0, 0, 1], [255, 255, 255, 255], [],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 8, 8, 8, 8],
            [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1],
            [0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            [0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            [0x20, 2, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            [0x3F, 0xFF, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            [0xFC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            [0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            [0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            [0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ] as [[UInt8]]
    )
    func special(bytes: [UInt8]) { #expect(!GlobalAddress.isGlobal(bytes)) }
}

@Suite("Options of a server")
struct OptionSourcesTests {
    private let options: [String: OptionSources.Kind] = [
        "port": .value, "cors-origin": .list, "quiet": .flag,
    ]

    @Test("come from the environment where the command line gives none, with lists and flags")
    func environment() throws {
        let environment = [
            "DEEPSEEK_VL_SERVE_PORT": "81", "DEEPSEEK_VL_SERVE_CORS_ORIGIN": "a,b",
            "DEEPSEEK_VL_SERVE_QUIET": "true",
            "PORT": "9",
        ]
        let all = try OptionSources.arguments(options, given: [], file: nil, environment: environment)
        #expect(all == ["--cors-origin=a", "--cors-origin=b", "--port=81", "--quiet"])
        let given: Set = ["port", "cors-origin"]
        let rest = try OptionSources.arguments(options, given: given, file: nil, environment: environment)
        #expect(rest == ["--quiet"])
        #expect(throws: OptionError.self) {
            try OptionSources.arguments(
                options,
                given: [],
                file: nil,
                environment: ["DEEPSEEK_VL_SERVE_PROT": "81"]
            )
        }
    }
}
#endif
