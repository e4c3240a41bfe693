import Testing
import VLHub
import VLTestSupport

@Suite struct HubSettingsTests {
    private func settings(_ variables: [String: String]) throws -> HubSettings {
        try HubSettings { variables[$0] }
    }

    @Test(
        "the cache lies where huggingface_hub has it",
        arguments: [
            (["HOME": "/h"], "/h/.cache/huggingface/hub"),
            (["HOME": "/h", "XDG_CACHE_HOME": "/x"], "/x/huggingface/hub"),
            (["HOME": "/h", "HF_HOME": "~/hf"], "/h/hf/hub"),
            (["HOME": "/h", "HF_HOME": "/hf", "HF_HUB_CACHE": "$HOME/c/${HF_HOME}x"], "/h/c//hfx"),
            (["HUGGINGFACE_HUB_CACHE": "/old"], "/old"),
            (["HF_HUB_CACHE": "/new", "HUGGINGFACE_HUB_CACHE": "/old"], "/new"),
            (["HF_HUB_CACHE": "/a$UNKNOWN/${b"], "/a$UNKNOWN/${b"),
            (["HF_HUB_CACHE": "", "HF_HOME": "/hf"], "/hf/hub"),
        ]
    )
    func cache(variables: [String: String], expected: String) throws {
        #expect(try settings(variables).cache == expected)
        #expect(HubSettings.cacheFolder { variables[$0] } == expected)
    }

    @Test("a folder that is named wins over the environment")
    func named() throws {
        #expect(try HubSettings(cache: "/mine") { ["HF_HUB_CACHE": "/c"][$0] }.cache == "/mine")
    }

    @Test("the address of the hub loses its slashes at the end")
    func endpoint() throws {
        #expect(try settings([:]).endpoint == "https://huggingface.co")
        #expect(try settings(["HF_ENDPOINT": "http://h:1/p//"]).endpoint == "http://h:1/p")
    }

    @Test("the token comes from the variable, else from the file, without white space")
    func token() throws {
        let folder = try ScratchFolder()
        let file = try folder.write("token", Array(" hf_file\n".utf8))
        #expect(try settings(["HF_HOME": folder.path]).token == "hf_file")
        #expect(try settings(["HF_TOKEN_PATH": file]).token == "hf_file")
        #expect(try settings(["HF_HOME": folder.path, "HF_TOKEN": "hf_env\r\n"]).token == "hf_env")
        #expect(try settings(["HF_HOME": folder.path, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"]).token == nil)
        #expect(try settings(["HF_HOME": folder("none")]).token == nil)
    }

    @Test("a token that would break out of its header is refused, and not printed")
    func badToken() throws {
        let error = #expect(throws: HubError.self) { try settings(["HF_TOKEN": "secret\r\nX-Evil: 1"]) }
        #expect(error?.description.contains("secret") == false)
    }

    @Test(
        "a proxy is used, but not for hosts that are excepted",
        arguments: [
            (["HTTPS_PROXY": "http://p:1"], "http://p:1"),
            (["https_proxy": "p:2", "HTTPS_PROXY": "p:1"], "p:2"),
            (["HTTPS_PROXY": "p:1", "NO_PROXY": "a.b, huggingface.co"], nil),
            (["HTTPS_PROXY": "p:1", "NO_PROXY": ".co"], nil),
            (["HTTPS_PROXY": "p:1", "NO_PROXY": "face.co"], "p:1"),
            (["HTTPS_PROXY": "p:1", "no_proxy": "*"], nil),
            (["HTTPS_PROXY": "p:1", "HF_ENDPOINT": "http://h:80"], nil),
        ]
    )
    func proxy(variables: [String: String], expected: String?) throws {
        #expect(try settings(variables).proxy == expected)
    }

    @Test("the network is left alone when either variable says so", arguments: ["1", "ON", "yes", "true"])
    func offline(value: String) throws {
        #expect(try settings(["HF_HUB_OFFLINE": value]).isOffline)
        #expect(try settings(["TRANSFORMERS_OFFLINE": value]).isOffline)
        #expect(try !settings(["HF_HUB_OFFLINE": "0"]).isOffline)
    }
}
