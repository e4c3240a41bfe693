import ArgumentParser
import CVLKernels
import DeepSeekVL
import VLJSON
import VLModels
import VLTensor

/// Measures a model, or random weights at a published shape.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure load, vision, prefill, decode and peak memory.",
        discussion: """
            Examples:

              deepseek-vl bench --config vl2-tiny --weights bf16 --limits
              deepseek-vl bench --model deepseek-vl2-tiny --part language --depth 4096
            """
    )

    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions
    @Option(
        help: ArgumentHelp(
            "Random weights at a published shape: \(KnownShape.allCases.map(\.rawValue).joined(separator: ", ")).",
            valueName: "shape"
        )
    )
    var config: String?
    @Option(help: "all, language or vision.")
    var part = Benchmark.Part.all
    @Option(name: .customLong("prompt"), help: "Tokens of a prefill.")
    var promptTokens = 512
    @Option(name: .customLong("generate"), help: "Tokens that are decoded.")
    var generated = 64
    @Option(help: "Tiles that are encoded at once.")
    var tiles = 1
    @Option(help: "Sequences that decode together.")
    var batch = 1
    @Option(name: .customLong("repeat"), help: "Measurements of each part; the median is reported.")
    var repeats = 5
    @Option(help: "Positions that the cache holds before prefill and decode.")
    var depth = 0
    @Flag(help: "Also measures this machine's limits, and prints each figure's share.")
    var limits = false

    func validate() throws {
        if config != nil && model.model != nil {
            throw ValidationError("expected --config or --model, found both")
        }
        for (name, value, range) in [
            ("prompt", promptTokens, 1...1_000_000), ("generate", generated, 1...1_000_000),
            ("tiles", tiles, 1...1024),
            ("batch", batch, 1...4096), ("repeat", repeats, 1...1000), ("depth", depth, 0...1_000_000),
        ] { try WholeNumber.check(name, value, range) }
        if let config, KnownShape(rawValue: config) == nil {
            throw ValidationError(
                "--config: expected one of \(KnownShape.allCases.map(\.rawValue).joined(separator: ", ")), found '\(config)' (other shapes are not supported yet)"
            )
        }
    }

    func run() throws {
        var benchmark = Benchmark()
        benchmark.part = part
        benchmark.promptTokens = promptTokens
        benchmark.generatedTokens = generated
        benchmark.tiles = tiles
        benchmark.batch = batch
        benchmark.repeats = repeats
        benchmark.depth = depth
        benchmark.cacheType = model.cacheType
        benchmark.measuresLimits = limits
        let report: Benchmark.Report
        if let config, let shape = KnownShape(rawValue: config) {
            report = try measureRandom(benchmark, shape, model.weights ?? .bfloat16)
        } else {
            let host = try model.host()
            report = benchmark.measure(
                host.loaded.language,
                host.loaded.vision,
                name: host.loaded.name,
                weights: (model.weights ?? host.loaded.weightType).rawValue,
                modelBytes: host.loaded.weightBytes,
                loadSeconds: host.loadSeconds,
                run: host.run,
                onStep: step
            )
        }
        Terminal.clearProgress()
        let printer = BenchReport(report)
        Terminal.output(output.format == .json ? printer.json + "\n" : printer.text)
    }

    private func step(_ name: String) {
        if Terminal.showsProgress {
            Terminal.clearProgress()
            Terminal.progress(name, 0, of: 1)
        }
    }

    private func measureRandom(
        _ benchmark: Benchmark,
        _ shape: KnownShape,
        _ type: DType
    ) throws -> Benchmark.Report {
        let pool = ThreadPool(threads: model.threads)
        let run = Run(pool: pool, compute: model.compute)
        do {
            let config = try shape.config()
            let policy = WeightPolicy(
                language: type,
                vision: model.visionWeights ?? (type.isBlock ? .bfloat16 : type)
            )
            let needed = try Int(Double(Registry.parameterCount(config)) * type.bitsPerValue / 8)
            if let available = Memory.availableBytes, needed > available {
                throw LoadError.memory(
                    what: "\(shape.rawValue) in \(type.rawValue)",
                    needed: needed,
                    available: available
                )
            }
            let clock = ContinuousClock()
            let start = clock.now
            let source = RandomWeights(name: shape.rawValue, type: .bfloat16, policy: policy, pool: pool)
            let loader = WeightLoader(source, run, policy: policy)
            let network = try Registry.network(config, Weights(loader)) { done, total in
                Terminal.progress("weights", done, of: total)
            }
            if let cacheType = model.cacheType { try ModelHost.check(cacheType, network.language) }
            return benchmark.measure(
                network.language,
                network.vision,
                name: shape.rawValue,
                weights: type.rawValue,
                modelBytes: loader.byteCount,
                loadSeconds: (clock.now - start).seconds,
                run: run,
                onStep: step
            )
        } catch let error as LoadError {
            throw CommandFailure(description: error.description)
        }
    }
}

extension Benchmark.Part: ExpressibleByArgument {}

/// The report of `bench`, as a table and as JSON.
struct BenchReport {
    private let report: Benchmark.Report
    private let peak = Memory.peakBytes
    private let cpu = String(cString: vl_cpu_name())

    init(_ report: Benchmark.Report) {
        self.report = report
    }

