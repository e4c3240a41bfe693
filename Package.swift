// swift-tools-version: 6.2
import PackageDescription

/// What a target is: which floor it stands on decides what it may import (see docs/architecture.md; kept by
/// scripts/check-layers).
struct House {
    var kernels: [CSetting] { [.unsafeFlags(["-O3", "-ffp-contract=off"]), .treatAllWarnings(as: .error)] }
    var c: [CSetting] { [.unsafeFlags(["-O2"]), .treatAllWarnings(as: .error)] }
    var swift: [SwiftSetting] {
        [
            .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
            .enableExperimentalFeature("Lifetimes"),
        ]
    }

    /// A C target of ours.
    func c(
        _ name: String,
        _ dependencies: [Target.Dependency] = [],
        kernels isKernels: Bool = false,
        linking libraries: [String] = []
    ) -> Target {
        .target(
            name: name,
            dependencies: dependencies,
            cSettings: isKernels ? kernels : c,
            linkerSettings: libraries.map { .linkedLibrary($0) }
        )
    }

    /// A Swift library target.
    func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
        .target(name: name, dependencies: dependencies, swiftSettings: swift)
    }

    /// A Swift test target.
    func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
        .testTarget(name: name, dependencies: dependencies + ["VLTestSupport"], swiftSettings: swift)
    }

    /// A library of the system, found by pkg-config.
    func system(_ name: String, _ pkgConfig: String?, apt: String, brew: String) -> Target {
        .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt]), .brew([brew])])
    }
}

let house = House()
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
/// A product that is built only for the trait `Network`, without which the program neither downloads nor serves.
func network(_ product: String, _ package: String) -> Target.Dependency {
    .product(name: product, package: package, condition: .when(traits: ["Network"]))
}
/// What `pull` needs: a client for HTTP and hashes.
let networking = [
    network("AsyncHTTPClient", "async-http-client"), network("NIOCore", "swift-nio"),
    network("NIOHTTP1", "swift-nio"), network("NIOPosix", "swift-nio"), network("Crypto", "swift-crypto"),
]
/// What `serve` needs: an HTTP server, hashes for keys, logs.
let serving = [
    network("Hummingbird", "hummingbird"), network("HummingbirdCore", "hummingbird"),
    network("NIOHTTP1", "swift-nio"),
    network("HummingbirdTLS", "hummingbird"), network("NIOCore", "swift-nio"),
    network("Logging", "swift-log"), network("Crypto", "swift-crypto"),
    network("NIOHTTPTypes", "swift-nio-extras"),
    network("HTTPTypes", "swift-http-types"), network("NIOSSL", "swift-nio-ssl"),
    network("Tracing", "swift-distributed-tracing"), network("Configuration", "swift-configuration"),
    network("AsyncHTTPClient", "async-http-client"), network("NIOPosix", "swift-nio"),
]

