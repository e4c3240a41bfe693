import Testing
import VLEngine
import VLFormats
import VLJSON
import VLTestSupport

/// A case of `Tests/Fixtures/sampling`: what the logits processors of transformers 5.23 give.
struct SamplingCase: CustomTestStringConvertible, Sendable {
    let key: String
    let options: SamplingOptions
    let testDescription: String

    /// Steps of a case stand in the order in which `Sampler` takes them.
    static let order = ["repetition_penalty", "temperature", "top_k", "top_p", "min_p"]

    static let all: [SamplingCase] = {
        do {
            let file = try JSONValue(parsing: fixtureBytes("sampling/sampling.json"))
            return try (file["cases"]?.asArray ?? []).map(SamplingCase.init)
        } catch {
            Issue.record("sampling.json: \(error)")
            return []
        }
    }()

    init(_ value: JSONValue) throws {
        key = try #require(value["key"]?.asString)
        var options = SamplingOptions()
        options.temperature = 1
        var names: [String] = []
        for step in try #require(value["steps"]?.asArray) {
            let pair = try #require(step.asArray)
            let name = try #require(pair[0].asString)
            let number = try #require(pair[1].asDouble)
            names.append(name)
            switch name {
            case "repetition_penalty": options.repetitionPenalty = Float(number)
            case "temperature": options.temperature = Float(number)
            case "top_k": options.topK = Int(number)
            case "top_p": options.topP = Float(number)
            case "min_p": options.minP = Float(number)
            default: Issue.record("\(key): unknown step \(name)")
            }
        }
        #expect(names == Self.order.filter(names.contains))
        self.options = options
        testDescription = "\(key) \(names.joined(separator: " "))"
    }
}

@Suite struct SamplerTests {
    private func probabilities(
        _ options: SamplingOptions,
        _ logits: [Float],
        prompt: [Int32] = []
    ) -> [Float] {
        var sampler = Sampler(options, vocabularySize: logits.count, prompt: prompt)
        return logits.withUnsafeBufferPointer { sampler.probabilities($0) }
    }

    private func next(_ sampler: inout Sampler, _ logits: [Float]) -> Int32 {
        logits.withUnsafeBufferPointer { sampler.next($0) }
    }

    /// Options for draws at temperature 1.
    private func warm(_ change: (inout SamplingOptions) -> Void = { _ in }) -> SamplingOptions {
        var options = SamplingOptions()
        options.temperature = 1
        change(&options)
        return options
    }

    // MARK: Against transformers

    @Test("each row of each case has the reference's probabilities", arguments: SamplingCase.all)
    func equalsReference(_ test: SamplingCase) throws {
        let store = try WeightStore.open(fixture("sampling/sampling.safetensors"))
        func floats(_ name: String) throws -> [Float] {
            try store.tensor(named: name).bytes.bindMemory(to: Float.self).map { $0 }
        }
        let previous = try store.tensor(named: "previous_ids")
        let logits = try floats("logits")
        let scores = try floats("\(test.key).scores")
        let wanted = try floats("\(test.key).probabilities")
        let rows = previous.shape[0]
        let size = logits.count / rows
        #expect(rows == 6 && size == 96)
        let ids = previous.bytes.bindMemory(to: Int32.self).map { $0 }
        for row in 0..<rows {
            let found = probabilities(
                test.options,
                Array(logits[row * size..<(row + 1) * size]),
                prompt: Array(ids[row * previous.shape[1]..<(row + 1) * previous.shape[1]])
            )
            if test.key == "case23" && row == 4 {
                // Equal logits straddle the border of top-p, and which of them torch keeps follows no rule.
                let part = wanted[row * size..<(row + 1) * size]
                #expect(zip(found.sorted(), part.sorted()).allSatisfy { abs($0 - $1) <= 1e-6 })
                continue
            }
            for (index, probability) in found.enumerated() {
                let place = row * size + index
                #expect(abs(probability - wanted[place]) <= 1e-6, "row \(row), token \(index)")
                if scores[place] == -.infinity {
                    #expect(probability == 0, "row \(row), token \(index) was not removed")
                }
            }
        }
    }

    // MARK: Greedy

    @Test("without temperature the first of the greatest logits wins")
    func greedy() {
        var sampler = Sampler(SamplingOptions(), vocabularySize: 20)
        var logits = [Float](repeating: -1, count: 20)
        logits[3] = 2
        logits[11] = 2
        #expect(next(&sampler, logits) == 3)
        #expect(next(&sampler, [Float](repeating: -7, count: 20)) == 0)
        logits[17] = 2.000_001
        #expect(next(&sampler, logits) == 17)
        // Infinities take part; what is no number does not.
        #expect(next(&sampler, [.nan, 1, .infinity, 2] + logits.dropFirst(4)) == 2)
        #expect(next(&sampler, [Float](repeating: .nan, count: 20)) == 0)
        #expect(next(&sampler, [Float](repeating: -.infinity, count: 20)) == 0)
    }