    private func figure(_ value: Double, _ digits: Int = 1) -> String {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        return "\((value * scale).rounded() / scale)"
    }

    var text: String {
        var lines = [
            "\(report.config), \(report.weights) weights, \(report.threads) threads, \(report.instructionSet), \(cpu)",
            "load      \(figure(report.loadSeconds, 3)) s, \(report.modelBytes / 1_000_000) MB of weights",
        ]
        func share(_ value: Double, _ limit: Double?) -> String {
            guard let limit, limit > 0 else { return "" }
            return ", \(figure(100 * value / limit, 0)) % of the limit"
        }
        let arithmetic = report.limits.map {
            report.computesInBF16 && $0.bf16Gigaflops > 0 ? $0.bf16Gigaflops : $0.f32Gigaflops
        }
        if let vision = report.vision {
            let gigaflops = vision.flops / vision.seconds.median / 1e9
            lines.append(
                "vision    \(figure(vision.seconds.median, 3)) s for \(vision.tiles) tiles (\(figure(vision.seconds.minimum, 3)) to \(figure(vision.seconds.maximum, 3))), \(figure(gigaflops)) GFLOP/s"
                    + share(gigaflops, arithmetic)
            )
        }
        if let prefill = report.prefill {
            let gigaflops = prefill.flops / prefill.seconds.median / 1e9
            lines.append(
                "prefill   \(figure(Double(prefill.tokens) / prefill.seconds.median)) tokens/s for \(prefill.tokens), \(figure(gigaflops)) GFLOP/s"
                    + share(gigaflops, arithmetic)
            )
        }
        if let decode = report.decode {
            let rate = Double(decode.tokens) / decode.seconds.median
            let bandwidth = rate / Double(decode.batch) * decode.bytesPerToken / 1e9
            lines.append(
                "decode    \(figure(rate)) tokens/s, \(figure(bandwidth)) GB/s"
                    + share(bandwidth, report.limits?.readGigabytesPerSecond)
            )
        }
        if let limits = report.limits {
            lines.append(
                "limits    read \(figure(limits.readGigabytesPerSecond)) GB/s, float32 \(figure(limits.f32Gigaflops)), bfloat16 \(figure(limits.bf16Gigaflops)) GFLOP/s, int8 \(figure(limits.int8Gigaops)) GOP/s"
            )
        }
        lines.append("memory    \(peak / 1_000_000) MB at most")
        return lines.joined(separator: "\n") + "\n"
    }

    var json: String {
        func spread(_ value: Benchmark.Spread) -> [(String, JSONValue)] {
            [
                ("s", .number(value.median)), ("s_min", .number(value.minimum)),
                ("s_max", .number(value.maximum)),
                ("samples_s", .array(value.samples.map { .number($0.seconds) })),
                ("samples_start_s", .array(value.samples.map { .number($0.start) })),
            ]
        }
        func object(_ pairs: [(String, JSONValue)]) -> JSONValue {
            var object = JSONObject()
            for (key, value) in pairs { object[key] = value }
            return .object(object)
        }
        var pairs: [(String, JSONValue)] = [
            ("config", .string(report.config)), ("weights", .string(report.weights)),
            ("threads", .integer(Int64(report.threads))), ("cpu", .string(cpu)),
            ("isa", .string(report.instructionSet)),
            ("load_s", .number(report.loadSeconds)), ("model_bytes", .integer(Int64(report.modelBytes))),
            ("peak_memory_bytes", .integer(Int64(peak))),
        ]
        if let vision = report.vision {
            let seconds = vision.seconds.median
            pairs.append(
                (
                    "vision",
                    object(
                        [("tiles", .integer(Int64(vision.tiles)))] + spread(vision.seconds) + [
                            ("tiles_per_s", .number(Double(vision.tiles) / seconds)),
                            ("gflops", .number(vision.flops / seconds / 1e9)),
                        ]
                    )
                )
            )
        }
        if let prefill = report.prefill {
            let seconds = prefill.seconds.median
            pairs.append(
                (
                    "prefill",
                    object(
                        [("tokens", .integer(Int64(prefill.tokens)))] + spread(prefill.seconds) + [
                            ("tokens_per_s", .number(Double(prefill.tokens) / seconds)),
                            ("gflops", .number(prefill.flops / seconds / 1e9)),
                        ]
                    )
                )
            )
        }
        if let decode = report.decode {
            let rate = Double(decode.tokens) / decode.seconds.median
            pairs.append(
                (
                    "decode",
                    object(
                        [("tokens", .integer(Int64(decode.tokens)))] + spread(decode.seconds) + [
                            ("tokens_per_s", .number(rate)),
                            ("bytes_per_token", .number(decode.bytesPerToken)),
                            ("gb_per_s", .number(rate / Double(decode.batch) * decode.bytesPerToken / 1e9)),
                        ]
                    )
                )
            )
        }
        if let limits = report.limits {
            pairs.append(
                (
                    "limits",
                    object([
                        ("read_gb_per_s", .number(limits.readGigabytesPerSecond)),
                        ("f32_gflops", .number(limits.f32Gigaflops)),
                        ("bf16_gflops", .number(limits.bf16Gigaflops)),
                        ("int8_gops", .number(limits.int8Gigaops)),
                    ])
                )
            )
        }
        return String(decoding: JSONWriter.encode(object(pairs), .pretty), as: UTF8.self)
    }
}
