import Testing
import VLImage

@testable import VLDraw

@Suite("Boxes on pictures")
struct BoxPainterTests {
    private let gray = PixelBuffer(width: 800, height: 600, color: (90, 91, 92))

    private func pixel(_ picture: PixelBuffer, _ x: Int, _ y: Int) -> [UInt8] {
        let place = (y * picture.width + x) * 3
        return Array(picture.bytes[place..<place + 3])
    }

    private func count(_ part: String, in text: String) -> Int {
        let whole = Array(text.utf8)
        let searched = Array(part.utf8)
        guard whole.count >= searched.count else { return 0 }
        return (0...whole.count - searched.count).count {
            whole[$0..<$0 + searched.count].elementsEqual(searched)
        }
    }

    @Test("Lines have the palette's colours and nothing else changes")
    func lines() {
        let painted = BoxPainter.painted(
            gray,
            [
                Annotation(label: "", left: 100, top: 100, right: 300, bottom: 200),
                Annotation(label: "", left: 400, top: 300, right: 500, bottom: 500),
            ]
        )
        #expect(painted.width == 800 && painted.height == 600)
        for (x, y) in [(100, 100), (299, 100), (100, 199), (299, 199), (200, 101), (101, 150), (298, 150)] {
            #expect(pixel(painted, x, y) == [230, 25, 75], "(\(x), \(y))")
        }
        #expect(pixel(painted, 400, 400) == [60, 180, 75])
        for (x, y) in [
            (99, 150), (300, 150), (200, 99), (200, 200), (102, 150), (200, 150), (0, 0), (799, 599),
        ] {
            #expect(pixel(painted, x, y) == [90, 91, 92], "(\(x), \(y))")
        }
        // Two outlines, two pixels wide.
        let changed = (0..<800 * 600).count { painted.bytes[3 * $0] != 90 }
        #expect(changed == (200 * 100 - 196 * 96) + (100 * 200 - 96 * 196))
    }

    @Test("Small pictures grow by a whole factor")
    func growth() {
        let small = PixelBuffer(width: 100, height: 50, color: (1, 2, 3))
        let painted = BoxPainter.painted(
            small,
            [Annotation(label: "", left: 10, top: 10, right: 20, bottom: 20)]
        )
        #expect(painted.width == 700 && painted.height == 350)
        #expect(pixel(painted, 70, 70) == [230, 25, 75])
        #expect(pixel(painted, 139, 139) == [230, 25, 75])
        #expect(pixel(painted, 140, 139) == [1, 2, 3])
    }

    @Test(
        "Labels change the strip above the box, and differ from each other",
        .enabled(if: LabelFont(size: 17) != nil, "no font on this system")
    )
    func labels() {
        func strip(_ label: String, _ confidence: Double? = nil) -> PixelBuffer {
            BoxPainter.painted(
                gray,
                [
                    Annotation(
                        label: label,
                        left: 100,
                        top: 100,
                        right: 300,
                        bottom: 200,
                        confidence: confidence
                    )
                ]
            ).crop(x: 100, y: 80, width: 200, height: 20)
        }
        let chinese = strip("\u{732B}\u{548C}\u{72D7}")
        // Other characters: were both hollow boxes, the strips would be the same.
        let other = strip("\u{6C7D}\u{8F66}\u{7AD9}")
        #expect(chinese != gray.crop(x: 100, y: 80, width: 200, height: 20))
        if Self.hasChinese { #expect(chinese != other) }
        #expect(strip("cat") != strip("dog"))
        #expect(strip("cat", 0.93) != strip("cat"))
        #expect(strip("cat", 0.93) == strip("cat 93%"))
    }

    /// Whether the system's fonts have a Chinese character, which then is no hollow box.
    private static var hasChinese: Bool {
        guard let glyph = LabelFont(size: 17)?.line("\u{732B}", limit: 100).glyphs.first else { return false }
        return glyph.coverage != Glyph.hollowBox(size: 17).coverage
    }

    @Test("Edges outside, empty, reversed or no numbers never trap")
    func edges() throws {
        let values: [Double] = [-.infinity, -1e300, -5, 0, 0.4, 63.9, 64, 70, 1e300, .infinity, .nan]
        var annotations: [Annotation] = []
        for first in values {
            for second in values {
                annotations.append(
                    Annotation(
                        label: "x\u{301}\u{0}\u{10FFFD}",
                        left: first,
                        top: first,
                        right: second,
                        bottom: 9
                    )
                )
                annotations.append(
                    Annotation(label: "y", left: 1, top: first, right: 9, bottom: second, confidence: second)
                )
            }
        }
        let long = String(repeating: "label ", count: 2000)
        annotations.append(Annotation(label: long, left: 60, top: 60, right: 64, bottom: 64))
        for (width, height) in [(64, 64), (1, 1), (2000, 1), (1, 700)] {
            let picture = PixelBuffer(width: width, height: height, color: (0, 0, 0))
            let painted = BoxPainter.painted(picture, annotations)
            #expect(painted.bytes.count == painted.width * painted.height * 3)
            #expect(try BoxPainter.svg(picture, annotations).count > 0)
        }
        let empty = PixelBuffer(width: 0, height: 0, bytes: [])
        #expect(BoxPainter.painted(empty, annotations) == empty)

        // Nothing to see: nothing drawn.
        let unseen = [
            Annotation(label: "a", left: .nan, top: 0, right: 9, bottom: 9),
            Annotation(label: "b", left: 9, top: 9, right: 9, bottom: 20),
            Annotation(label: "c", left: 900, top: 9, right: 950, bottom: 20),
        ]
        #expect(BoxPainter.painted(gray, unseen) == gray)
        // Partly outside: cut to the picture.
        let cut = BoxPainter.painted(
            gray,
            [Annotation(label: "", left: -50, top: 550, right: 100, bottom: .infinity)]
        )
        #expect(pixel(cut, 0, 599) == [230, 25, 75] && pixel(cut, 99, 550) == [230, 25, 75])
    }

    @Test("SVG escapes labels, has a rect a box, and holds the picture")
    func svg() throws {
        let boxes = [
            Annotation(
                label: "<script>\u{1}&\"'\n</script>",
                left: 1,
                top: 2,
                right: 30,
                bottom: 40,
                confidence: 0.5
            ),
            Annotation(label: "\u{732B}", left: 100, top: 100, right: 200, bottom: 200),
        ]
        let text = String(decoding: try BoxPainter.svg(gray, boxes), as: UTF8.self)
        #expect(count("<rect ", in: text) == 2)
        #expect(count("<text ", in: text) == 2)
        #expect(count("script>", in: text) == 0)
        #expect(count(">&lt;script&gt;&amp;&quot;&#39; &lt;/script&gt; 50%</text>", in: text) == 1)
        #expect(count(">\u{732B}</text>", in: text) == 1)
        #expect(count(" width=\"800\" height=\"600\" viewBox=\"0 0 800 600\"", in: text) == 1)
        #expect(count("data:image/png;base64,iVBORw0KGgo", in: text) == 1)
    }

    @Test(
        "Base64 pads",
        arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
    )
    func base64(plain: String, coded: String) {
        #expect(SVG.base64(Array(plain.utf8)) == Array(coded.utf8))
    }

    @Test("PNG decodes to the painted picture")
    func png() throws {
        let boxes = [Annotation(label: "cat", left: 100, top: 100, right: 200, bottom: 200)]
        let decoded = try ImageFile.decode(try BoxPainter.png(gray, boxes), name: "painted")
        #expect(decoded.upright == BoxPainter.painted(gray, boxes))
    }
}
