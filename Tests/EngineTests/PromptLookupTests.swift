import Testing
import VLModels

@testable import VLEngine

@Suite("Prompt lookup")
struct PromptLookupTests {
    private func lookup(_ ids: [Int32], spans: [ImageSpan] = [], limit: Int = 8) -> PromptLookup {
        PromptLookup(
            PreparedPrompt(text: "", ids: ids, spans: spans, images: []),
            limit: limit,
            maxTokens: 16
        )
    }

    @Test("a guess is what followed the last three tokens where they stood last")
    func guess() {
        var lookup = lookup([1, 2, 3, 9, 9, 1, 2, 3, 7, 8, 5, 1, 2])
        lookup.append(3)
        lookup.look(room: 10)
        #expect(lookup.guess == [7, 8, 5])
        lookup.look(room: 2)
        #expect(lookup.guess == [7, 8])
        lookup.look(room: 0)
        #expect(lookup.guess.isEmpty)
    }

    @Test("nothing is guessed when the last three tokens are new, or too few")
    func nothing() {
        var short = lookup([1, 2])
        short.look(room: 8)
        #expect(short.guess.isEmpty)
        var new = lookup([1, 2, 3, 4, 1, 2, 5])
        new.look(room: 8)
        #expect(new.guess.isEmpty)
    }

    @Test("a guess ends where a picture begins")
    func picture() {
        var lookup = lookup(
            [1, 2, 3, 4, 50, 50, 6, 1, 2, 3],
            spans: [ImageSpan(start: 4, count: 2, image: 0)]
        )
        lookup.look(room: 8)
        #expect(lookup.guess == [4])
    }

    @Test("guesses grow while they come true, and pause after misses")
    func learning() {
        let circle = (0..<40).map { Int32($0 % 10) }
        var lookup = lookup(circle, limit: 8)
        lookup.look(room: 99)
        #expect(lookup.guess.count == 3)
        lookup.learn(accepted: 3)
        lookup.look(room: 99)
        #expect(lookup.guess.count == 6)
        lookup.learn(accepted: 6)
        lookup.look(room: 99)
        #expect(lookup.guess == [0, 1, 2, 3, 4, 5, 6, 7])
        lookup.learn(accepted: 0)
        for _ in 0..<PromptLookup.firstPause {
            lookup.look(room: 99)
            #expect(lookup.guess.isEmpty)
        }
        lookup.look(room: 99)
        #expect(lookup.guess.count == 4)
        lookup.learn(accepted: 2)
        lookup.look(room: 99)
        #expect(lookup.guess.count == 3)
    }
}
