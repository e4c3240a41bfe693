import Testing
import VLJSON
import VLModels
import VLTensor
import VLTestSupport

@Suite struct PlaneResizeTests {
    @Test("float pictures are resized as torchvision resizes them", arguments: ["16_24", "40_15", "64_24"])
    func official(_ name: String) throws {
        let unit = try UnitGolden("plane_resize")
        let size = try #require(unit.settings[name]?["from"]?.asInt)
        let newSize = try #require(unit.settings[name]?["to"]?.asInt)
        let input = try unit.floats(name + "_in")
        let out = input.withUnsafeBufferPointer { pixels -> [Float] in
            guard let base = pixels.baseAddress else { return [] }
            let found = PlaneResize.resize(base, count: 3, from: size, to: newSize, unit.run)
            return Array(UnsafeBufferPointer(start: found, count: 3 * newSize * newSize))
        }
        #expect(relativeError(out, try unit.floats(name + "_out")) < 1e-5)
    }

    @Test("a picture of the right size is left as it is")
    func same() throws {
        let run = Run(pool: ThreadPool(threads: 1), compute: .float32)
        let pixels: [Float] = [0.1, 0.2, 0.3, 0.4]
        pixels.withUnsafeBufferPointer { pixels in
            guard let base = pixels.baseAddress else { return }
            let found = PlaneResize.resize(base, count: 1, from: 2, to: 2, run)
            #expect(Array(UnsafeBufferPointer(start: found, count: 4)) == [0.1, 0.2, 0.3, 0.4])
        }
    }
}
