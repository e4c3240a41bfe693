import DeepSeekVL
import Testing
import VLEngine
import VLGrammar
import VLModels
import VLTestSupport
import VLText

/// The bundled model and its vocabulary.
struct Bundled {
    let host: ModelHost
    let lexicon: Lexicon

    init() throws {
        host = try ModelHost(nil, threads: 2)
        lexicon = try host.constraints.vocabulary()
    }

    var tokenizer: Tokenizer { host.loaded.tokenizer }

    func text(_ ids: [Int32]) -> String { tokenizer.decode(ids) }
}

/// Random numbers that are the same on every machine.
struct Dice: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// The tokens of a mask.
func tokens(_ words: [UInt64], count: Int) -> Set<Int32> {
    Set((0..<Int32(count)).filter { words[Int($0) >> 6] >> UInt64($0 & 63) & 1 == 1 })
}

/// An answer of a sampler that sees random logits, as of a model that knows nothing, at a high temperature.
///
/// - Parameter favour: tokens whose logits are raised, so that what is rare comes often.
func randomAnswer(
    _ constraint: TokenConstraint,
    _ lexicon: Lexicon,
    maxTokens: Int,
    seed: UInt64,
    temperature: Float = 3,
    favour: [Int32: Float] = [:]
) -> (ids: [Int32], finish: FinishReason) {
    var options = SamplingOptions()
    options.temperature = temperature
    options.seed = seed
    var sampler = Sampler(options, vocabularySize: lexicon.vocabularySize)
    let state = constraint.begin(maxTokens: maxTokens)
    var dice = Dice(seed)
    var ids: [Int32] = []
    var room = [Float](repeating: 0, count: lexicon.vocabularySize)
    while ids.count < maxTokens {
        var logits = (0..<lexicon.vocabularySize).map { _ in Float.random(in: -6...6, using: &dice) }
        for (id, value) in favour { logits[Int(id)] += value }
        let id = logits.withUnsafeBufferPointer { logits in
            room.withUnsafeMutableBufferPointer { room in
                sampler.next(logits, under: state) { room }
            }
        }
        guard let id else { return (ids, .constraint) }
        if lexicon.endTokens.contains(id) { return (ids, .stop) }
        ids.append(id)
        if state.isOver { return (ids, .stop) }
    }
    return (ids, .length)
}
