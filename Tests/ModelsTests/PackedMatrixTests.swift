import Foundation
import Testing
import VLFormats
import VLJSON
import VLModels
import VLTensor
import VLTestSupport

/// Layers that gptqmodel's and autoawq's own functions packed (Tools/goldens/packed.py), and what they stand for.
@Suite struct PackedMatrixTests {
    private let run = Run(pool: ThreadPool(threads: 2), compute: .float32)
    private static let cases: [(name: String, type: DType, hasOrder: Bool)] = [
        ("gptq-sym", .q4_0, false), ("gptq-asym", .q5_0, false), ("gptq-v2", .q5_0, false),
        ("gptq-act", .q4_0, true), ("gptq-act-asym", .q5_0, true), ("gptq-row", .q5_0, false),
        ("gptq-ragged", .q5_0, false), ("gptq-small", .float32, false), ("gptq-act-ragged", .float32, false),
        ("gptq-bf16", .q4_0, false), ("gptq-f32", .float32, false), ("awq-gemm", .q5_0, false),
        ("awq-gemv", .q5_0, false),
    ]

    /// A case's store, format and shape.
    private func golden(_ name: String) throws -> (store: WeightStore, format: PackedFormat, shape: [Int]) {
        let store = try WeightStore.open(fixture("models/packed/packed.safetensors"))
        let table = try ConfigReader(bytes: fixtureBytes("models/packed/packed.json"), file: "packed.json")
        let entry = try #require(try table.object(name))
        let config = try #require(try entry.object("quantization_config"))
        let shape = try #require(try entry.array("shape")).compactMap(\.asInt)
        return (store, try PackedFormat(config), shape)
    }

    private func floats(_ tensor: StoredTensor) -> [Float] {
        (0..<tensor.elementCount).map { tensor.bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }

    @Test("layers packed by other programs give their values, bit for bit", arguments: cases.map(\.name))
    func values(_ name: String) throws {
        let (store, format, shape) = try golden(name)
        let expected = try #require(Self.cases.first { $0.name == name })
        let wanted = floats(try store.tensor(named: name + ".golden"))
        let matrix = try PackedMatrix(name + ".layer.weight", shape, format, store)
        #expect(matrix.type == expected.type && (matrix.order != nil) == expected.hasOrder)
        let columns = shape[1]
        if matrix.type.isBlock {
            // Rows from the middle of a word on, into the next one.
            let (rows, rowBytes) = (5..<18, matrix.type.rowBytes(columns))
            var (whole, single) = ([UInt8](), [UInt8](repeating: 0, count: rowBytes))
            whole = [UInt8](repeating: 0, count: rows.count * rowBytes)
            whole.withUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress else { return }
                matrix.writeBlocks(rows: rows, as: matrix.type, into: base)
            }
            for row in rows {
                single.withUnsafeMutableBytes { bytes in
                    guard let base = bytes.baseAddress else { return }
                    matrix.writeBlocks(rows: row..<row + 1, as: matrix.type, into: base)
                }
                let first = (row - rows.lowerBound) * rowBytes
                #expect(Array(whole[first..<first + rowBytes]) == single, "row \(row)")
            }
        }
        var row = [Float](repeating: .nan, count: columns)
        for index in 0..<shape[0] {
            let golden = Array(wanted[index * columns..<(index + 1) * columns])
            matrix.writeValues(row: index, columns: 0..<columns, run, into: &row)
            #expect(row == golden, "row \(index)")
            matrix.writeValues(row: index, columns: 5..<9, run, into: &row)
            #expect(Array(row[..<4]) == Array(golden[5..<9]))
            guard matrix.type.isBlock else { continue }
            // Q5_0 holds what Q4_0 does, for experts in one tensor.
            for type in Set([matrix.type, .q5_0]) {
                var blocks = [UInt8](repeating: 0, count: type.rowBytes(columns))
                blocks.withUnsafeMutableBytes { bytes in
                    guard let base = bytes.baseAddress else { return }
                    matrix.writeBlocks(rows: index..<index + 1, as: type, into: base)
                    run.decode(base, type, count: columns, into: &row)
                }
                let order = matrix.order?.map(Int.init) ?? Array(0..<columns)
                #expect(row == order.map { golden[$0] }, "row \(index) as \(type.rawValue)")
            }
        }
    }

