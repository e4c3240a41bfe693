import Testing
import VLJSON
import VLModels
import VLTensor
import VLTestSupport

@Suite("Projector")
struct ProjectorTests {
    private func config(_ golden: UnitGolden, _ variant: String) throws -> (ProjectorConfig, grid: Int) {
        let settings = try #require(golden.settings[variant])
        let root: JSONValue = ["projector_config": settings]
        let reader = try ConfigReader(bytes: JSONWriter.encode(root), file: "config.json")
        return (try ProjectorConfig(reader), try #require(settings["grid"]?.asInt))
    }

    @Test(
        "each kind of projector gives the official numbers",
        arguments: [
            "downsample_depth2_odd", "downsample_depth3_even", "downsample_ratio3", "mlp_gelu_depth3",
            "linear",
        ]
    )
    func output(variant: String) throws {
        let golden = try UnitGolden("projector")
        let (config, grid) = try config(golden, variant)
        let projector = try Projector(config, golden.weights(variant))
        let input = try golden.matrix("\(variant).input")
        let output = projector(input, tiles: input.rows / (grid * grid), grid: grid, golden.run)
        #expect(try relativeError(output.values, golden.floats("\(variant).output")) < 1e-5)
    }

    @Test("an identity leaves features as they are")
    func identity() throws {
        let golden = try UnitGolden("projector")
        let root: JSONValue = [
            "projector_config": ["projector_type": "identity", "input_dim": 12, "n_embed": 12]
        ]
        let reader = try ConfigReader(bytes: JSONWriter.encode(root), file: "config.json")
        let projector = try Projector(ProjectorConfig(reader), golden.weights("none"))
        let input = try golden.matrix("linear.input")
        #expect(projector(input, tiles: 2, grid: 4, golden.run).values == input.values)
    }

    @Test("pooling of tokens, which no published model has, is refused by name")
    func pooling() throws {
        let golden = try UnitGolden("projector")
        let error = #expect(throws: LoadError.self) { _ = try config(golden, "token_pooling_linear") }
        #expect(error.map { "\($0)".contains("token_pooling") } == true)
    }
}
