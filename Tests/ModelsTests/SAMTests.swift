import Testing
import VLModels
import VLTensor
import VLTestSupport

@Suite struct SAMTests {
    @Test(
        "a block is the official one, with windows that reach beyond the map and without windows",
        arguments: [(path: "window", window: Int?(5)), (path: "global", window: nil)]
    )
    func block(_ c: (path: String, window: Int?)) throws {
        let unit = try UnitGolden("sam")
        let shape = try unit.shape(c.path + ".input")
        let (height, width, size) = (shape[1], shape[2], shape[3])
        let block = try SAMBlock(
            size,
            heads: 3,
            height: height,
            width: width,
            window: c.window,
            unit.weights(c.path)
        )
        let input = try unit.floats(c.path + ".input")
        let count = height * width * size
        var found: [Float] = []
        for picture in 0..<shape[0] {
            let x = unit.matrix(input[picture * count..<(picture + 1) * count], columns: size)
            block(x, height: height, width: width, unit.run)
            found += x.values
        }
        // Some sums of a few dozen terms in float32.
        #expect(relativeError(found, try unit.floats(c.path + ".output")) < 2e-6)
    }

    @Test(
        "maps are stretched as the official code stretches them",
        arguments: [(10, 24), (32, 96), (64, 96)]
    )
    func stretches(_ sides: (Int, Int)) throws {
        let unit = try UnitGolden("sam")
        let name = "bilinear_\(sides.0)_\(sides.1)"
        let x = unit.matrix(try unit.floats(name + ".input"), columns: 1)
        let found = SAM.stretched(x, from: sides.0, to: sides.1, unit.run)
        #expect(relativeError(found.values, try unit.floats(name + ".output")) < 1e-6)
    }

    @Test("a convolution with a stride sums the products of what each place sees")
    func convolution() throws {
        let run = Run(pool: ThreadPool(threads: 2), compute: .float32)
        let (input, output, side) = (3, 2, 5)
        for stride in [1, 2] {
            let weights = Weights(WeightLoader(MadeWeights(MadeWeights.noise), run), path: "conv")
            let convolution = try Convolution(input, output, stride: stride, weights)
            let x = run.workspace.matrix(side * side, input)
            for index in 0..<side * side * input { x.pointer[index] = MadeWeights.noise("x", index) }
            let found = convolution(x, side: side, run)
            var expected: [Float] = []
            for top in Swift.stride(from: 0, to: side, by: stride) {
                for left in Swift.stride(from: 0, to: side, by: stride) {
                    for out in 0..<output {
                        var sum: Float = 0
                        for channel in 0..<input {
                            for tap in 0..<9 {
                                let (y, x0) = (top + tap / 3 - 1, left + tap % 3 - 1)
                                guard (0..<side).contains(y), (0..<side).contains(x0) else { continue }
                                let weight = MadeWeights.noise(
                                    "conv.weight",
                                    (out * input + channel) * 9 + tap
                                )
                                sum += weight * x[row: y * side + x0][channel]
                            }
                        }
                        expected.append(sum)
                    }
                }
            }
            #expect(relativeError(found.values, expected) < 1e-6, "stride \(stride)")
            withExtendedLifetime(weights) {}
        }
    }

    @Test("attention over a grid has the same bits for any number of threads")
    func threads() throws {
        var reference: [Float]?
        for threads in [1, 2, 3] {
            let run = Run(pool: ThreadPool(threads: threads), compute: .float32)
            let loader = WeightLoader(MadeWeights(MadeWeights.noise), run)
            let block = try SAMBlock(
                16,
                heads: 2,
                height: 9,
                width: 7,
                window: nil,
                Weights(loader, path: "block")
            )
            let x = run.workspace.matrix(63, 16)
            for index in 0..<63 * 16 { x.pointer[index] = MadeWeights.noise("x", index) }
            block(x, height: 9, width: 7, run)
            #expect(x.values.allSatisfy { $0.isFinite })
            if let reference { #expect(x.values == reference) } else { reference = x.values }
            withExtendedLifetime(loader) {}
        }
    }
}
