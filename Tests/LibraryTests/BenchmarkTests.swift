import DeepSeekVL
import Testing

@Suite("Benchmark")
struct BenchmarkTests {
    @Test("median, smallest and largest are those of the measurements")
    func spread() {
        let odd = Benchmark.Spread([3, 1, 2])
        #expect(odd.median == 2 && odd.minimum == 1 && odd.maximum == 3)
        #expect(Benchmark.Spread([4, 1, 3, 2]).median == 2.5)
        #expect(Benchmark.Spread([]).median == 0)
    }
}