    @Test("penalties apply without temperature, and to what was chosen before")
    func greedyWithPenalty() {
        var options = SamplingOptions()
        options.repetitionPenalty = 2
        var sampler = Sampler(options, vocabularySize: 4, prompt: [1, 1, 9, -1])
        // 1 counts as 3 since it is in the prompt, however often; then 2 counts as 2, then 0 as 1.75.
        let logits: [Float] = [3.5, 6, 4, -1]
        #expect(next(&sampler, logits) == 2)
        #expect(next(&sampler, logits) == 0)
        #expect(next(&sampler, logits) == 1)
        #expect(next(&sampler, logits) == 1)
    }

    // MARK: Penalties

    @Test("presence and frequency look at the answer alone; biases come first")
    func penalties() {
        var options = SamplingOptions()
        options.presencePenalty = 0.5
        options.frequencyPenalty = 0.25
        options.logitBias = [0: 1, 3: -.infinity, 99: 5, -1: 5]
        options.repetitionPenalty = 2
        var penalties = Penalties(options, vocabularySize: 5, prompt: [0, 4])
        func applied() -> [Float] {
            var scores: [Float] = [1, -1, 2, 3, -2]
            scores.withUnsafeMutableBufferPointer { penalties.apply(to: $0) }
            return scores
        }
        #expect(applied() == [1, -1, 2, -.infinity, -4])
        for id: Int32 in [0, 1, 1, 1, 77, -5] { penalties.note(id) }
        #expect(applied() == [0.25, -3.25, 2, -.infinity, -4])
        #expect(!penalties.isNeutral)
        #expect(Penalties(SamplingOptions(), vocabularySize: 5, prompt: [1]).isNeutral)
    }

    @Test("a bias alone can force or forbid a token")
    func bias() {
        var options = SamplingOptions()
        options.logitBias = [2: 100]
        var forced = Sampler(options, vocabularySize: 3)
        #expect(next(&forced, [5, 9, -3]) == 2)
        let found = probabilities(warm { $0.logitBias = [1: -.infinity] }, [1, 50, 1])
        #expect(found == [0.5, 0, 0.5])
    }

    // MARK: Filters

    @Test("ties with the k-th logit survive top-k")
    func topKTies() {
        let found = probabilities(warm { $0.topK = 2 }, [1, 3, 2, 2, 0, 2])
        #expect(found.map { $0 > 0 } == [false, true, true, true, false, true])
        #expect(probabilities(warm { $0.topK = 1 }, [0, -0.0, -1]) == [0.5, 0.5, 0])
        #expect(probabilities(warm { $0.topK = 3 }, [-.infinity, .nan, 1, 1]) == [0, 0, 0.5, 0.5])
    }

    @Test("top-p keeps one token at least, and those with which the rest is below 1 - p")
    func topP() {
        #expect(probabilities(warm { $0.topP = 1e-6 }, [1, 3, 2]) == [0, 1, 0])
        // Four equal ones: the first two are the first to reach 1 - p = 0.5 from below.
        #expect(probabilities(warm { $0.topP = 0.5 }, [1, 1, 1, 1]) == [0, 0, 0.5, 0.5])
        #expect(probabilities(warm { $0.topP = 0.51 }, [1, 1, 1, 1]).filter { $0 > 0 }.count == 3)
    }

    @Test("selection equals a sorted one for thousands of values of any spread")
    func equalsSorting() {
        var random = Philox(seed: 5)
        for round in 0..<60 {
            let spread = [Float(1e-6), 0.1, 1, 10, 1000][round % 5]
            // Some rounds have many ties.
            let grain: Float = round.isMultiple(of: 3) ? 8 : 1e6
            let logits = (0..<1500).map { _ in
                (Float(random.unit() - 0.5) * grain).rounded() / grain * spread
            }
            let k = 1 + Int(random.unit() * 1500)
            let sorted = logits.sorted(by: >)
            let found = probabilities(warm { $0.topK = k }, logits)
            for (logit, probability) in zip(logits, found) where sorted[0] - logit < 80 {
                #expect((probability > 0) == (logit >= sorted[k - 1]), "round \(round), top-k \(k)")
            }

            let p = Float(0.02 + 0.96 * random.unit())
            let plain = probabilities(warm(), logits)
            let isKept = probabilities(warm { $0.topP = p }, logits).map { $0 > 0 }
            var mass = 0.0
            var least = Float.infinity
            var greatestRemoved: Float = 0
            for (probability, isKept) in zip(plain, isKept) {
                if isKept {
                    mass += Double(probability)
                    least = min(least, probability)
                } else {
                    greatestRemoved = max(greatestRemoved, probability)
                }
            }
            #expect(greatestRemoved <= least, "round \(round)")
            #expect(mass >= Double(p) - 2e-6, "round \(round), top-p \(p)")
            #expect(mass - Double(least) < Double(p) + 2e-6, "round \(round), top-p \(p)")
        }
    }