let package = Package(
    name: "DeepSeekVL",
    platforms: [.macOS(.v26)],
    products: [
        .library(name: "DeepSeekVL", targets: ["DeepSeekVL"]),
        .executable(name: "deepseek-vl", targets: ["deepseek-vl"]),
    ],
    traits: [
        .default(enabledTraits: ["Network"]),
        .trait(
            name: "Network",
            description:
                "Downloads (pull) and serving (serve): SwiftNIO and TLS, most of a clean build's time"
        ),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
    ],
    targets: [
        // Floor 0: C.
        house.c("CVLKernels", kernels: true),
        house.c("CVLPool"),
        // The web page's files and the service's description stand in the program as they are; `#embed` is an
        // extension before C23.
        .target(
            name: "CVLWeb",
            exclude: ["assets", "openapi.json"],
            cSettings: house.c + [.unsafeFlags(["-Wno-c23-extensions"])]
        ),
        // giflib has no pkg-config file, so the linker is told by hand.
        house.c("CVLCodecs", ["CJPEG", "CPNG", "CWebP", "CGIF", "CTIFF"], linking: ["gif"]),
        house.system("CJPEG", "libjpeg", apt: "libjpeg62-turbo-dev", brew: "jpeg-turbo"),
        house.system("CPNG", "libpng", apt: "libpng-dev", brew: "libpng"),
        house.system("CWebP", "libwebpdemux", apt: "libwebp-dev", brew: "webp"),
        house.system("CGIF", nil, apt: "libgif-dev", brew: "giflib"),
        house.system("CTIFF", "libtiff-4", apt: "libtiff-dev", brew: "libtiff"),
        house.system("CFreeType", "freetype2", apt: "libfreetype-dev", brew: "freetype"),
        house.system("CFontconfig", "fontconfig", apt: "libfontconfig-dev", brew: "fontconfig"),
        house.c("CVLTerminal", ["CEditline"]),
        house.system("CEditline", "libedit", apt: "libedit-dev", brew: "libedit"),
        house.system("CPCRE2", "libpcre2-8", apt: "libpcre2-dev", brew: "pcre2"),
        // Floor 1: arithmetic and JSON.
        house.library("VLTensor", ["CVLKernels", "CVLPool"]),
        house.library("VLJSON", []),
        house.library("VLTerminal", ["CVLTerminal"]),
        // Floor 2: files, tokens, pixels.
        house.library("VLFormats", ["VLJSON"]),
        house.library("VLHub", ["VLFormats", "VLJSON"]),
        house.library("VLText", ["VLJSON", "CPCRE2"]),
        house.library("VLImage", ["CVLCodecs"]),
        house.library("VLDraw", ["VLImage", "CFreeType", "CFontconfig"]),
        // Floor 3: what the networks are.
        house.library("VLModels", ["VLTensor", "VLJSON", "VLFormats", "VLText", "VLImage"]),
        // What answers may be, over a vocabulary.
        house.library("VLGrammar", ["VLText", "VLJSON"]),
        // Floor 4: requests in, tokens out.
        house.library("VLEngine", ["VLModels", "VLTensor", "VLText", "VLGrammar"]),
        // Floor 5: programs as libraries.
        house.library(
            "DeepSeekVL",
            [
                "CVLKernels", "VLEngine", "VLModels", "VLTensor", "VLFormats", "VLHub", "VLText", "VLImage",
                "VLJSON", "VLGrammar",
            ]
        ),
        house.library("VLPull", ["VLHub", "VLFormats", "VLJSON"] + networking),
        house.library(
            "VLServer",
            [
                "CVLWeb", "DeepSeekVL", "VLEngine", "VLGrammar", "VLModels", "VLTensor", "VLText", "VLImage",
                "VLJSON", "VLFormats",
            ] + serving
        ),
        house.library("VLEval", ["VLJSON"]),
        house.library(
            "VLQuantize",
            ["VLModels", "VLEngine", "VLTensor", "VLFormats", "VLText", "VLImage", "VLJSON", "CVLKernels"]
        ),
        // Floor 6: the command line.
        .executableTarget(
            name: "deepseek-vl",
            dependencies: [
                "DeepSeekVL", "VLEval", "VLQuantize", "VLPull", "VLServer", "VLHub", "VLEngine", "VLModels",
                "VLTensor", "VLFormats", "VLText", "VLImage", "VLDraw", "VLJSON", "VLTerminal", "CVLKernels",
                argumentParser, network("Logging", "swift-log"),
            ],
            swiftSettings: house.swift
        ),
        // The README's example: what a user of the library writes, with the public face alone.
        .executableTarget(
            name: "AskFromSwift",
            dependencies: ["DeepSeekVL"],
            path: "Examples/AskFromSwift",
            swiftSettings: house.swift
        ),
        // Tests.
        .target(
            name: "VLTestSupport",
            dependencies: ["VLJSON"],
            path: "Tests/VLTestSupport",
            swiftSettings: house.swift
        ),
        .target(name: "CVLTestSupport", path: "Tests/CVLTestSupport", cSettings: house.c),
        house.tests("KernelTests", ["CVLKernels"]),
        house.tests("TensorTests", ["VLTensor", "CVLKernels", "CVLPool"]),
        house.tests("JSONTests", ["VLJSON"]),
        house.tests("FormatsTests", ["VLFormats", "VLJSON"]),
        house.tests(
            "HubTests",
            ["VLHub", "VLPull", "VLFormats", "VLJSON", "deepseek-vl", network("Crypto", "swift-crypto")]
        ),
        house.tests("TextTests", ["VLText", "VLJSON"]),
        house.tests("ImageTests", ["VLImage", "VLJSON"]),
        house.tests("ModelsTests", ["VLModels", "VLFormats", "VLTensor", "VLImage", "VLText", "VLJSON"]),
        house.tests("EngineTests", ["VLEngine", "VLModels", "VLFormats", "VLJSON"]),
        house.tests(
            "GrammarTests",
            ["VLGrammar", "DeepSeekVL", "VLEngine", "VLModels", "VLTensor", "VLText", "VLJSON", "VLImage"]
        ),
        house.tests("DrawTests", ["VLDraw", "VLImage"]),
        // These start the program, which has to be built before.
        house.tests("ChatTests", ["VLTerminal", "CVLTestSupport", "deepseek-vl"]),
        house.tests("EvalTests", ["VLEval", "VLJSON"]),
        house.tests(
            "ServerTests",
            [
                "CVLWeb", "VLServer", "DeepSeekVL", "VLEngine", "VLText", "VLModels", "VLJSON",
                network("Logging", "swift-log"),
                network("Tracing", "swift-distributed-tracing"),
                network("InMemoryTracing", "swift-distributed-tracing"),
            ]
        ),
        house.tests(
            "VerifyTests",
            [
                "VLQuantize", "DeepSeekVL", "VLEval", "VLModels", "VLEngine", "VLTensor", "VLFormats",
                "VLText", "VLJSON",
                "deepseek-vl",
            ]
        ),
        house.tests(
            "QuantizeTests",
            [
                "VLQuantize", "DeepSeekVL", "VLEngine", "VLModels", "VLTensor", "VLFormats", "VLText",
                "VLJSON", "CVLKernels",
                "deepseek-vl",
            ]
        ),
        house.tests(
            "LibraryTests",
            [
                "DeepSeekVL", "VLQuantize", "VLEngine", "VLModels", "VLFormats", "VLImage", "VLTensor",
                "VLText", "VLJSON",
            ]
        ),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .c17
)
