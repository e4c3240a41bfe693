import Testing
import VLJSON
import VLModels
import VLTensor
import VLTestSupport

@Suite("Rotary")
struct RotaryTests {
    private func scaling(_ golden: UnitGolden, _ variant: String) throws -> RopeScaling {
        try RopeScaling(golden.reader(variant), maxPositions: 48)
    }

    @Test(
        "cosines, sines and rotated heads are the official ones, plain, linear and YaRN",
        arguments: ["plain", "linear", "yarn_a", "yarn_b", "yarn_c"]
    )
    func rotation(variant: String) throws {
        let golden = try UnitGolden("mla_rope")
        let settings = try #require(golden.settings[variant])
        let size = try #require(settings["dim"]?.asInt)
        let positions = try #require(settings["positions"]?.asArray).compactMap { $0.asInt.map { Int32($0) } }
        let rotary = Rotary(size: size, theta: 10000, scaling: try scaling(golden, variant))
        let angles = positions.withUnsafeBufferPointer { rotary.angles($0, golden.run) }
        for (name, found) in [("cos", angles.cosine), ("sin", angles.sine)] {
            // The official tables hold each value twice.
            let wanted = try golden.matrix("\(variant).\(name)")[columns: 0..<size / 2]
            #expect(relativeError(found.values, wanted.values) < 1e-5, "\(name)")
        }
        for (name, heads) in [("q", 2), ("k", 1)] {
            let given = try golden.matrix("\(variant).\(name)") // [heads * positions, size]
            let wanted = try golden.matrix("\(variant).\(name)_rotated")
            for head in 0..<heads {
                let rows = given[rows: head * positions.count..<(head + 1) * positions.count]
                golden.run.deinterleave(rows, heads: 1, stride: size, offset: 0, size: size)
                golden.run.rotate(rows, heads: 1, stride: size, offset: 0, size: size, angles)
            }
            #expect(relativeError(given.values, wanted.values) < 1e-5, "\(name)")
        }
    }

    @Test("a scaling that is not built is refused by name")
    func dynamic() throws {
        let golden = try UnitGolden("mla_rope")
        let error = #expect(throws: LoadError.self) { _ = try scaling(golden, "dynamic") }
        #expect(error.map { "\($0)".contains("dynamic") } == true)
    }
}
