/// One row of a score table.
package struct Score: Sendable, Equatable {
    /// What is measured.
    package let name: String
    /// The mean over the cases, from 0 to 1.
    package let value: Double
    /// The number of cases: questions, or boxes to find where that is measured.
    package let count: Int

    /// A row of these values.
    package init(name: String, value: Double, count: Int) {
        self.name = name
        self.value = value
        self.count = count
    }
}

/// What is measured, in the order of the table.
private enum Row: String, CaseIterable {
    case chinese = "Chinese, all tasks (exact or box Acc@0.5)"
    case background = "background colour"
    case caption = "caption all objects right"
    case multiCaption = "caption one of several images"
    case colour
    case count
    case multiCount = "count in one of several images"
    case dialogue = "dialogue turns (exact or box Acc@0.5)"
    case precision = "grounded caption precision"
    case recall = "grounded caption recall"
    case half = "grounding Acc@0.5"
    case halfOfOne = "grounding Acc@0.5, one target"
    case threeQuarters = "grounding Acc@0.75"
    case refused = "grounding absent target refused"
    case meanOverlap = "grounding mean IoU"
    case boxCount = "grounding right number of boxes"
    case extreme = "leftmost/rightmost/top/bottom"
    case readingAbsent = "reading absent"
    case reading = "reading exact"
    case readingNumber = "reading number"
    case readingWord = "reading word"
    case shape
    case chat = "small talk"
    case whichImage = "which image"
    case exists = "yes/no existence"
    case relation = "yes/no relation"
}

/// Scores answers by definitions that give the model's own table.
///
/// Most rows count answers that are the right one to the byte, but for white space around them. Boxes to find
/// are paired with boxes of the answer one to one, greatest overlap first; `Acc@0.5` counts the boxes to find
/// with an overlap (IoU) of at least 0.5. A box of a grounded caption is right if an object of the same label
/// overlaps it by 0.5, each object once; precision and recall are means over the questions. The rows of all
/// Chinese questions and of dialogue turns take a question with boxes to find as right if each is found at
/// 0.5, whatever else is stated.
package struct Scorer: Sendable {
    private var sums: [Row: (sum: Double, count: Int)] = [:]

    /// A scorer that has seen no answer.
    package init() {}

    /// Counts one answer; boxes that are malformed count as not given.
    package mutating func add(_ question: Question, answer: String) {
        let isExact = trimmed(answer.utf8).elementsEqual(trimmed(question.answer.utf8))
        let isRight = addTask(question, answer, isExact: isExact)
        if question.language == "zh" { add(.chinese, isRight) }
        if question.isDialogue { add(.dialogue, isRight) }
    }

    /// The rows with at least one case, in the table's order.
    package var scores: [Score] {
        Row.allCases.compactMap { row in
            sums[row].map { Score(name: row.rawValue, value: $0.sum / Double($0.count), count: $0.count) }
        }
    }

    private mutating func add(_ row: Row, _ isRight: Bool) { add(row, isRight ? 1 : 0) }

    private mutating func add(_ row: Row, _ value: Double) {
        let old = sums[row] ?? (0, 0)
        sums[row] = (old.sum + value, old.count + 1)
    }

    /// Counts the rows of the task, and says whether the answer is right for rows over all tasks.
    private mutating func addTask(_ question: Question, _ answer: String, isExact: Bool) -> Bool {
        switch question.kind {
        case .background: add(.background, isExact)
        case .caption: add(.caption, isExact)
        case .chat: add(.chat, isExact)
        case .colour: add(.colour, isExact)
        case .count: add(.count, isExact)
        case .exists: add(.exists, isExact)
        case .extreme: add(.extreme, isExact)
        case .multiCaption: add(.multiCaption, isExact)
        case .multiCount: add(.multiCount, isExact)
        case .relation: add(.relation, isExact)
        case .shape: add(.shape, isExact)
        case .whichImage: add(.whichImage, isExact)
        case .read: addReading(question, isExact: isExact)
        case .groundedCaption: addGroundedCaption(question, AnswerBoxes(answer))
        case .ground:
            if question.targets.isEmpty {
                let isRefused = !AnswerBoxes(answer).hasDetection && !trimmed(answer.utf8).isEmpty
                add(.refused, isRefused)
            } else {
                return addGrounding(question, AnswerBoxes(answer))
            }
        }
        return isExact
    }

    private mutating func addReading(_ question: Question, isExact: Bool) {
        switch question.writing {
        case .absent: add(.readingAbsent, isExact)
        case .number:
            add(.reading, isExact)
            add(.readingNumber, isExact)
        case .word:
            add(.reading, isExact)
            add(.readingWord, isExact)
        case nil: break
        }
    }

    /// Whether each box to find was found.
    private mutating func addGrounding(_ question: Question, _ answer: AnswerBoxes) -> Bool {
        let overlaps = Self.overlaps(answer.boxes.map(\.box), question.targets.map(\.box))
        for overlap in overlaps {
            add(.meanOverlap, overlap)
            add(.half, overlap >= 0.5)
            add(.threeQuarters, overlap >= 0.75)
            if overlaps.count == 1 { add(.halfOfOne, overlap >= 0.5) }
        }
        add(.boxCount, answer.boxes.count == question.targets.count)
        return overlaps.allSatisfy { $0 >= 0.5 }
    }

    /// The overlap of each target with the box that it gets, greatest first; 0 without one.
    private static func overlaps(_ boxes: [Box], _ targets: [Box]) -> [Double] {
        var pairs: [(overlap: Double, box: Int, target: Int)] = []
        for (place, box) in boxes.enumerated() {
            for (target, wanted) in targets.enumerated() {
                let overlap = box.overlap(wanted)
                if overlap > 0 { pairs.append((overlap, place, target)) }
            }
        }
        pairs.sort { ($1.overlap, $0.box, $0.target) < ($0.overlap, $1.box, $1.target) }
        var result = Array(repeating: 0.0, count: targets.count)
        var isTaken = Array(repeating: false, count: boxes.count)
        for pair in pairs where !isTaken[pair.box] && result[pair.target] == 0 {
            isTaken[pair.box] = true
            result[pair.target] = pair.overlap
        }
        return result
    }

    private mutating func addGroundedCaption(_ question: Question, _ answer: AnswerBoxes) {
        var open = question.targets
        var hits = 0
        var stated = 0
        for (label, box) in answer.boxes {
            guard let label else { continue }
            stated += 1
            let candidates = open.indices.filter { index in
                open[index].label?.utf8.elementsEqual(label.utf8) == true
                    && open[index].box.overlap(box) >= 0.5
            }
            let best = candidates.max { open[$0].box.overlap(box) < open[$1].box.overlap(box) }
            if let best {
                open.remove(at: best)
                hits += 1
            }
        }
        add(.precision, stated == 0 ? 0 : Double(hits) / Double(stated))
        if !question.targets.isEmpty { add(.recall, Double(hits) / Double(question.targets.count)) }
    }

    private func trimmed(_ text: String.UTF8View) -> ArraySlice<UInt8> { VLEval.trimmed(Array(text)[...]) }
}
