import CVLKernels
import VLJSON
import VLModels
import VLTensor

/// Measures a model: load, vision, prefill, decode, peak memory, and the machine's limits beside them.
package struct Benchmark {
    /// What to measure.
    package enum Part: String, CaseIterable, Sendable {
        case all, language, vision
    }

    package var part = Part.all
    /// Tokens of a prefill.
    package var promptTokens = 512
    /// Tokens that are decoded.
    package var generatedTokens = 64
    /// Tiles that are encoded at once.
    package var tiles = 1
    /// Sequences that decode together.
    package var batch = 1
    /// Measurements of each part; the median is reported.
    package var repeats = 5
    /// Positions that the cache holds before prefill and decode.
    package var depth = 0
    /// Type of the key-value cache; nil lets the model choose (`LanguageModel.cacheType`).
    package var cacheType: DType?
    package var measuresLimits = false

    /// When this benchmark was made: the zero of `Sample.start`.
    private let origin = ContinuousClock.now

    package init() {}

    /// One measurement, in seconds.
    package struct Sample: Sendable {
        /// Since the benchmark was made, so that an observer can tell what else ran meanwhile.
        package let start: Double
        package let seconds: Double
    }

    /// Median, smallest and largest of some measurements.
    package struct Spread: Sendable {
        package let median, minimum, maximum: Double
        /// The measurements in their order.
        package let samples: [Sample]

        package init(_ values: [Double]) {
            self.init(samples: values.map { Sample(start: 0, seconds: $0) })
        }

        package init(samples: [Sample]) {
            self.samples = samples
            let sorted = samples.map(\.seconds).sorted()
            minimum = sorted.first ?? 0
            maximum = sorted.last ?? 0
            let middle = sorted.count / 2
            median =
                sorted.isEmpty
                ? 0 : sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        }
    }

    /// What was measured, in the order of the report.
    package struct Report {
        package var config: String
        package var weights: String
        package var threads: Int
        package var instructionSet: String
        package var loadSeconds: Double
        package var modelBytes: Int
        package var vision: (tiles: Int, seconds: Spread, flops: Double)?
        package var prefill: (tokens: Int, seconds: Spread, flops: Double)?
        package var decode: (tokens: Int, seconds: Spread, bytesPerToken: Double, batch: Int)?
        /// Whether matrix products run in bfloat16.
        package var computesInBF16 = false
        package var limits: Limits?
    }

    /// What the machine can do with the same threads.
    package struct Limits {
        package var readGigabytesPerSecond, f32Gigaflops, bf16Gigaflops, int8Gigaops: Double
    }

    /// Runs the measurements; `onStep` names each before it starts.
    package func measure(
        _ language: any LanguageModel,
        _ vision: (any VisionEncoder)?,
        name: String,
        weights: String,
        modelBytes: Int,
        loadSeconds: Double,
        run: Run,
        onStep: (String) -> Void
    ) -> Report {
        var report = Report(
            config: name,
            weights: weights,
            threads: run.pool.threads,
            instructionSet: run.instructionSet,
            loadSeconds: loadSeconds,
            modelBytes: modelBytes
        )
        report.computesInBF16 =
            weights == DType.bfloat16.rawValue && run.compute == .auto
            && run.kernels.pointee.nt_bf16_bf16 != nil
        if measuresLimits {
            onStep("limits")
            report.limits = Self.limits(run.pool)
        }
        if part != .language, let vision {
            onStep("vision")
            report.vision = measureVision(vision, run)
        }
        if part != .vision {
            onStep("prefill")
            report.prefill = measurePrefill(language, run)
            onStep("decode")
            let decode = measureDecode(language, run)
            report.decode = (decode.0, decode.1, decode.2, batch)
        }
        return report
    }

    private func repeated(_ body: () -> Double) -> Spread {
        _ = body()
        return Spread(
            samples: (0..<max(1, repeats)).map { _ in
                let start = (ContinuousClock.now - origin).seconds
                return Sample(start: start, seconds: body())
            }
        )
    }

    private func time(_ body: () -> Void) -> Double {
        let clock = ContinuousClock()
        let start = clock.now
        body()
        return (clock.now - start).seconds
    }

    private func measureVision(_ model: any VisionEncoder, _ run: Run) -> (Int, Spread, Double) {
        let count = tiles * 3 * model.tileSize * model.tileSize
        let pixels = (0..<count).map { Float($0 % 255) / 127.5 - 1 }
        let spread = repeated {
            time {
                run.scoped {
                    pixels.withUnsafeBufferPointer { pixels in
                        guard let base = pixels.baseAddress else { return }
                        _ = model.encode(base, tiles: tiles, run)
                    }
                }
            }
        }
        return (tiles, spread, model.visionFlopsPerTile * Double(tiles))
    }

    private func cache(_ language: any LanguageModel, _ run: Run, more: Int) -> KVCache {
        let layout = language.cacheLayout(language.cacheType(cacheType, run))
        let cache = KVCache(layout, maximum: depth + more)
        cache.reserve(depth + more)
        cache.advance(depth)
        return cache
    }

    private func ids(_ count: Int, _ language: any LanguageModel) -> [Int32] {
        (0..<count).map { Int32(($0 * 7919 + 13) % language.vocabularySize) }
    }

    private func measurePrefill(_ language: any LanguageModel, _ run: Run) -> (Int, Spread, Double) {
        let ids = ids(promptTokens, language)
        let spread = repeated {
            let cache = cache(language, run, more: promptTokens)
            return time {
                run.scoped {
                    let x = run.workspace.matrix(promptTokens, language.hiddenSize)
                    ids.withUnsafeBufferPointer { language.embed($0, into: x, run) }
                    language.forward(
                        x,
                        Batch([Segment(rows: 0..<promptTokens, cache: cache, firstPosition: depth)]),
                        run
                    )
                    _ = language.logits(
                        language.finalNorm(x[rows: promptTokens - 1..<promptTokens], run),
                        run
                    )
                }
            }
        }
        // The output head runs for the last token only.
        let head = Double(language.hiddenSize * language.vocabularySize)
        let perToken = 2 * (Double(language.activeParameters) - head)
        return (promptTokens, spread, perToken * Double(promptTokens) + 2 * head)
    }

    private func measureDecode(
        _ language: any LanguageModel,
        _ run: Run
    ) -> (Int, Spread, Double) {
        let caches = (0..<batch).map { _ in cache(language, run, more: generatedTokens) }
        // Other tokens in each step, since a mixture's experts are chosen by them.
        let ids = ids(batch * generatedTokens, language)
        var weightBytes = 0
        let spread = repeated {
            for cache in caches { cache.truncate(to: depth) }
            run.readBytes = 0
            defer { weightBytes = run.readBytes }
            return time {
                for step in 0..<generatedTokens {
                    run.scoped {
                        let x = run.workspace.matrix(batch, language.hiddenSize)
                        ids.withUnsafeBufferPointer {
                            language.embed(
                                UnsafeBufferPointer(rebasing: $0[step * batch..<(step + 1) * batch]),
                                into: x,
                                run
                            )
                        }
                        let segments = caches.enumerated().map {
                            Segment(rows: $0..<$0 + 1, cache: $1, firstPosition: $1.count)
                        }
                        language.forward(x, Batch(segments), run)
                        _ = language.logits(language.finalNorm(x, run), run)
                    }
                }
            }
        }
        let cacheBytes =
            Double(caches[0].layout.bytesPerToken) * (Double(depth) + Double(generatedTokens) / 2)
        return (
            generatedTokens * batch, spread,
            Double(weightBytes) / Double(generatedTokens) + cacheBytes * Double(batch)
        )
    }

    /// Reads memory and multiplies on all threads of the pool; the best of three.
    package static func limits(_ pool: ThreadPool) -> Limits {
        let clock = ContinuousClock()
        func best(_ body: () -> Double) -> Double {
            (0..<3).map { _ in
                let start = clock.now
                let work = body()
                return work / (clock.now - start).seconds / 1e9
            }.max() ?? 0
        }
        let share = 256 << 20
        let memory = WeightBuffer(byteCount: share * pool.threads)
        guard let base = memory.bytes.baseAddress else {
            return Limits(readGigabytesPerSecond: 0, f32Gigaflops: 0, bf16Gigaflops: 0, int8Gigaops: 0)
        }
        memory.bytes.initializeMemory(as: UInt8.self, repeating: 1)
        let read = best {
            pool.parallel(pool.threads) { _ = vl_probe_read(base + $0 * share, Int64(share)) }
            return Double(share * pool.threads)
        }
        func probe(_ kernel: (Int64) -> Double) -> Double {
            best {
                pool.parallel(pool.threads) { _ in _ = kernel(10_000_000) }
                return kernel(0) + Double(pool.threads) * kernel(1) * 10_000_000
            }
        }
        return Limits(
            readGigabytesPerSecond: read,
            f32Gigaflops: probe(vl_probe_f32),
            bf16Gigaflops: probe(vl_probe_bf16),
            int8Gigaops: probe(vl_probe_int8)
        )
    }
}
