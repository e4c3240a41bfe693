import Testing
import VLModels
import VLTensor

@Suite struct PlaneResizeTests {
    @Test(
        "float pictures are resized as torchvision resizes them",
        arguments: [(16, 24), (40, 15), (64, 24)]
    )
    func official(_ sides: (Int, Int)) throws {
        let unit = try UnitFixture("plane_resize")
        let name = "\(sides.0)_\(sides.1)"
        let input = try unit.floats(name + "_in")
        let out = input.withUnsafeBufferPointer { pixels -> [Float] in
            guard let base = pixels.baseAddress else { return [] }
            let found = PlaneResize.resize(base, count: 3, from: sides.0, to: sides.1, unit.run)
            return Array(UnsafeBufferPointer(start: found, count: 3 * sides.1 * sides.1))
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