    @Test("probabilities are those of the exponential in double precision")
    func exponential() {
        let logits = (0..<4001).map { Float($0) / 50 - 70 }
        let found = probabilities(warm(), logits)
        // The last is e^10; the sum of a geometric row is known.
        var powers: [Double] = [1]
        let factor = 0.980_198_673_306_755_3 // e^(-1/50)
        for _ in 0..<4000 { powers.append(powers[powers.count - 1] * factor) }
        let total = powers.reduce(0, +)
        for (index, power) in powers.enumerated() {
            let value = Double(found[4000 - index])
            // A logit of 70 is itself only known to 4e-6.
            #expect(abs(value - power / total) <= 8e-6 * power / total, "\(index)")
        }
        #expect(abs(found.reduce(0) { $0 + Double($1) } - 1) < 1e-6)
    }

    @Test("extreme logits and temperatures trap nothing and keep the best")
    func extremes() {
        let rows: [[Float]] = [
            [.infinity, 1, .infinity, -.infinity, .nan], [.nan, .nan, .nan, .nan, .nan],
            [-.infinity, -.infinity, -.infinity, -.infinity, -.infinity],
            [3e38, -3e38, 3e38, 0, .nan], [-3e38, -3.2e38, -3e38, -.infinity, .nan],
        ]
        for logits in rows {
            for temperature: Float in [1e-38, 1e-3, 1, 100, 3e38] {
                for topK in [0, 1, 2, 5, 9] {
                    for topP: Float in [0, 0.5, 1] {
                        let options = warm {
                            $0.temperature = temperature
                            $0.topK = topK
                            $0.topP = topP
                            $0.minP = topK == 2 ? 1 : 0
                        }
                        let found = probabilities(options, logits)
                        #expect(abs(found.reduce(0, +) - 1) < 1e-5, "\(logits) \(options)")
                        var sampler = Sampler(options, vocabularySize: 5)
                        #expect(found[Int(next(&sampler, logits))] > 0)
                    }
                }
            }
        }
        #expect(probabilities(warm { $0.temperature = 1e-38 }, [4, 5, 5]) == [0, 0.5, 0.5])
        #expect(probabilities(warm(), [.infinity, 5, .infinity]) == [0.5, 0, 0.5])
    }

    // MARK: Drawing

    @Test("draws are as frequent as their probabilities, and the same for the same seed")
    func draws() {
        let logits = (0..<64).map { Float($0 % 13) / 3 }
        let options = warm {
            $0.topK = 40
            $0.topP = 0.9
            $0.seed = 11
        }
        let wanted = probabilities(options, logits)
        var first = Sampler(options, vocabularySize: 64)
        var second = Sampler(options, vocabularySize: 64)
        var counts = [Int](repeating: 0, count: 64)
        let draws = 6000
        for _ in 0..<draws {
            let id = next(&first, logits)
            #expect(id == next(&second, logits))
            counts[Int(id)] += 1
        }
        // Pearson's statistic of the kept tokens: 5 standard deviations above its mean.
        var statistic = 0.0
        var kept = 0.0
        for (count, probability) in zip(counts, wanted) {
            if probability == 0 {
                #expect(count == 0)
                continue
            }
            let mean = Double(probability) * Double(draws)
            statistic += (Double(count) - mean) * (Double(count) - mean) / mean
            kept += 1
        }
        #expect(statistic < kept - 1 + 5 * (2 * (kept - 1)).squareRoot())
        var other = Sampler(warm { $0.seed = 12 }, vocabularySize: 64)
        #expect((0..<20).map { _ in next(&other, logits) } != (0..<20).map { _ in next(&first, logits) })
    }

    @Test("the drawn tokens of a seed stay the same between versions and machines")
    func fixedDraws() {
        let logits = (0..<50).map { Float(($0 * 7919) % 101) / 20 }
        var sampler = Sampler(
            warm {
                $0.temperature = 0.8
                $0.topP = 0.95
                $0.repetitionPenalty = 1.1
                $0.seed = 2024
            },
            vocabularySize: 50
        )
        let ids = (0..<12).map { _ in next(&sampler, logits) }
        #expect(ids == Self.fixed)
    }
    private static let fixed: [Int32] = [32, 22, 29, 32, 2, 27, 49, 17, 7, 44, 4, 22]
}

@Suite struct PhiloxTests {
    @Test("words equal the known answers of the authors")
    func knownAnswers() {
        func words(_ counter: Philox.Words, _ key: (UInt32, UInt32)) -> [UInt32] {
            let result = Philox.words(counter, key: key)
            return [result.0, result.1, result.2, result.3]
        }
        let all = UInt32.max
        #expect(words((0, 0, 0, 0), (0, 0)) == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
        #expect(
            words((all, all, all, all), (all, all))
                == [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        )
        #expect(
            words((0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), (0xa409_3822, 0x299f_31d0))
                == [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        )
    }

    @Test("numbers lie from 0 up to 1, and differ between seeds")
    func units() {
        var random = Philox(seed: .max)
        var sum = 0.0
        for _ in 0..<10_000 {
            let value = random.unit()
            #expect(value >= 0 && value < 1)
            sum += value
        }
        #expect(abs(sum / 10_000 - 0.5) < 0.015)
        var first = Philox(seed: 1)
        var second = Philox(seed: 1 << 32)
        #expect(first.unit() != second.unit())
    }
}
