import DeepSeekVL
import Foundation
import Testing
import VLEngine
import VLTestSupport

@Suite("A folder of encoded pictures")
struct FeatureFolderTests {
    private let model = SHA256.digest("model".utf8)
    private let picture = SHA256.digest("picture".utf8)
    private let values: [Float] = (0..<1000).map { Float($0).squareRoot() } + [-0.0, .infinity, 1e-40]

    private func files(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    @Test("gives back every bit in another run, to the same model only")
    func keeping() throws {
        let place = try ScratchFolder()
        let path = place.path + "/features"
        let first = try FeatureFolder(path, budget: 1 << 20, model: model)
        #expect(first.load(picture, count: values.count) == nil)
        first.save(values, for: picture)
        first.finish()
        let second = try FeatureFolder(path, budget: 1 << 20, model: model)
        let found = try #require(second.load(picture, count: values.count))
        #expect(found.map(\.bitPattern) == values.map(\.bitPattern))
        let other = try FeatureFolder(path, budget: 1 << 20, model: SHA256.digest("other".utf8))
        #expect(other.load(picture, count: values.count) == nil)
        #expect(second.load(SHA256.digest("another".utf8), count: values.count) == nil)
    }

    @Test("takes a file with any damage for none, and removes it")
    func damage() throws {
        let place = try ScratchFolder()
        let folder = try FeatureFolder(place.path, budget: 1 << 20, model: model)
        folder.save(values, for: picture)
        folder.finish()
        let name = try #require(files(place.path).first)
        let whole = try Data(contentsOf: URL(fileURLWithPath: place.path + "/" + name))
        var damaged: [Data] = [Data(), whole.dropLast(), whole + [0]]
        for byte in [0, 8, 40, 72, 80, whole.count / 2, whole.count - 1] {
            var copy = whole
            copy[byte] ^= 1
            damaged.append(copy)
        }
        for data in damaged {
            try data.write(to: URL(fileURLWithPath: place.path + "/" + name))
            #expect(folder.load(picture, count: values.count) == nil)
            #expect(try files(place.path).isEmpty)
        }
        try whole.write(to: URL(fileURLWithPath: place.path + "/" + name))
        #expect(folder.load(picture, count: values.count - 1) == nil)
    }

    @Test("stays below its budget, and gives up what was not used for the longest time")
    func budget() throws {
        let place = try ScratchFolder()
        let folder = try FeatureFolder(place.path, budget: 3 * 4200, model: model)
        let pictures = (0..<5).map { SHA256.digest("picture \($0)".utf8) }
        for picture in pictures {
            folder.save(values, for: picture)
            folder.finish()
            Thread.sleep(forTimeInterval: 0.02)
        }
        #expect(try files(place.path).count == 3)
        let kept = pictures.map { folder.load($0, count: values.count) != nil }
        #expect(kept == [false, false, true, true, true])
        folder.save([Float](repeating: 0, count: 4000), for: SHA256.digest("large".utf8))
        folder.finish()
        #expect(try files(place.path).count == 3)
    }
}
