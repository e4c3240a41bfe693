import Testing
import VLServer

@Suite("API keys")
struct APIKeysTests {
    @Test("are found by their whole text only, wherever they stand in the list")
    func find() {
        let keys = APIKeys(["first", "second", "third"])
        #expect(keys.number("first") == 0 && keys.number("second") == 1 && keys.number("third") == 2)
        for wrong in ["", "firs", "first ", "First", "secondthird", "\u{0}"] {
            #expect(keys.number(wrong) == nil)
        }
        #expect(keys.salt(0) != keys.salt(1) && keys.salt(0) != keys.salt(nil))
        #expect(APIKeys([]).isOpen && !keys.isOpen)
    }

    @Test("may be used so often in a minute, each for itself")
    func rates() {
        var limit = RateLimit(perMinute: 2)
        let start = ContinuousClock.now
        #expect(limit.take(0, start) == nil && limit.take(0, start) == nil)
        #expect(limit.take(0, start) == 31)
        #expect(limit.take(1, start) == nil)
        #expect(limit.take(0, start + .seconds(31)) == nil)
        #expect(limit.take(0, start + .seconds(31)) != nil)
    }
}
