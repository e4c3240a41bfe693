import VLModels

/// Guesses the next tokens of a sequence from what it holds already: answers that copy (text that is read, boxes and
/// labels that come again) repeat their prompt or themselves.
///
/// The guesses are computed as further rows of the step that is due anyway, and each is kept only if the sampler chooses
/// that very token from the row before, so that the answer is the same with and without. After Saxena, "Prompt Lookup
/// Decoding" (2023).
struct PromptLookup {
    /// Tokens that must match for a guess.
    static let matchLength = 3
    /// Steps without a guess after one of which nothing came true, at first; they double with each further one.
    static let firstPause = 2
    static let longestPause = 64

    private let limit: Int
    /// The prompt and the answer; minus one where a picture is.
    private var history: [Int32]
    private(set) var guess: [Int32] = []
    private var length: Int
    private var pause = 0
    private var wait = 0

    /// - Parameter limit: most tokens of a guess.
    init(_ prompt: PreparedPrompt, limit: Int, maxTokens: Int) {
        self.limit = limit
        history = prompt.ids
        for span in prompt.spans {
            for place in span.start..<span.start + span.count { history[place] = -1 }
        }
        history.reserveCapacity(history.count + maxTokens)
        guess.reserveCapacity(limit)
        length = min(limit, 3)
    }

    /// Notes a token that the sequence got.
    mutating func append(_ id: Int32) { history.append(id) }

    /// Makes `guess`: what followed the last place at which the sequence's last tokens were seen before, at most `room`
    /// tokens; empty if there is none.
    mutating func look(room: Int) {
        guess.removeAll(keepingCapacity: true)
        let wanted = min(length, room)
        let count = history.count
        guard wanted > 0, count > Self.matchLength else { return }
        if wait > 0 {
            wait -= 1
            return
        }
        history.withUnsafeBufferPointer { history in
            let a = history[count - 3]
            let b = history[count - 2]
            let c = history[count - 1]
            var end = count - 1
            while end >= Self.matchLength {
                if history[end - 1] == c && history[end - 2] == b && history[end - 3] == a {
                    for place in end..<min(end + wanted, count) {
                        guard history[place] >= 0 else { break }
                        guess.append(history[place])
                    }
                    return
                }
                end -= 1
            }
        }
    }

    /// Learns how much of `guess` came true.
    mutating func learn(accepted: Int) {
        guard !guess.isEmpty else { return }
        if accepted == guess.count {
            length = min(limit, length * 2)
            pause = 0
        } else if accepted == 0 {
            length = max(1, length / 2)
            pause = min(Self.longestPause, max(Self.firstPause, pause * 2))
            wait = pause
        } else {
            length = max(1, min(limit, accepted + 1))
            pause = 0
        }
    }
}
