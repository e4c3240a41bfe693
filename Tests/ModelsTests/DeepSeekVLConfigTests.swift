import Testing
import VLModels
import VLTensor

@Suite struct DeepSeekVLConfigTests {
    private static let low =
        #""model_name": "siglip_large_patch16_384", "image_size": 384, "select_layer": -1, "width": 48, "heads": 3"#
    private static let high =
        #""model_name": "sam_b_downsample", "image_size": 1024, "width": 32, "heads": 2, "downsample_channels": [8, 48]"#

    private static func json(
        vision: String? = nil,
        high: String = high,
        low: String = low,
        aligner: String = "low_high_hybrid_split_mlp_gelu",
        input: Int = 48,
        width: Int = 64
    ) -> String {
        let params = #"{"concat_type": "tuple", "high_res_cfg": {\#(high)}, "low_res_cfg": {\#(low)}}"#
        let hybrid = #""cls": "HybridVisionTower", "params": \#(params)"#
        return """
            {"vision_config": {\(vision ?? hybrid)},
             "aligner_config": {"params": {"projector_type": "\(aligner)", "input_dim": \(input), "n_embed": \(width)}},
             "language_config": {"hidden_size": 64, "num_hidden_layers": 1}}
            """
    }

    @Test("a tower's sizes are those of its name, changed by keys")
    func towers() throws {
        let found = try DeepSeekVLConfig(parsed(Self.json()))
        guard case .hybrid(let high, let low) = found.vision else {
            Issue.record("no hybrid tower")
            return
        }
        #expect((high.network.width, high.network.layers, high.network.windowSize) == (32, 12, 14))
        #expect(high.network.globalLayers == [2, 5, 8, 11])
        #expect(high.network.downsampleChannels == [8, 48])
        #expect((high.network.outputSide, high.network.outputChannels) == (24, 48))
        #expect((low.network.width, low.network.layers, low.network.mlpWidth) == (48, 24, 192))
        #expect(low.network.activation == .geluErf)
        #expect(high.normalization == nil)
        #expect(found.aligner.depth == 1)
        #expect((found.vision.imageSize, found.vision.tokens) == (1024, 576))
        let single = try DeepSeekVLConfig(
            parsed(
                Self.json(
                    vision: #""params": {"model_name": "siglip_so400m_patch14_384", "image_size": 384}"#,
                    aligner: "linear",
                    input: 1152
                )
            )
        )
        guard case .single(let tower) = single.vision else {
            Issue.record("no single tower")
            return
        }
        // The class's own default leaves the last layer out.
        #expect((tower.network.layers, tower.network.mlpWidth, tower.network.tokens) == (26, 4304, 729))
    }

    @Test(
        "what no model can be is refused by its name",
        arguments: [
            (json(low: #""model_name": "clip""#), "'vision_config.params.low_res_cfg.model_name': expected"),
            (
                json(high: #""model_name": 5"#),
                "'vision_config.params.high_res_cfg.model_name': expected a text"
            ),
            (json(high: #""model_name": "siglip_large_patch16_384""#), "high_res_cfg.model_name"),
            (json(vision: #""cls": "Other", "params": {}"#), "'vision_config.cls'"),
            (json(vision: #""cls": "CLIPVisionTower""#), "'vision_config.params': expected an object"),
            (json(vision: #""cls": "HybridVisionTower", "params": {"concat_type": "add"}"#), "concat_type"),
            (
                json(aligner: "mlp_gelu"),
                "'aligner_config.params.projector_type': expected one for two towers"
            ),
            (json(aligner: "magic"), "'aligner_config.params.projector_type': expected one of"),
            (json(input: 47), "'aligner_config.params.input_dim'"),
            (json(width: 63), "'aligner_config.params.n_embed': expected an even number"),
            (json(width: 62), "'aligner_config.params.n_embed': expected language_config.hidden_size (64)"),
            (json(low: low + #", "patch_size": 32"#), "low_res_cfg.image_size': expected 24 patches"),
            (json(low: low + #", "select_layer": -25"#), ""),
            (json(high: high + #", "global_attn_indexes": [12]"#), "global_attn_indexes"),
            (json(high: high + #", "pixel_mean": [0, 0, 0], "pixel_std": [1, 0, 1]"#), "pixel_std"),
            (json(high: high + #", "layers": 0"#), "high_res_cfg.layers"),
        ]
    )
    func refused(_ json: String, _ words: String) throws {
        let error = #expect(throws: LoadError.self) { try DeepSeekVLConfig(parsed(json)) }
        #expect(error?.description.hasPrefix("config.json: ") == true, "\(error?.description ?? "")")
        if !words.isEmpty {
            #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        }
    }

    @Test("the processor's files must fit the towers")
    func processor() throws {
        let model = try DeepSeekVLConfig(parsed(Self.json()))
        func read(_ image: String, _ processor: String?) throws -> DeepSeekVLProcessorConfig {
            try DeepSeekVLProcessorConfig(
                image: parsed(image),
                processor: try processor.map { try parsed($0) },
                model: model
            )
        }
        let found = try read(#"{"image_size": 1024, "do_normalize": false}"#, nil)
        #expect(found.background == [122, 116, 104])
        #expect(
            found.imageTag == "<image_placeholder>" && found.imageTokens == 576 && found.minimumSize == 14
        )
        let plain = try read(#"{"image_size": 1024, "do_normalize": false, "image_mean": null}"#, "{}")
        #expect(plain.background == [127, 127, 127])
        for (image, processor) in [
            ("{}", "{}"), (#"{"image_size": 384}"#, "{}"),
            (#"{"image_size": 1024, "image_mean": null}"#, "{}"),
            (#"{"image_size": 1024, "image_std": [1, 1, 0]}"#, "{}"),
            (#"{"image_size": 1024, "rescale_factor": 0}"#, "{}"),
            (#"{"image_size": 1024}"#, #"{"num_image_tokens": 100}"#),
            (#"{"image_size": 1024}"#, #"{"sft_format": "plain"}"#),
            (#"{"image_size": 1024}"#, #"{"add_special_token": true}"#),
            (#"{"image_size": 1024}"#, #"{"image_tag": ""}"#),
        ] {
            #expect(throws: LoadError.self, "\(image) \(processor)") { try read(image, processor) }
        }
    }

    @Test("every known shape is a model whose parts fit each other", arguments: KnownShape.allCases)
    func shapes(_ shape: KnownShape) throws {
        let billions = Double(try Registry.parameterCount(shape.config())) / 1e9
        let published: [KnownShape: Double] = [
            .vl2Tiny: 3.4, .vl2Small: 16.1, .vl2Base: 27.5, .vl1B: 2.0, .vl7B: 7.3, .llm7B: 6.9,
            .llm67B: 67.4,
        ]
        let expected = try #require(published[shape])
        #expect(abs(billions - expected) < 0.08 * expected, "\(billions)")
    }
}