    @Test(
        "a product reads columns in act-order, and its bits depend on neither rows nor threads",
        arguments: ["gptq-act", "gptq-act-asym"],
        [Compute.float32, .auto]
    )
    func products(_ name: String, _ compute: Compute) throws {
        let (store, format, shape) = try golden(name)
        let wanted = floats(try store.tensor(named: name + ".golden"))
        let rows = 5
        var alone: [[Float]] = []
        for threads in [1, 3] {
            let run = Run(pool: ThreadPool(threads: threads), compute: compute)
            let source = CheckpointWeights(store, packing: format, run: run)
            let loader = WeightLoader(source, run)
            let place = Weights(loader)[name]["layer"]
            let linear = try place.linear(shape[1], shape[0], bias: false)
            let other = try place.linear(shape[1], shape[0], bias: false)
            // One order for both, so that one form of the input serves both.
            #expect(linear.weight.inputOrder != nil && linear.weight.inputOrder == other.weight.inputOrder)
            let x = run.workspace.matrix(rows, shape[1])
            for index in 0..<rows * shape[1] { x.pointer[index] = MadeWeights.noise("x", index) }
            let input = run.activations(x)
            let (first, second) = (
                run.workspace.matrix(rows, shape[0]), run.workspace.matrix(2, shape[0])
            )
            var list = run.products(2)
            run.append(input, linear, to: first, &list)
            run.append(input, rows: 2..<4, other.weight, to: second, &list)
            run.perform(list)
            #expect(Array(first.values[2 * shape[0]..<4 * shape[0]]) == second.values)
            for row in 0..<rows {
                let one = run.linear(x[rows: row..<row + 1], linear).values
                #expect(one == Array(first.values[row * shape[0]..<(row + 1) * shape[0]]))
                if threads == 1 { alone.append(one) } else { #expect(one == alone[row]) }
                let plain = (0..<shape[0]).map { output in
                    (0..<shape[1]).reduce(Float(0)) { $0 + x[row: row][$1] * wanted[output * shape[1] + $1] }
                }
                #expect(relativeError(one, plain) < (compute == .auto ? 0.02 : 1e-5))
            }
            withExtendedLifetime(loader.owner) {}
        }
    }

    @Test("an observer sees the input in its own order")
    func observed() throws {
        final class Seen: ProductObserver {
            var values: [[Float]] = []
            func product(reads input: Matrix, with weight: WeightMatrix) { values.append(input.values) }
        }
        let (store, format, shape) = try golden("gptq-act")
        let run = Run(pool: ThreadPool(threads: 1), compute: .auto)
        let loader = WeightLoader(CheckpointWeights(store, packing: format, run: run), run)
        let linear = try Weights(loader)["gptq-act"]["layer"].linear(shape[1], shape[0], bias: false)
        let x = run.workspace.matrix(1, shape[1])
        for index in 0..<shape[1] { x.pointer[index] = Float(index) }
        let seen = Seen()
        run.observer = seen
        _ = run.linear(x, linear)
        #expect(seen.values == [x.values])
        withExtendedLifetime(loader.owner) {}
    }

    @Test(
        "in another type the columns are where they belong",
        arguments: ["gptq-act", "gptq-asym", "gptq-small", "awq-gemm", "awq-gemv"],
        [DType.float32, .bfloat16, .q8_0]
    )
    func converted(_ name: String, _ type: DType) throws {
        let (store, format, shape) = try golden(name)
        let wanted = floats(try store.tensor(named: name + ".golden"))
        let policy = WeightPolicy(language: type)
        let loader = WeightLoader(CheckpointWeights(store, packing: format, run: run), run, policy: policy)
        let matrix = try Weights(loader)[name]["layer"].matrix("weight", shape[0], shape[1])
        #expect(matrix.type == type && matrix.inputOrder == nil)
        var row = [Float](repeating: 0, count: shape[1])
        for index in 0..<shape[0] {
            run.widen(matrix, row: index, into: &row)
            let golden = Array(wanted[index * shape[1]..<(index + 1) * shape[1]])
            #expect(type == .float32 ? row == golden : relativeError(row, golden) < 0.01)
        }
        withExtendedLifetime(loader.owner) {}
    }

    // MARK: What is wrong

    private func reader(_ json: String) throws -> ConfigReader {
        try ConfigReader(bytes: Array(json.utf8), file: "config.json")
    }

    @Test(
        "formats that are not read, or cannot be, are refused by name",
        arguments: [
            (#"{"quant_method": "fp8"}"#, #"quant_method "fp8" is not supported; known: "gptq", "awq""#),
            (#"{"bits": 4, "group_size": 32}"#, #"'quant_method': expected "gptq" or "awq", found nothing"#),
            (#"{"quant_method": 4}"#, "'quant_method': expected a text, found"),
            (
                #"{"quant_method": "gptq", "bits": 8, "group_size": 32}"#,
                "GPTQ in 8 bits is not supported; known: 4 bits"
            ),
            (
                #"{"quant_method": "gptq", "group_size": 32}"#,
                "'bits': expected a whole number, found nothing"
            ),
            (
                #"{"quant_method": "gptq", "bits": 4, "group_size": 0}"#,
                "'group_size': expected -1 or a number above 0, found 0"
            ),
            (
                #"{"quant_method": "gptq", "bits": 4, "group_size": -2}"#,
                "'group_size': expected a whole number from -1 to 2147483647, found -2"
            ),
            (#"{"quant_method": "gptq", "bits": 4}"#, "'group_size': expected a whole number, found nothing"),
            (
                #"{"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "marlin"}"#,
                #"GPTQ layout "marlin" is not supported; known: "gptq", "gptq_v2""#
            ),
            (
                #"{"quant_method": "gptq", "bits": 4, "group_size": 32, "is_marlin_format": true}"#,
                #"GPTQ layout "marlin" is not supported"#
            ),
            (
                #"{"quant_method": "awq", "bits": 4, "group_size": 32, "version": "GEMV_FAST"}"#,
                #"AWQ layout "gemv_fast" is not supported; known: "gemm", "gemv""#
            ),
            (
                #"{"quant_method": "gptq", "bits": 4, "group_size": 32, "pack_dtype": "int16"}"#,
                #"pack_dtype "int16" is not supported"#
            ),
            (
                #"{"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": "yes"}"#,
                "'desc_act': expected true or false, found"
            ),
        ]
    )
    func badFormats(_ json: String, _ words: String) throws {
        let reader = try reader(json)
        let error = #expect(throws: LoadError.self) { try PackedFormat(reader) }
        #expect(error?.description.hasPrefix("config.json: ") == true)
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }

    @Test("configurations of the three tools are read")
    func formats() throws {
        let gptq = try PackedFormat(
            reader(
                #"""
                {"bits": 4, "dynamic": {"-:.*gate$": {}}, "group_size": 128, "desc_act": true, "lm_head": false,
                 "method": "gptq", "quant_method": "gptq", "format": "gptq_v2", "checkpoint_format": "gptq_v2",
                 "pack_dtype": "int32", "sym": false, "meta": {"quantizer": ["gptqmodel:7.7.0"]}}
                """#
            )
        )
        #expect(gptq.layout == .gptqV2 && gptq.groupSize == 128 && gptq.hasActOrder && gptq.isDynamic)
        #expect(gptq.summary == "GPTQ (gptq_v2), 4 bits, groups of 128, act-order, asymmetric")
        let older = try PackedFormat(
            reader(#"{"quant_method": "gptq", "bits": 4, "group_size": -1, "desc_act": false, "sym": true}"#)
        )
        #expect(older.layout == .gptq && older.groupSize == nil && !older.hasActOrder && !older.isDynamic)
        #expect(older.summary == "GPTQ (gptq), 4 bits, one group a row, symmetric")
        let awq = try PackedFormat(
            reader(
                #"""
                {"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "zero_point": true, "version": "GEMM",
                 "modules_to_not_convert": null}
                """#
            )
        )
        #expect(awq.summary == "AWQ (gemm), 4 bits, groups of 64, asymmetric")
    }

    /// The tensors of a case with some of them changed, as a store.
    private func changed(
        _ name: String,
        _ change: (String, StoredTensor) -> OutgoingTensor?
    ) throws -> WeightStore {
        let store = try WeightStore.open(fixture("models/packed/packed.safetensors"))
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("model.safetensors").path
        let prefix = name + ".layer."
        let tensors = store.all.filter { $0.name.hasPrefix(prefix) }
            .compactMap { change(String($0.name.dropFirst(prefix.count)), $0) }
        try SafetensorsWriter.write(file, tensors: tensors)
        return try WeightStore.open(file)
    }

    private func refusal(_ name: String, _ store: WeightStore) throws -> String {
        let (_, format, shape) = try golden(name)
        let error = #expect(throws: LoadError.self) {
            let loader = WeightLoader(CheckpointWeights(store, packing: format, run: run), run)
            _ = try Weights(loader)[name]["layer"].matrix("weight", shape[0], shape[1])
        }
        return error?.description ?? ""
    }

    @Test(
        "a missing tensor of a layer is named",
        arguments: [
            ("gptq-act", "qzeros"), ("gptq-act", "scales"), ("gptq-act", "g_idx"), ("awq-gemm", "qzeros"),
        ]
    )
    func missing(_ name: String, _ part: String) throws {
        let store = try changed(name) { $0 == part ? nil : OutgoingTensor($1) }
        #expect(try refusal(name, store).contains("expected the tensor '\(name).layer.\(part)', found none"))
    }

    @Test("a layer without act-order needs no list of groups")
    func withoutGroups() throws {
        let store = try changed("gptq-asym") { $0 == "g_idx" ? nil : OutgoingTensor($1) }
        let (_, format, shape) = try golden("gptq-asym")
        let matrix = try PackedMatrix("gptq-asym.layer.weight", shape, format, store)
        #expect(matrix.type == .q5_0 && matrix.order == nil)
    }

    @Test(
        "a tensor of another shape is named, with both shapes",
        arguments: [
            ("gptq-sym", "qweight", [6, 48], "[12, 24]"), ("gptq-sym", "qzeros", [9], "[3, 3]"),
            ("gptq-sym", "scales", [24, 3], "[3, 24]"), ("gptq-sym", "g_idx", [2, 48], "[96]"),
            ("awq-gemm", "qweight", [48, 8], "[96, 4]"), ("awq-gemm", "qzeros", [6, 2], "[3, 4]"),
            ("awq-gemv", "scales", [16, 32], "[32, 16]"),
        ]
    )
    func shapes(_ name: String, _ part: String, _ shape: [Int], _ wanted: String) throws {
        let store = try changed(name) { ending, tensor in
            guard ending == part else { return OutgoingTensor(tensor) }
            return OutgoingTensor(
                name: tensor.name,
                dtype: tensor.dtype,
                shape: shape,
                bytes: [UInt8](tensor.bytes)
            )
        }
        let words = try refusal(name, store)
        #expect(
            words
                == "model.safetensors: tensor '\(name).layer.\(part)': expected shape \(wanted), found \(shape)"
        )
    }

    @Test(
        "a tensor of another type is named, with both types",
        arguments: [
            ("qweight", StoredDType.float32, "expected I32, found F32"),
            ("qzeros", .uint32, "expected I32, found U32"),
            ("scales", .int16, "expected F16 or BF16 or F32, found I16"),
            ("g_idx", .float32, "expected I32, found F32"),
        ]
    )
    func types(_ part: String, _ type: StoredDType, _ words: String) throws {
        let store = try changed("gptq-sym") { ending, tensor in
            guard ending == part else { return OutgoingTensor(tensor) }
            return OutgoingTensor(
                name: tensor.name,
                dtype: type,
                shape: tensor.shape,
                bytes: [UInt8](tensor.bytes)
            )
        }
        #expect(
            try refusal("gptq-sym", store) == "model.safetensors: tensor 'gptq-sym.layer.\(part)': \(words)"
        )
    }

    @Test("a group that is not there is named", arguments: [Int32(4), -1, .max, .min])
    func groups(_ group: Int32) throws {
        let store = try changed("gptq-act") { ending, tensor in
            var bytes = [UInt8](tensor.bytes)
            if ending == "g_idx" {
                bytes.withUnsafeMutableBytes {
                    $0.storeBytes(of: group, toByteOffset: 4 * 17, as: Int32.self)
                }
            }
            return OutgoingTensor(name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, bytes: bytes)
        }
        #expect(
            try refusal("gptq-act", store)
                == "model.safetensors: tensor 'gptq-act.layer.g_idx': expected groups from 0 to 3, found \(group)"
        )
    }

    @Test("groups that do not divide AWQ's rows, and codes that nothing explains, are refused")
    func rest() throws {
        let (store, _, shape) = try golden("awq-gemm")
        let name = "awq-gemm.layer.weight"
        let odd = try PackedFormat(reader(#"{"quant_method": "awq", "bits": 4, "group_size": 40}"#))
        var error = #expect(throws: LoadError.self) { try PackedMatrix(name, shape, odd, store) }
        #expect(
            error?.description == "packed.safetensors: tensor 'awq-gemm.layer.qweight': "
                + "expected rows of whole groups of 40, found rows of 96"
        )
        error = #expect(throws: LoadError.self) {
            try CheckpointWeights(store, run: run).tensor(name, shape)
        }
        #expect(error?.description.contains("expected 'quantization_config' in config.json") == true)
        let format = try PackedFormat(reader(#"{"quant_method": "awq", "bits": 4, "group_size": 32}"#))
        error = #expect(throws: LoadError.self) { try PackedMatrix(name, [96], format, store) }
        #expect(error?.description.contains("expected a tensor of [96], as the model has it") == true)
    }

    @Test("a half is found for each number that is one, and for no other")
    func halves() throws {
        let store = try changed("gptq-f32") { ending, tensor in
            guard ending == "scales" else { return OutgoingTensor(tensor) }
            // Halves of all sizes: normal ones, small ones, zeros.
            let count = tensor.elementCount
            let values = (0..<count).map { index in
                Float(Float16(bitPattern: UInt16(truncatingIfNeeded: index * 641 % 0x7C00)))
            }
            let bytes = values.withUnsafeBytes { [UInt8]($0) }
            return OutgoingTensor(name: tensor.name, dtype: .float32, shape: tensor.shape, bytes: bytes)
        }
        let (_, format, shape) = try golden("gptq-f32")
        let matrix = try PackedMatrix("gptq-f32.layer.weight", shape, format, store)
        #expect(matrix.type == .q4_0)
        var (values, row) = ([Float](repeating: 0, count: shape[1]), [Float](repeating: 1, count: shape[1]))
        for index in 0..<shape[0] {
            var blocks = [UInt8](repeating: 0, count: DType.q4_0.rowBytes(shape[1]))
            blocks.withUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress else { return }
                matrix.writeBlocks(rows: index..<index + 1, as: .q4_0, into: base)
                run.decode(base, .q4_0, count: shape[1], into: &row)
            }
            matrix.writeValues(row: index, columns: 0..<shape[1], run, into: &values)
            #expect(row == values)
        }
    }
}
